"""The hook of Kamailio: SIP messages in, decisions and calls of the daemon out.

Runs inside Kamailio's workers (KEMI, app_python3) under the system's Python: standard library
only. What must hold even if Python fails stands in ``sad-ims.cfg`` and ``sad-rfc3329.cfg``.

Profile ``ims``, a P-CSCF:

==================  =============================================================================
``sad-ims.cfg``     the routes to include: keys are stripped, refusals, relaying
``example-ims.cfg`` a whole P-CSCF configuration around them
``sad_kamailio``    what ``app_python3`` loads
``hook``            the entry points, one for each ``python_exec``
``settings``        ``sad.*`` of the Kamailio configuration
``message``         the message in hand, through KEMI
``tables``          what the workers share (htable)
``daemon``          calls of ``sad``: what they answer, what is tried again later
``following``       what ``sad`` ends by itself leaves the tables
``connections``     TLS connections and their associations
``tls_table``       what the workers share of them (htable)
``registering``     REGISTER and its answers
``tls_registering`` REGISTER over TLS (TS 33.203 Annex O)
``answers``         what both have in common
``routing``         every other request
==================  =============================================================================

Profile ``rfc3329``, a registrar or proxy that is the first hop:

=======================  ========================================================================
``sad-rfc3329.cfg``      the routes to include: who is proven, challenges, refusals
``example-rfc3329.cfg``  a whole registrar around them
``sad_rfc3329``          what ``app_python3`` loads
``agreement_hook``       the entry points
``agreement_settings``   ``sad.*`` of the Kamailio configuration
``agreement``            the endpoint's list, as ``sad`` tells it
``credentials``          digest credentials of our realm
``ipsec_peers``          ipsec-ike and ipsec-man: whose SAs a request came on, or is to come on
``agreeing``             what :mod:`sip_hooks.secagree` decides is carried out
=======================  ========================================================================

``message``, ``daemon``, ``following``, ``connections`` and ``tls_table`` serve both.

State lives in the SIP transaction (AVPs) and in shared tables, never in Python: the answer to a
request is handled by another worker.
"""
