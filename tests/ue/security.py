"""The client's side of RFC 3329 with ipsec-3gpp: offers, choice, keys, the SA set of a UE.

Pure. The counterpart of `sip_hooks.secagree` and deliberately not made with it: a mistake in one
grammar or key rule must not be repeated by the side that is to notice it. The kernel part is
:mod:`tests.ue.xfrm`.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tests.ue.headers import Params, SipError, param, parse_params, split

MECHANISM: Final = "ipsec-3gpp"
SIP_PORTS: Final = frozenset({5060, 5061})  # T33-7.1-e: never protected ports
LOWEST_SPI: Final = 256  # IPS-1: 1-255 are reserved by IANA

_QVALUE = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_SPI = re.compile(r"[0-9]{1,10}")  # R3329-ERR-3799
_PORT = re.compile(r"[0-9]{1,5}")


class AgreementAborted(Exception):
    """The server's list cannot be used: the UE abandons this authentication (T33-7.3.2.2)."""


@dataclass(frozen=True, slots=True)
class Transforms:
    """Linux names and keys of one ESP; ``auth`` or ``aead`` alone carries integrity."""

    auth: tuple[str, bytes, int] | None = field(default=None, repr=False)
    enc: tuple[str, bytes] | None = field(default=None, repr=False)
    aead: tuple[str, bytes, int] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The UE's own part of a set: SPIs and ports at which it receives, pairs (alg, ealg)."""

    spi_c: int
    spi_s: int
    port_c: int
    port_s: int
    algorithms: tuple[tuple[str, str], ...]
    modes: tuple[str, ...] = ("trans",)

    def __str__(self) -> str:
        """Security-Client: one mechanism per pair with the same numbers (T33-H-h), no q.

        Who may be behind a NAT offers each in both modes (T33-M-a).
        """
        numbers = (
            f"spi-c={self.spi_c};spi-s={self.spi_s};port-c={self.port_c};port-s={self.port_s}"
        )
        return ", ".join(
            f"{MECHANISM};alg={alg};ealg={ealg};prot=esp;mod={mode};{numbers}"
            for mode in self.modes
            for alg, ealg in self.algorithms
        )


@dataclass(frozen=True, slots=True)
class ServerMechanism:
    """One entry of Security-Server; ``q`` in thousandths, -1 if absent (INTEROP-8)."""

    name: str
    params: Params
    q: int

    def value(self, name: str, default: str) -> str:
        given = param(self.params, name)
        return default if given is None else given.lower()


def parse_server_list(rows: Iterable[str]) -> tuple[ServerMechanism, ...]:
    """Parse all rows of Security-Server in order."""
    result = []
    for text in (value for row in rows for value in split(row, ",")):
        name, *rest = split(text, ";")
        params = parse_params(rest)
        parse_params([name])  # a token, nothing else
        q = param(params, "q")
        if q is not None and _QVALUE.fullmatch(q) is None:
            raise SipError(f"bad q in Security-Server: {q!r}")
        result.append(
            ServerMechanism(name.lower(), params, -1 if q is None else round(float(q) * 1000))
        )
    return tuple(result)


def _number(mechanism: ServerMechanism, name: str, grammar: re.Pattern[str], limit: int) -> int:
    text = param(mechanism.params, name)
    # R3329-2.3.1-k: what is needed to start is missing, so there is no falling to the next.
    if text is None or grammar.fullmatch(text) is None or not 0 < int(text) <= limit:
        raise AgreementAborted(f"Security-Server without a usable {name}")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaSet:
    """Two pairs of SAs by the names of TS 33.203 7.1, seen by the UE.

    ``cross_pairs``: also the pairs u.s/p.s and u.c/p.c that TS 33.203 does not know but some
    networks use (INTEROP-1). ``encapsulated``: ESP in UDP through a NAT, in tunnel mode.
    """

    ue_address: str
    pcscf_address: str
    spi_uc: int
    spi_us: int
    spi_pc: int
    spi_ps: int
    port_uc: int
    port_us: int
    port_pc: int
    port_ps: int
    alg: str
    ealg: str
    transforms: Transforms = field(repr=False)
    cross_pairs: bool = False
    encapsulated: bool = False

    @property
    def label(self) -> str:
        """Names the set for people: its two client ports."""
        return f"{self.port_uc}-{self.port_pc}"


