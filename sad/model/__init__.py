"""Immutable values of the daemon, in the words of TS 33.203 and RFC 3329.

=================  ==============================================================================
``endpoint``       a configured local signalling address with its ports, algorithms and users
``path``           what the parameters of every mechanism tell: addresses, ports, SPIs
``sa_set``         parameters of one ipsec-3gpp set (SA1 to SA4)
``sa_pair``        parameters of one manually keyed pair of SAs (ipsec-man)
``tls_connection``  the connection of an association of mechanism tls
``ike_child``      the CHILD_SA of an association of mechanism ipsec-ike
``agreement``      what is remembered of RFC 3329's lists between a 401 and its answer
``association``    one agreement in force or in the making; registrations own up to three
``requests``       what a caller asks for, already typed and canonical
``algorithms``     RFC 3329 names, kernel names, key derivation of TS 33.203 Annex I
``key_set``        keys that administrators agreed on, for ipsec-man
``manual_algorithms``  what may be used with them, and why nothing else
``key_record``     what an SA set can be made again from
``errors``         everything a caller can be refused with
=================  ==============================================================================
"""
