"""What a P-CSCF's hook must understand of SIP beside RFC 3329: pure, without I/O and clock.

==============  =================================================================================
``fields``      header rows taken apart where quotes and brackets allow it
``uris``        SIP URIs and the header values that hold one
``digest``      private identity, integrity-protected, ck and ik (T24-P-1, T33-7.2-d)
``bindings``    what a 200 to REGISTER grants (T24-P-7)
``identities``  public identities: when are two names one
``reginfo``     which registrations the network has ended (T24-D-3)
``routes``      Via and Route
``table``       entries of the tables that a SIP server's workers share
``errors``      what cannot be understood
==============  =================================================================================

The counterpart is :mod:`sip_hooks.kamailio`, which reads and writes the messages.
"""

from sip_hooks.ims.bindings import granted_seconds, public_identities, service_route
from sip_hooks.ims.digest import (
    ChallengeKeys,
    mark_integrity,
    mark_integrity_as,
    nonce_of,
    private_identity,
    take_keys,
)
from sip_hooks.ims.errors import DigestError, ImsError
from sip_hooks.ims.fields import values_of
from sip_hooks.ims.identities import (
    aor_of,
    asserted,
    host_of,
    is_address,
    is_at,
    is_one_of,
    is_own_route,
    route_user,
    transport_of,
)
from sip_hooks.ims.reginfo import ended_aors
from sip_hooks.ims.routes import has_one_via, same_routes, via_address, via_branch, via_host
from sip_hooks.ims.table import (
    FlowEntry,
    RegistrationEntry,
    flow_key,
    read_token,
    registration_token,
)

__all__ = [
    "ChallengeKeys",
    "DigestError",
    "FlowEntry",
    "ImsError",
    "RegistrationEntry",
    "aor_of",
    "asserted",
    "ended_aors",
    "flow_key",
    "granted_seconds",
    "has_one_via",
    "host_of",
    "is_address",
    "is_at",
    "is_one_of",
    "is_own_route",
    "mark_integrity",
    "mark_integrity_as",
    "nonce_of",
    "private_identity",
    "public_identities",
    "read_token",
    "registration_token",
    "route_user",
    "same_routes",
    "service_route",
    "take_keys",
    "transport_of",
    "values_of",
    "via_address",
    "via_branch",
    "via_host",
]
