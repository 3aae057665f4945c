"""The parameters of ipsec-3gpp: RFC 3329 Appendix A as refined by TS 33.203 Annex H.

:func:`read_ipsec_3gpp` checks one mechanism's own form; whether a server takes it is decided in
:mod:`.selection`. SPIs and ports stand as the peer sent them, ``c`` for its protected client port
and ``s`` for its protected server port (T33-H-f): from a user agent they are spi_uc, spi_us,
port_uc and port_us of TS 33.203 section 7.1, from a P-CSCF spi_pc, spi_ps, port_pc and port_ps.
"""

from __future__ import annotations

from enum import Enum
from typing import Callable, Dict, Final, List, NamedTuple, Optional, Sequence, Tuple, Union

from sip_hooks.secagree.errors import ParameterError, RefusalReason
from sip_hooks.secagree.grammar import render_qvalue, shorten
from sip_hooks.secagree.mechanism import IPSEC_3GPP, MEDIASEC, Parameter, SecMechanism

#: Integrity and encryption algorithm by RFC 3329 name, e.g. ("hmac-sha-1-96", "aes-cbc").
AlgorithmPair = Tuple[str, str]

INTEGRITY_ALGORITHMS: Final = frozenset(
    {"hmac-md5-96", "hmac-sha-1-96", "hmac-sha-256-128", "aes-gmac", "null"}
)
ENCRYPTION_ALGORITHMS: Final = frozenset({"des-ede3-cbc", "aes-cbc", "aes-gcm", "null"})
#: Taken out of Annex H; phones still offer them (T33-H-b), RFC 8221 forbids MD5 (IPS-6).
WITHDRAWN_ALGORITHMS: Final = frozenset({"hmac-md5-96", "des-ede3-cbc"})
#: Of no 3GPP release; the grammar of RFC 3329 has room for them (``alg`` may be any token).
#: hmac-sha-256-128 is RFC 4868's, which RFC 8221 demands of every ESP (IPS-5).
EXTENSION_ALGORITHMS: Final = frozenset({"hmac-sha-256-128"})

#: Values of ``mod`` in lower case: ESP itself, or ESP in UDP through a NAT (T33-M-a).
TRANSPORT: Final = "trans"
UDP_TUNNEL: Final = "udp-enc-tun"

MAXIMUM_SPI: Final = 0xFFFF_FFFF
#: SPIs below this are 0 and those that IANA reserves (IPS-1).
FIRST_FREE_SPI: Final = 256
MAXIMUM_PORT: Final = 0xFFFF
#: Never protected ports (T33-7.1-e).
SIP_PORTS: Final = frozenset({5060, 5061})

TOKEN_PARAMETERS: Final = frozenset({"alg", "ealg", "prot", "mod"})
SPI_PARAMETERS: Final = frozenset({"spi", "spi-c", "spi-s"})
PORT_PARAMETERS: Final = frozenset({"port1", "port2", "port-c", "port-s"})


#: Why one mechanism is not used: reason, text, rule.
Fault = Tuple[RefusalReason, str, str]


class Ipsec3gppParameters(NamedTuple):
    """What one ipsec-3gpp element says, with the defaults of R3329-A-b filled in.

    Names of algorithms, protocol and mode are in lower case, known or not. ``spi``, ``port1`` and
    ``port2`` are the form of RFC 3329 itself, which no 3GPP release uses (R3329-A-c).
    """

    alg: str
    ealg: str = "null"
    prot: str = "esp"
    mod: str = "trans"
    spi_c: Optional[int] = None
    spi_s: Optional[int] = None
    port_c: Optional[int] = None
    port_s: Optional[int] = None
    spi: Optional[int] = None
    port1: Optional[int] = None
    port2: Optional[int] = None

    @property
    def algorithms(self) -> AlgorithmPair:
        """Integrity and encryption algorithm together."""
        return self.alg, self.ealg


#: The fields by the names that they have in a header.
_FIELDS: Final = tuple(name.replace("_", "-") for name in Ipsec3gppParameters._fields)
_DEFAULTS: Final = (None, *Ipsec3gppParameters._field_defaults.values())


