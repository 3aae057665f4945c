"""The hook of Kamailio: SIP messages in, decisions and calls of the daemon out.

Runs inside Kamailio's workers (KEMI, app_python3) under the system's Python: standard library
only. What must hold even if Python fails stands in ``sad-ims.cfg``.

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
``registering``     REGISTER and its answers
``routing``         every other request
==================  =============================================================================

State lives in the SIP transaction (AVPs) and in shared tables, never in Python: the answer to a
request is handled by another worker.
"""
