"""RFC 3329, the security mechanism agreement of SIP, without I/O, clock or third-party code.

The map, from letters to decisions:

===================  ============================================================================
``grammar``          tokens, quoted strings, qvalues; one pattern reads a list element at a time
``mechanism``        :class:`SecMechanism`: one element of a list, as it was written
``headers``          Security-Client, -Server, -Verify: rows of text to mechanisms and back
``ipsec_3gpp``       the typed parameters of ipsec-3gpp (RFC 3329 App. A, TS 33.203 Annex H)
``comparison``       whether two lists mean the same: Security-Verify against what was sent
``selection``        which offer a server takes (profile ``ims``), and why not each other one
``security_server``  the list a server sends, with the SPIs and ports of one SA set
``server_list``      the static list of an endpoint of profile ``rfc3329``, checked at start
``strength``         whether the weakest member of a list still protects the agreement
``prediction``       which mechanism of its list the server must prepare
``profiles``         both profiles, and what was decided where the standards are open
``requests``         what is read of a SIP request
``server_role``      the server's decision: 421, 494, 502, accept, strip
``client_role``      the client's way: what to send, what an answer means
``starting``         what a client starts for the mechanism it chose
``digest``           d-ver: computed, checked
``certificate``      whether a TLS certificate is the domain's (RFC 5922)
``explanation``      of one list: what is taken, and why not each other element
``transitions``      both roles as tables; ``STATES.md`` is made of them
``option_tags``      ``sec-agree`` in Require, Proxy-Require, Supported
``errors``           whose fault, where, by which rule
===================  ============================================================================

Values are immutable. A server of profile ``rfc3329`` needs one function, :func:`decide_request`; a
client's way stands in :mod:`.client_role`. The way of profile ``ims`` through a registration::

    offers = parse_header(rows_of_security_client)
    selection = choose_mechanism(offers, policy)          # selection.choice, selection.refusals
    sent = build_security_server(policy, spi_pc=..., spi_ps=..., port_pc=..., port_ps=...)
    value = render_header(sent)                           # goes into the 401, and is kept
    difference = find_difference(sent, parse_header(rows_of_security_verify))
"""

from sip_hooks.secagree.client_role import (
    ClientAgreement,
    ClientRules,
)
from sip_hooks.secagree.comparison import Difference, find_difference, same_meaning
from sip_hooks.secagree.digest import (
    MD5_FAMILY,
    DigestUse,
    Reading,
    check_d_ver,
    compute_d_ver,
    hash_a1,
    is_md5_family,
    session_ha1,
)
from sip_hooks.secagree.errors import (
    AgreementError,
    HeaderError,
    LocalAgreementError,
    ParameterError,
    PolicyError,
    RefusalReason,
    RemoteAgreementError,
    UnprintableError,
)
from sip_hooks.secagree.explanation import Verdict, explain_list, explain_offers
from sip_hooks.secagree.headers import (
    DEFAULT_LIMITS,
    HeaderName,
    ParseLimits,
    parse_header,
    parse_header_line,
    render_header,
    render_header_line,
)
from sip_hooks.secagree.ipsec_3gpp import (
    ENCRYPTION_ALGORITHMS,
    EXTENSION_ALGORITHMS,
    INTEGRITY_ALGORITHMS,
    WITHDRAWN_ALGORITHMS,
    AlgorithmPair,
    Ipsec3gppParameters,
    WithdrawnUse,
    arrange_algorithms,
    is_legal_pair,
    read_ipsec_3gpp,
    write_ipsec_3gpp,
)
from sip_hooks.secagree.mechanism import (
    Parameter,
    SecMechanism,
    part_media_plane,
    repeated_preference,
)
from sip_hooks.secagree.option_tags import (
    AgreementTags,
    OptionTagHeader,
    has_sec_agree,
    option_tag_header,
    read_agreement_tags,
    strip_agreement_tags,
    strip_sec_agree,
)
from sip_hooks.secagree.prediction import (
    Need,
    Prediction,
    by_preference,
    choose_listed,
    predict_choice,
)
from sip_hooks.secagree.profiles import Profile, Use
from sip_hooks.secagree.requests import Protection, Request, count_vias, rows_of
from sip_hooks.secagree.security_server import build_security_server
from sip_hooks.secagree.selection import (
    Choice,
    Refusal,
    Selection,
    ServerPolicy,
    UserAgentParameters,
    choose_mechanism,
)
from sip_hooks.secagree.server_list import ServerList, read_server_list
from sip_hooks.secagree.server_role import (
    ServerDecision,
    ServerRules,
    decide_request,
    list_headers,
)
from sip_hooks.secagree.starting import (
    Challenge,
    Circumstances,
    StartDigest,
    StartIke,
    StartIpsec3gpp,
    StartManual,
    StartTls,
    plan_start,
)
from sip_hooks.secagree.strength import Assurances, Weakness, find_weaknesses, require_strength
from sip_hooks.secagree.transitions import (
    CLIENT_TRANSITIONS,
    SERVER_TRANSITIONS,
    ClientAction,
    ClientEvent,
    ClientState,
    ClientTransition,
    ServerAction,
    ServerEvent,
    ServerState,
    ServerTransition,
)