def choose(mechanisms: Sequence[ServerMechanism], offer: Offer) -> ServerMechanism:
    """Return the most preferred mechanism that the UE offered (R3329-2.3.1-j, T33-7.2-c)."""
    ordered = sorted(mechanisms, key=lambda m: -m.q)  # stable: list order breaks ties (GAP-5)
    for mechanism in ordered:
        pair = (mechanism.value("alg", ""), mechanism.value("ealg", "null"))
        modes = [mode.lower() for mode in offer.modes]
        esp = mechanism.value("prot", "esp") == "esp" and mechanism.value("mod", "trans") in modes
        if mechanism.name == MECHANISM and esp and pair in offer.algorithms:
            return mechanism
    raise AgreementAborted("Security-Server lists nothing that was offered")


def agree(
    rows: Sequence[str],
    offer: Offer,
    *,
    ue_address: str,
    pcscf_address: str,
    ck: bytes,
    ik: bytes,
    cross_pairs: bool = False,
) -> SaSet:
    """Make the UE's SA set from the rows of Security-Server and the UE's offer.

    Raises :class:`AgreementAborted` if the server's parameters break TS 33.203 7.1.
    """
    if not rows:
        raise AgreementAborted("401 without Security-Server")  # T24-5.1.1.5.1-a
    mechanism = choose(parse_server_list(rows), offer)
    spi_pc = _number(mechanism, "spi-c", _SPI, 0xFFFFFFFF)
    spi_ps = _number(mechanism, "spi-s", _SPI, 0xFFFFFFFF)
    port_pc = _number(mechanism, "port-c", _PORT, 65535)
    port_ps = _number(mechanism, "port-s", _PORT, 65535)
    if len({spi_pc, spi_ps, offer.spi_c, offer.spi_s}) != 4:
        raise AgreementAborted("the four SPIs are not different")  # T33-7.1-f, T33-7.1-h
    if min(spi_pc, spi_ps) < LOWEST_SPI:
        raise AgreementAborted("reserved SPI")  # IPS-1
    if port_pc == port_ps or SIP_PORTS & {port_pc, port_ps}:
        raise AgreementAborted("protected ports equal each other or a SIP port")
    alg, ealg = mechanism.value("alg", ""), mechanism.value("ealg", "null")
    return SaSet(
        ue_address=ue_address,
        pcscf_address=pcscf_address,
        spi_uc=offer.spi_c,
        spi_us=offer.spi_s,
        spi_pc=spi_pc,
        spi_ps=spi_ps,
        port_uc=offer.port_c,
        port_us=offer.port_s,
        port_pc=port_pc,
        port_ps=port_ps,
        alg=alg,
        ealg=ealg,
        transforms=esp_transforms(alg, ealg, ck=ck, ik=ik),
        cross_pairs=cross_pairs,
        encapsulated=mechanism.value("mod", "trans") == "udp-enc-tun",
    )


def _salt(ck: bytes, ik: bytes, fc: int, label: bytes) -> bytes:
    """T33-I-a: 32 least significant bits of the KDF of TS 33.220 Annex B."""
    message = bytes((fc,)) + label + len(label).to_bytes(2, "big")
    return hmac.new(ck + ik, message, hashlib.sha256).digest()[-4:]


_NULL_ENCRYPTION = ("ecb(cipher_null)", b"")
_AUTH: Mapping[str, tuple[str, int, int]] = MappingProxyType(
    {  # zero octets after IK, bits of the ICV
        "hmac-md5-96": ("hmac(md5)", 0, 96),
        "hmac-sha-1-96": ("hmac(sha1)", 4, 96),
        "hmac-sha-256-128": ("hmac(sha256)", 16, 128),  # RFC 4868
    }
)


def esp_transforms(alg: str, ealg: str, *, ck: bytes, ik: bytes) -> Transforms:
    """Expand CK and IK to ESP keys by TS 33.203 Annex I (norms 13)."""
    if (alg, ealg) == ("aes-gmac", "null"):
        key = ik + _salt(ck, ik, 0x58, b"AES_GMAC_SALT")
        return Transforms(aead=("rfc4543(gcm(aes))", key, 128))
    if (alg, ealg) == ("null", "aes-gcm"):
        key = ck + _salt(ck, ik, 0x59, b"AES_GCM_SALT")
        return Transforms(aead=("rfc4106(gcm(aes))", key, 128))
    encryption = {
        "null": _NULL_ENCRYPTION,
        "aes-cbc": ("cbc(aes)", ck),
        "des-ede3-cbc": ("cbc(des3_ede)", ck + ck[:8]),  # CK1, CK2, CK1
    }
    if alg not in _AUTH or ealg not in encryption:
        raise AgreementAborted(f"no such pair of algorithms: {alg}, {ealg}")
    name, zeros, bits = _AUTH[alg]
    return Transforms(auth=(name, ik + bytes(zeros), bits), enc=encryption[ealg])
