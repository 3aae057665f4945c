"""Immutable values of the daemon, in the words of TS 33.203 and RFC 3329.

=================  ==============================================================================
``endpoint``       a configured local signalling address with its ports, algorithms and users
``sa_set``         parameters of one ipsec-3gpp set (SA1 to SA4)
``agreement``      what is remembered of RFC 3329's lists between a 401 and its answer
``association``    one agreement in force or in the making; registrations own up to three
``requests``       what a caller asks for, already typed and canonical
``algorithms``     RFC 3329 names, kernel names, key derivation of TS 33.203 Annex I
``key_record``     what an SA set can be made again from
``errors``         everything a caller can be refused with
=================  ==============================================================================
"""