__all__ = [
    "CLIENT_TRANSITIONS",
    "DEFAULT_LIMITS",
    "ENCRYPTION_ALGORITHMS",
    "EXTENSION_ALGORITHMS",
    "INTEGRITY_ALGORITHMS",
    "MD5_FAMILY",
    "SERVER_TRANSITIONS",
    "WITHDRAWN_ALGORITHMS",
    "AgreementError",
    "AgreementTags",
    "AlgorithmPair",
    "Assurances",
    "Challenge",
    "Choice",
    "Circumstances",
    "ClientAction",
    "ClientAgreement",
    "ClientEvent",
    "ClientRules",
    "ClientState",
    "ClientTransition",
    "Difference",
    "DigestUse",
    "HeaderError",
    "HeaderName",
    "Ipsec3gppParameters",
    "LocalAgreementError",
    "Need",
    "OptionTagHeader",
    "Parameter",
    "ParameterError",
    "ParseLimits",
    "PolicyError",
    "Prediction",
    "Profile",
    "Protection",
    "Reading",
    "Refusal",
    "RefusalReason",
    "RemoteAgreementError",
    "Request",
    "SecMechanism",
    "Selection",
    "ServerAction",
    "ServerDecision",
    "ServerEvent",
    "ServerList",
    "ServerPolicy",
    "ServerRules",
    "ServerState",
    "ServerTransition",
    "StartDigest",
    "StartIke",
    "StartIpsec3gpp",
    "StartManual",
    "StartTls",
    "UnprintableError",
    "Use",
    "UserAgentParameters",
    "Verdict",
    "Weakness",
    "WithdrawnUse",
    "arrange_algorithms",
    "build_security_server",
    "by_preference",
    "check_d_ver",
    "choose_listed",
    "choose_mechanism",
    "compute_d_ver",
    "count_vias",
    "decide_request",
    "explain_list",
    "explain_offers",
    "find_difference",
    "find_weaknesses",
    "has_sec_agree",
    "hash_a1",
    "is_legal_pair",
    "is_md5_family",
    "list_headers",
    "option_tag_header",
    "parse_header",
    "parse_header_line",
    "part_media_plane",
    "plan_start",
    "predict_choice",
    "read_agreement_tags",
    "read_ipsec_3gpp",
    "read_server_list",
    "render_header",
    "render_header_line",
    "repeated_preference",
    "require_strength",
    "rows_of",
    "same_meaning",
    "session_ha1",
    "strip_agreement_tags",
    "strip_sec_agree",
    "write_ipsec_3gpp",
]
