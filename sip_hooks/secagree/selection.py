"""Which mechanism of a Security-Client list the server takes, and why not each other one.

Profile ``ims``: the server walks its own list of algorithm pairs and takes the first that the user
agent also offered (T33-7.2-a). Every other offer gets a :class:`Refusal`, so that an operator
sees why a phone ended where it did. Pure: the policy is an argument, nothing is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Final, NamedTuple, Optional, Sequence, Tuple

from sip_hooks.secagree.errors import ParameterError, PolicyError, RefusalReason
from sip_hooks.secagree.grammar import shorten
from sip_hooks.secagree.ipsec_3gpp import (
    ENCRYPTION_ALGORITHMS,
    EXTENSION_ALGORITHMS,
    INTEGRITY_ALGORITHMS,
    TRANSPORT,
    UDP_TUNNEL,
    WITHDRAWN_ALGORITHMS,
    AlgorithmPair,
    Fault,
    Ipsec3gppParameters,
    ParameterValues,
    find_number_fault,
    is_legal_pair,
    media_plane_error,
    read_ipsec_3gpp,
)
from sip_hooks.secagree.mechanism import IPSEC_3GPP, MECHANISMS, SecMechanism


@dataclass(frozen=True)
class ServerPolicy:
    """What a server of profile ``ims`` accepts; its list is static (R3329-2.1-c).

    ``algorithms`` are (alg, ealg) pairs by RFC 3329 name, most preferred first. The switches are
    off by default: ``accept_withdrawn`` lets withdrawn algorithms into the list (T33-H-b),
    ``accept_extensions`` those of no 3GPP release, ``accept_reserved_spi`` takes SPIs 1 to 255
    (IPS-1), ``accept_sip_port`` protected ports 5060 and 5061 (T33-7.1-e). With ``nat``, a NAT
    between, the mode is UDP-enc-tun, else trans (T33-M-a). Raises :class:`PolicyError`.
    """

    algorithms: Tuple[AlgorithmPair, ...]
    accept_withdrawn: bool = False
    accept_extensions: bool = False
    accept_reserved_spi: bool = False
    accept_sip_port: bool = False
    nat: bool = False

    @property
    def mode(self) -> str:
        """The one value of ``mod`` that it takes and lists, in lower case."""
        return UDP_TUNNEL if self.nat else TRANSPORT

    def __post_init__(self) -> None:
        if not self.algorithms:
            hint = "list at least ('hmac-sha-1-96', 'null')"
            raise PolicyError("the list of algorithm pairs is empty", "R3329-2.2-a", hint)
        if len(set(self.algorithms)) != len(self.algorithms):
            raise PolicyError("an algorithm pair is listed twice", "GAP-5", "list it once")
        for pair in self.algorithms:
            self._check_pair(pair)

    def _check_pair(self, pair: AlgorithmPair) -> None:
        integrity, encryption = pair
        name = f"{integrity}/{encryption}"
        if integrity not in INTEGRITY_ALGORITHMS or encryption not in ENCRYPTION_ALGORITHMS:
            known = ", ".join(sorted(INTEGRITY_ALGORITHMS | ENCRYPTION_ALGORITHMS))
            raise PolicyError(f"{name} is unknown", "T33-H-a", f"known are {known}")
        if not is_legal_pair(pair):
            hint = "null goes with aes-gcm only, aes-gmac with null only"
            raise PolicyError(f"{name} must not be used together", "T33-H-c", hint)
        if not self.accept_withdrawn and not WITHDRAWN_ALGORITHMS.isdisjoint(pair):
            hint = "set accept_withdrawn if phones need it"
            raise PolicyError(f"{name} is withdrawn", "T33-H-b", hint)
        if not self.accept_extensions and not EXTENSION_ALGORITHMS.isdisjoint(pair):
            hint = "set accept_extensions if your user agents know it by this name"
            raise PolicyError(f"{name} is of no 3GPP release", "T33-H-a", hint)


class Refusal(NamedTuple):
    """Why an offer was not taken; ``rule`` names the clause.

    ``offer_index`` counts the mechanisms of the offered list from 0.
    """

    offer_index: int
    mechanism: SecMechanism
    reason: RefusalReason
    text: str
    rule: str


class UserAgentParameters(NamedTuple):
    """The user agent's half of an SA set by the names of TS 33.203 section 7.1, all checked."""

    integrity_algorithm: str
    encryption_algorithm: str
    spi_uc: int
    spi_us: int
    port_uc: int
    port_us: int


class Choice(NamedTuple):
    """The offer that the server takes."""

    offer_index: int
    mechanism: SecMechanism
    parameters: UserAgentParameters


class Selection(NamedTuple):
    """The choice, None without a usable offer, and the refusal of every other one in order."""

    choice: Optional[Choice]
    refusals: Tuple[Refusal, ...]


_LOWER_PREFERENCE: Final[Fault] = (
    RefusalReason.LOWER_PREFERENCE,
    "usable, but the server prefers the chosen one",
    "T33-7.2-a",
)