class ParameterValues(Dict[Parameter, Tuple[str, Union[str, int, None]]]):
    """Name in lower case and value of each parameter that was read; None of an unknown one.

    A phone repeats its SPIs and ports with each pair of algorithms: they are read once. Raises
    :class:`ParameterError`.
    """

    __slots__ = ()

    def __missing__(self, parameter: Parameter) -> Tuple[str, Union[str, int, None]]:
        written, value, quoted = parameter
        name = written.lower()
        read = _READERS.get(name)
        if read is None:
            found: Tuple[str, Union[str, int, None]] = (name, None)
        elif value is None or quoted:
            raise _malformed(written)
        else:
            found = (name, read(written, value))
        self[parameter] = found
        return found


def read_ipsec_3gpp(
    mechanism: SecMechanism, *, known: Optional[ParameterValues] = None
) -> Ipsec3gppParameters:
    """Return the typed parameters of an ipsec-3gpp element; unknown parameters are let be.

    ``known`` is what was read already, for a list whose elements are alike. Raises
    :class:`ParameterError` for a token or number in quotes or without a value, an SPI or port
    outside its range (R3329-ERR-3799; 0 is never usable), a repeated parameter, a mark of the
    media plane and a missing alg (R3329-A-a).
    """
    value_of = (ParameterValues() if known is None else known).__getitem__
    found = dict(map(value_of, mechanism.parameters))
    if len(found) != len(mechanism.parameters):
        name = mechanism.repeated_parameter or ""
        text = f"the parameter {shorten(name)} stands twice"
        raise ParameterError(name, RefusalReason.DUPLICATE_PARAMETER, text, "RFC 3261 7.3.1")
    if MEDIASEC in found:
        raise media_plane_error()
    if "alg" not in found:
        raise ParameterError(
            "alg", RefusalReason.ALGORITHM_MISSING, "alg is mandatory", "R3329-A-a"
        )
    # What _make does, without a call of Python's for each element of the list
    return tuple.__new__(Ipsec3gppParameters, map(found.get, _FIELDS, _DEFAULTS))


def media_plane_error() -> ParameterError:
    """Return the refusal of a mechanism that is marked as one of the media plane."""
    text = "a mechanism of the media plane takes no part in the choice"
    return ParameterError(MEDIASEC, RefusalReason.MEDIA_PLANE, text, "UPD-mediasec-b")


def write_ipsec_3gpp(
    parameters: Ipsec3gppParameters, preference: Optional[int] = None
) -> SecMechanism:
    """Return the element that says ``parameters``, every default spelled out.

    ``preference`` is q in thousandths. Only spi-c, spi-s, port-c and port-s are written, never
    the form of RFC 3329 itself (R3329-A-c).
    """
    written: List[Parameter] = []
    if preference is not None:
        written.append(("q", render_qvalue(preference), False))
    mode = "UDP-enc-tun" if parameters.mod == UDP_TUNNEL else parameters.mod
    written += [("prot", parameters.prot, False), ("mod", mode, False)]
    numbers = (
        ("spi-c", parameters.spi_c),
        ("spi-s", parameters.spi_s),
        ("port-c", parameters.port_c),
        ("port-s", parameters.port_s),
    )
    written += [(name, str(number), False) for name, number in numbers if number is not None]
    written += [("alg", parameters.alg, False), ("ealg", parameters.ealg, False)]
    return SecMechanism(IPSEC_3GPP, written)


def is_legal_pair(pair: AlgorithmPair) -> bool:
    """Whether Annex H allows the two algorithms together (T33-H-c); False for an unknown name.

    An extension stands where hmac-sha-1-96 may.
    """
    integrity, encryption = pair
    if integrity == "null":
        return encryption == "aes-gcm"
    if integrity == "aes-gmac":
        return encryption == "null"
    known = integrity in INTEGRITY_ALGORITHMS and encryption in ENCRYPTION_ALGORITHMS
    return known and encryption != "aes-gcm"


