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
``option_tags``      ``sec-agree`` in Require, Proxy-Require, Supported
``errors``           whose fault, where, by which rule
===================  ============================================================================

Values are immutable. The server's way through a registration::

    offers = parse_header(rows_of_security_client)
    selection = choose_mechanism(offers, policy)          # selection.choice, selection.refusals
    sent = build_security_server(policy, spi_pc=..., spi_ps=..., port_pc=..., port_ps=...)
    value = render_header(sent)                           # goes into the 401, and is kept
    difference = find_difference(sent, parse_header(rows_of_security_verify))
"""

from sip_hooks.secagree.comparison import Difference, find_difference, same_meaning
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
    WITHDRAWN_ALGORITHMS,
    AlgorithmPair,
    Ipsec3gppParameters,
    is_legal_pair,
    read_ipsec_3gpp,
    write_ipsec_3gpp,
)
from sip_hooks.secagree.mechanism import Parameter, SecMechanism, repeated_preference
from sip_hooks.secagree.option_tags import (
    AgreementTags,
    OptionTagHeader,
    has_sec_agree,
    option_tag_header,
    read_agreement_tags,
    strip_agreement_tags,
    strip_sec_agree,
)
from sip_hooks.secagree.security_server import build_security_server
from sip_hooks.secagree.selection import (
    Choice,
    Refusal,
    Selection,
    ServerPolicy,
    UserAgentParameters,
    choose_mechanism,
)

__all__ = [
    "DEFAULT_LIMITS",
    "WITHDRAWN_ALGORITHMS",
    "AgreementError",
    "AgreementTags",
    "AlgorithmPair",
    "Choice",
    "Difference",
    "HeaderError",
    "HeaderName",
    "Ipsec3gppParameters",
    "LocalAgreementError",
    "OptionTagHeader",
    "Parameter",
    "ParameterError",
    "ParseLimits",
    "PolicyError",
    "Refusal",
    "RefusalReason",
    "RemoteAgreementError",
    "SecMechanism",
    "Selection",
    "ServerPolicy",
    "UnprintableError",
    "UserAgentParameters",
    "build_security_server",
    "choose_mechanism",
    "find_difference",
    "has_sec_agree",
    "is_legal_pair",
    "option_tag_header",
    "parse_header",
    "parse_header_line",
    "read_agreement_tags",
    "read_ipsec_3gpp",
    "render_header",
    "render_header_line",
    "repeated_preference",
    "same_meaning",
    "strip_agreement_tags",
    "strip_sec_agree",
    "write_ipsec_3gpp",
]