def choose_mechanism(offers: Sequence[SecMechanism], policy: ServerPolicy) -> Selection:
    """Return what the server takes of a Security-Client list, and why not the others.

    The preference is the server's (T33-7.2-a): q and order of the offers do not count, except that
    of several usable offers of one pair the first is taken, with its own SPIs and ports (T33-H-h).
    """
    faults: Dict[int, Fault] = {}
    usable: Dict[AlgorithmPair, Tuple[int, Ipsec3gppParameters]] = {}
    known = ParameterValues()
    mode = policy.mode
    for index, mechanism in enumerate(offers):
        try:
            parameters = _read_offer(mechanism, known)
        except ParameterError as error:
            faults[index] = (error.reason, error.text, error.rule)
            continue
        fault = _offer_fault(parameters, policy, mode)
        if fault is not None:
            faults[index] = fault
        else:
            usable.setdefault(parameters[:2], (index, parameters))

    choice: Optional[Choice] = None
    for pair in policy.algorithms:
        if pair in usable:
            index, parameters = usable[pair]
            choice = Choice(index, offers[index], _user_agent_parameters(parameters))
            break
    return Selection(choice, _refusals(offers, faults, choice))


def _refusals(
    offers: Sequence[SecMechanism], faults: Dict[int, Fault], choice: Optional[Choice]
) -> Tuple[Refusal, ...]:
    chosen = -1 if choice is None else choice.offer_index
    return tuple(
        [
            Refusal(index, mechanism, *faults.get(index, _LOWER_PREFERENCE))
            for index, mechanism in enumerate(offers)
            if index != chosen
        ]
    )


def _read_offer(mechanism: SecMechanism, known: ParameterValues) -> Ipsec3gppParameters:
    name = mechanism.name.lower()
    if name == IPSEC_3GPP:
        return read_ipsec_3gpp(mechanism, known=known)
    if mechanism.mediasec:
        raise media_plane_error()
    if name in MECHANISMS:
        text = f"{name} is not in the server's list"
        raise ParameterError(name, RefusalReason.MECHANISM_NOT_LISTED, text, "R3329-2.3.1-h")
    text = f"the mechanism {shorten(mechanism.name)} is not known"
    raise ParameterError(name, RefusalReason.UNKNOWN_MECHANISM, text, "R3329-2.2-d")


def _offer_fault(offer: Ipsec3gppParameters, policy: ServerPolicy, mode: str) -> Optional[Fault]:
    if offer.prot != "esp":
        text = f"prot={shorten(offer.prot)}: only esp protects SIP in IMS"
        return RefusalReason.PROTOCOL_NOT_SUPPORTED, text, "T33-H-d"
    if offer.mod != mode:
        return _mode_fault(offer.mod, policy)
    if offer[:2] not in policy.algorithms:
        return _pair_fault(offer.algorithms, policy)
    return find_number_fault(
        offer,
        accept_reserved_spi=policy.accept_reserved_spi,
        accept_sip_port=policy.accept_sip_port,
    )


def _mode_fault(mode: str, policy: ServerPolicy) -> Fault:
    if policy.nat:
        text = f"mod={shorten(mode)}: through the NAT between goes UDP-enc-tun alone"
        return RefusalReason.MODE_NOT_SUPPORTED, text, "T33-M-a"
    if mode == UDP_TUNNEL:
        text = "UDP-enc-tun is for a NAT between, and none was found"
        return RefusalReason.MODE_NOT_SUPPORTED, text, "T33-M-a"
    text = f"mod={shorten(mode)}: without NAT the mode is trans"
    return RefusalReason.MODE_NOT_SUPPORTED, text, "T33-7.1-j"


def _pair_fault(pair: AlgorithmPair, policy: ServerPolicy) -> Fault:
    integrity, encryption = pair
    if integrity in INTEGRITY_ALGORITHMS and encryption in ENCRYPTION_ALGORITHMS:
        shown = f"{integrity} with {encryption}"
        if not is_legal_pair(pair):
            text = f"{shown} must not be used together"
            return RefusalReason.ILLEGAL_ALGORITHM_PAIR, text, "T33-H-c"
        if not policy.accept_withdrawn and not WITHDRAWN_ALGORITHMS.isdisjoint(pair):
            text = f"{shown} is withdrawn and not accepted here"
            return RefusalReason.WITHDRAWN_ALGORITHM, text, "T33-H-b"
    else:
        shown = f"{shorten(integrity)} with {shorten(encryption)}"
    text = f"{shown} is not in the server's list"
    return RefusalReason.ALGORITHM_NOT_LISTED, text, "T33-7.2-a"


def _user_agent_parameters(offer: Ipsec3gppParameters) -> UserAgentParameters:
    # find_number_fault lets no offer pass without the four
    assert offer.spi_c is not None
    assert offer.spi_s is not None
    assert offer.port_c is not None
    assert offer.port_s is not None
    return UserAgentParameters(
        offer.alg, offer.ealg, offer.spi_c, offer.spi_s, offer.port_c, offer.port_s
    )