def find_number_fault(
    parameters: Ipsec3gppParameters, *, accept_reserved_spi: bool, accept_sip_port: bool
) -> Optional[Fault]:
    """Return why SPIs and ports of a peer make no two pairs of SAs, or None."""
    spi_c, spi_s, port_c, port_s = parameters[4:8]
    if spi_c is None or spi_s is None:
        text = "spi-c and spi-s are both needed for two pairs of SAs"
        return RefusalReason.SPI_MISSING, text, "T33-H-f"
    if spi_c == spi_s:
        return RefusalReason.EQUAL_SPIS, "spi-c and spi-s must differ", "T33-7.1-f"
    if not accept_reserved_spi and (spi_c < FIRST_FREE_SPI or spi_s < FIRST_FREE_SPI):
        text = f"SPI {min(spi_c, spi_s)} is reserved by IANA (1 to {FIRST_FREE_SPI - 1})"
        return RefusalReason.RESERVED_SPI, text, "IPS-1"
    if port_c is None or port_s is None:
        text = "port-c and port-s are both needed for two pairs of SAs"
        return RefusalReason.PORT_MISSING, text, "T33-H-f"
    if port_c == port_s:
        return RefusalReason.EQUAL_PORTS, "port-c and port-s must differ", "T33-7.1-f"
    if not accept_sip_port and (port_c in SIP_PORTS or port_s in SIP_PORTS):
        text = "5060 and 5061 are never protected ports"
        return RefusalReason.SIP_PORT, text, "T33-7.1-e"
    return None


class WithdrawnUse(str, Enum):
    """What becomes of withdrawn algorithms in an endpoint's preference (T33-H-b, INTEROP-5)."""

    OFF = "off"
    ACCEPT = "accept"
    LAST = "last"  # behind everything else, whatever the order given


def arrange_algorithms(
    pairs: Sequence[AlgorithmPair], withdrawn: WithdrawnUse
) -> Tuple[AlgorithmPair, ...]:
    """Return the pairs in the order of preference that the setting makes of them."""
    if withdrawn is WithdrawnUse.ACCEPT:
        return tuple(pairs)
    kept = [pair for pair in pairs if WITHDRAWN_ALGORITHMS.isdisjoint(pair)]
    if withdrawn is WithdrawnUse.LAST:
        kept += [pair for pair in pairs if not WITHDRAWN_ALGORITHMS.isdisjoint(pair)]
    return tuple(kept)


def _malformed(written: str) -> ParameterError:
    wanted = "token" if written.lower() in TOKEN_PARAMETERS else "number"
    text = f"{written} must be a {wanted}"
    return ParameterError(written, RefusalReason.MALFORMED_PARAMETER, text, "T33-H-a")


def _token(_name: str, value: str) -> str:
    return value.lower()


def _spi(name: str, digits: str) -> int:
    if not digits.isdigit():  # a token is ASCII, so these are the decimal digits only
        raise _malformed(name)
    # Erratum 3799: 1 to 10 digits, so leading zeros are fine up to there
    number = int(digits) if len(digits) <= 10 else MAXIMUM_SPI + 1
    if 0 < number <= MAXIMUM_SPI:
        return number
    text = f"{name} must be 1 to {MAXIMUM_SPI} in at most ten digits"
    rule = "R3329-ERR-3799" if number else "IPS-1"
    raise ParameterError(name, RefusalReason.SPI_OUT_OF_RANGE, text, rule)


def _port(name: str, digits: str) -> int:
    if not digits.isdigit():
        raise _malformed(name)
    if len(digits) > 5:  # any number of leading zeros: drop them before they cost a conversion
        digits = digits.lstrip("0") or "0"
    number = int(digits) if len(digits) <= 5 else MAXIMUM_PORT + 1
    if 0 < number <= MAXIMUM_PORT:
        return number
    text = f"{name} must be 1 to {MAXIMUM_PORT}"
    raise ParameterError(name, RefusalReason.PORT_OUT_OF_RANGE, text, "T33-H-a")


_READERS: Final[Dict[str, Callable[[str, str], Union[str, int]]]] = {
    **dict.fromkeys(TOKEN_PARAMETERS, _token),
    **dict.fromkeys(SPI_PARAMETERS, _spi),
    **dict.fromkeys(PORT_PARAMETERS, _port),
}
