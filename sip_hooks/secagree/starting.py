"""What a client starts for the mechanism it chose: RFC 3329 section 2.4 (GAP-10).

Each plan is a value; the client's stack carries it out and says how it went. Anything that is
missing raises :class:`ParameterError`, and the agreement ends there: never is the next mechanism
of the list taken instead (R3329-2.3.1-k).
"""

from __future__ import annotations

from typing import Final, NamedTuple, Optional, Sequence, Tuple, Union

from sip_hooks.secagree.digest import QOPS, is_md5_family
from sip_hooks.secagree.errors import ParameterError, RefusalReason
from sip_hooks.secagree.grammar import shorten
from sip_hooks.secagree.ipsec_3gpp import (
    Ipsec3gppParameters,
    find_number_fault,
    read_ipsec_3gpp,
)
from sip_hooks.secagree.mechanism import (
    DIGEST,
    IPSEC_3GPP,
    IPSEC_IKE,
    IPSEC_MAN,
    TLS,
    SecMechanism,
)

#: The lowest version that ``tls`` may mean (UPD-8996).
MINIMUM_TLS: Final = (1, 2)


class Challenge(NamedTuple):
    """What the Digest challenge of the same response says; ``qop`` in its order, maybe empty.

    ``stale``: the credentials were good but for the age of their nonce (RFC 2617 3.2.1).
    """

    algorithm: Optional[str] = None
    qop: Tuple[str, ...] = ()
    stale: bool = False


class StartTls(NamedTuple):
    """Find the server of ``uri`` by RFC 3263 and send over TLS, nothing else (R3329-2.4-tls-a)."""

    uri: str
    minimum_version: Tuple[int, int] = MINIMUM_TLS


class StartIke(NamedTuple):
    """Run IKE with ``host``; if it fails the agreement has failed (R3329-2.4-ike-a)."""

    host: str


class StartManual(NamedTuple):
    """Use the SAs that were keyed by hand beforehand (R3329-2.4-man-a)."""


class StartIpsec3gpp(NamedTuple):
    """Set up the four SAs of TS 33.203 7.1: the peer's side; keys come of AKA (R3329-A-d)."""

    parameters: Ipsec3gppParameters


class StartDigest(NamedTuple):
    """Answer the challenge with these, and put d-ver into Security-Verify (R3329-2.4-digest-a)."""

    algorithm: str
    qop: Optional[str]


Start = Union[StartTls, StartIke, StartManual, StartIpsec3gpp, StartDigest]


class Circumstances(NamedTuple):
    """What a client knows beside the list.

    ``target`` is the URI of the first request that RFC 3263 is applied to (RFC 3261 8.1.2).
    ``own_spis`` are those it offered. The switches are as in :class:`.selection.ServerPolicy`.
    """

    target: str
    challenge: Optional[Challenge] = None
    own_spis: Tuple[int, ...] = ()
    accept_reserved_spi: bool = False
    accept_sip_port: bool = False


def plan_start(mechanism: SecMechanism, given: Circumstances) -> Start:
    """Return what starts a mechanism of Security-Server; raises :class:`ParameterError`."""
    name = mechanism.name.lower()
    repeated = mechanism.repeated_parameter
    if repeated is not None:
        text = f"the parameter {shorten(repeated)} stands twice"
        raise ParameterError(repeated, RefusalReason.DUPLICATE_PARAMETER, text, "RFC 3261 7.3.1")
    if name == TLS:
        return StartTls(secure_uri(given.target))
    if name == IPSEC_IKE:
        host = host_of(given.target)
        if host:
            return StartIke(host)
        text = f"{shorten(given.target)} has no host to run IKE with"
        raise ParameterError("target", RefusalReason.INFORMATION_MISSING, text, "R3329-2.4-ike-a")
    if name == IPSEC_MAN:
        return StartManual()
    if name == IPSEC_3GPP:
        return _plan_ipsec_3gpp(mechanism, given)
    if name == DIGEST:
        return _plan_digest(mechanism, given.challenge)
    text = f"the mechanism {shorten(mechanism.name)} is not known"
    raise ParameterError(name, RefusalReason.UNKNOWN_MECHANISM, text, "R3329-2.2-d")


def secure_uri(uri: str) -> str:
    """Return a URI as input to RFC 3263: ``sip:`` as if it were ``sips:`` (R3329-2.4-tls-a)."""
    scheme, colon, rest = uri.partition(":")
    return f"sips:{rest}" if colon and scheme.lower() == "sip" else uri


def host_of(uri: str) -> str:
    """Return the host of a SIP or SIPS URI in lower case, empty if it has none."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() not in {"sip", "sips"}:
        return ""
    if rest.count("@") > 1:  # its end would be a guess
        return ""
    rest = rest.rpartition("@")[2]  # first: a user part may hold ";" and "?", which end a host
    for end in ";?":
        rest = rest.partition(end)[0]
    if rest.startswith("["):
        return rest.partition("]")[0].lower() + "]"
    return rest.partition(":")[0].strip().lower()


def _plan_ipsec_3gpp(mechanism: SecMechanism, given: Circumstances) -> StartIpsec3gpp:
    parameters = read_ipsec_3gpp(mechanism)
    fault = find_number_fault(
        parameters,
        accept_reserved_spi=given.accept_reserved_spi,
        accept_sip_port=given.accept_sip_port,
    )
    if fault is not None:
        raise ParameterError(IPSEC_3GPP, *fault)
    if {parameters.spi_c, parameters.spi_s} & set(given.own_spis):
        text = "the server's SPIs must differ from those that were offered"
        raise ParameterError("spi-c", RefusalReason.REPEATED_SPI, text, "T33-7.1-h")
    return StartIpsec3gpp(parameters)


def _plan_digest(mechanism: SecMechanism, challenge: Optional[Challenge]) -> StartDigest:
    if challenge is None:
        text = "digest without a challenge"
        raise ParameterError(DIGEST, RefusalReason.INFORMATION_MISSING, text, "R3329-2.4-digest-a")
    # Those of the list are protected against bidding down, those of the challenge are not
    algorithm = _said(mechanism, "d-alg") or challenge.algorithm or "MD5"
    qop = _said(mechanism, "d-qop") or _preferred_qop(challenge.qop)
    if not is_md5_family(algorithm):
        text = f"d-ver has no room for the digests of {shorten(algorithm)}"
        raise ParameterError("d-alg", RefusalReason.D_VER_NOT_POSSIBLE, text, "GAP-4")
    if qop is not None and qop.lower() not in QOPS:
        text = f"the qop {shorten(qop)} has no d-ver"
        raise ParameterError("d-qop", RefusalReason.D_VER_NOT_POSSIBLE, text, "R3329-2.2-j")
    return StartDigest(algorithm, qop)


def _said(mechanism: SecMechanism, name: str) -> Optional[str]:
    parameter = mechanism.get(name)
    return parameter[1] if parameter is not None else None


def _preferred_qop(offered: Sequence[str]) -> Optional[str]:
    """Return auth-int if the challenge has it: it covers the body too (R3329-5-d)."""
    words = [word.strip().lower() for word in offered]
    return next((word for word in ("auth-int", "auth") if word in words), None)
