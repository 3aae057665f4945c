"""One element of a Security-Client, -Server or -Verify list as an immutable value.

A :class:`SecMechanism` keeps what was written: the case of names, the order of parameters, whether
a value was quoted. What it means is read from it by typed views: ``preference`` and ``mediasec``
here, those of ipsec-3gpp in :mod:`.ipsec_3gpp`. ``==`` asks for the same text,
:mod:`.comparison` for the same meaning.
"""

from __future__ import annotations

from typing import Final, Iterable, List, NamedTuple, Optional, Tuple

from sip_hooks.secagree.errors import UnprintableError
from sip_hooks.secagree.grammar import (
    RULE_SYNTAX,
    is_ipv6_reference,
    is_lhex32,
    is_quotable,
    is_token,
    parse_qvalue,
    quote,
)

# RFC 3329 section 2.2 and Appendix A; TS 33.203 Annex H
DIGEST: Final = "digest"
TLS: Final = "tls"
IPSEC_IKE: Final = "ipsec-ike"
IPSEC_MAN: Final = "ipsec-man"
IPSEC_3GPP: Final = "ipsec-3gpp"
MECHANISMS: Final = frozenset({DIGEST, TLS, IPSEC_IKE, IPSEC_MAN, IPSEC_3GPP})

#: The valueless parameter that marks a mechanism of the media plane (TS 24.229 7.2A.7).
MEDIASEC: Final = "mediasec"

#: Name, value and whether the value is a quoted string. A value is held without quotes and
#: escapes; None means that there is no ``=``. Plain tuples: a header has some fifty of them.
Parameter = Tuple[str, Optional[str], bool]

_HINT: Final = "build mechanisms from values that parse_header would accept"


class _Fields(NamedTuple):
    name: str
    parameters: Tuple[Parameter, ...] = ()


class SecMechanism(_Fields):
    """A sec-mechanism of RFC 3329 section 2.2: a name and its parameters in order.

    One that exists can be printed: raises :class:`UnprintableError` if a name is no token, or a
    value fits neither its parameter's rule nor a token, an IPv6 reference or a quoted string.
    """

    __slots__ = ()

    def __new__(  # noqa: PYI034 - typing.Self is of Python 3.11
        cls, name: str, parameters: Iterable[Parameter] = ()
    ) -> SecMechanism:
        """Check what will be printed."""
        checked = tuple(parameters)
        if not is_token(name):
            raise UnprintableError("a mechanism's name must be a token", RULE_SYNTAX, _HINT)
        for parameter in checked:
            broken = parameter_fault(parameter)
            if broken is not None:
                raise UnprintableError(*broken, _HINT)
        return super().__new__(cls, name, checked)

    def __str__(self) -> str:
        """Return the element as it stands in a header, without white space."""
        text = self.name
        for name, value, quoted in self.parameters:
            if value is None:
                text += f";{name}"
            else:
                text += f";{name}={quote(value) if quoted else value}"
        return text

    def get(self, name: str) -> Optional[Parameter]:
        """Return the first parameter of this name, whatever its case, or None."""
        wanted = name.lower()
        for parameter in self.parameters:
            if len(parameter[0]) == len(wanted) and parameter[0].lower() == wanted:
                return parameter
        return None

    @property
    def preference(self) -> Optional[int]:
        """The q value in thousandths, 0 to 1000; None without one (GAP-5: then the lowest)."""
        parameter = self.get("q")
        return parse_qvalue(parameter[1] or "") if parameter is not None else None

    @property
    def mediasec(self) -> bool:
        """Whether this element is of the media plane and so no signalling mechanism."""
        return self.get(MEDIASEC) is not None

    @property
    def repeated_parameter(self) -> Optional[str]:
        """The first parameter name that stands twice, which RFC 3261 7.3.1 forbids, or None."""
        seen = set()
        for name, _, _ in self.parameters:
            if name.lower() in seen:
                return name
            seen.add(name.lower())
        return None


def parameter_fault(parameter: Parameter) -> Optional[Tuple[str, str]]:
    """Return (reason, rule) if a parameter breaks the grammar of RFC 3329 section 2.2, else None.

    q (R3329-2.2-b), d-alg, d-qop and d-ver (R3329-2.2-c) have rules of their own, which belong to
    the syntax of the header whatever the mechanism; all others are generic parameters.
    """
    name, value, quoted = parameter
    ruled = name.lower()
    if ruled == "q":
        if quoted or value is None or parse_qvalue(value) is None:
            return "q must be 0 to 1 with at most three decimals", "R3329-2.2-b"
        return None
    if ruled == "d-ver" and not (quoted and value is not None and is_lhex32(value)):
        return "d-ver must be 32 lower-case hex digits in quotes", "R3329-2.2-c"
    if ruled in {"d-alg", "d-qop"} and (quoted or value is None or not is_token(value)):
        return f"{ruled} must be a token without quotes", "R3329-2.2-c"
    if not is_token(name):
        return "a parameter's name must be a token", RULE_SYNTAX
    if quoted:
        if value is None or not is_quotable(value):
            return "a quoted value must be text without line ends", RULE_SYNTAX
    elif value is not None and not is_token(value) and not is_ipv6_reference(value):
        return "a value must be a token, an IPv6 address in brackets or quoted", RULE_SYNTAX
    return None


def part_media_plane(
    mechanisms: Iterable[SecMechanism],
) -> Tuple[Tuple[SecMechanism, ...], Tuple[SecMechanism, ...]]:
    """Return the mechanisms of signalling, and those of the media plane (UPD-mediasec-b)."""
    parts: Tuple[List[SecMechanism], List[SecMechanism]] = ([], [])
    for mechanism in mechanisms:
        parts[mechanism.mediasec].append(mechanism)
    return tuple(parts[False]), tuple(parts[True])


def repeated_preference(mechanisms: Iterable[SecMechanism]) -> Optional[int]:
    """Return the first q (in thousandths) that two mechanisms share, which is an error, or None.

    The list stays readable; its order then breaks the tie (R3329-2.2-g, GAP-5).
    """
    seen = set()
    for mechanism in mechanisms:
        preference = mechanism.preference
        if preference is not None and preference in seen:
            return preference
        seen.add(preference)
    return None
