"""What a client takes of a server's list: for the client, and for the server who must prepare it.

The server compares the lists to add what starts the mechanism (R3329-2.3.1-h); nothing else may
come of Security-Client (R3329-2.3.1-i). The client goes by the server's q alone.
"""

from __future__ import annotations

from enum import Enum
from typing import Dict, Final, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple

from sip_hooks.secagree.errors import ParameterError, RefusalReason
from sip_hooks.secagree.grammar import shorten
from sip_hooks.secagree.ipsec_3gpp import AlgorithmPair, Fault, media_plane_error, read_ipsec_3gpp
from sip_hooks.secagree.mechanism import DIGEST, IPSEC_3GPP, MECHANISMS, SecMechanism
from sip_hooks.secagree.selection import Refusal


class Need(str, Enum):
    """What a list must come with so that a mechanism can be started."""

    NOTHING = "nothing"
    CHALLENGE = "challenge"  # WWW-Authenticate or Proxy-Authenticate
    SA_SET = "sa-set"  # SPIs and ports in the list, SAs in the kernel


class Prediction(NamedTuple):
    """The client's choice, as the server foresees it, and why every other offer is not taken.

    ``own_index`` and ``offer_index`` count from 0 in the two lists; None: nothing in common.
    ``need`` is then that of the server's most preferred mechanism (R3329-2.3.2-f).
    """

    own_index: Optional[int]
    offer_index: Optional[int]
    need: Need
    refusals: Tuple[Refusal, ...]


#: A mechanism, and for ipsec-3gpp what must be equal too: algorithms, protocol, mode.
Kind = Tuple[str, Optional[AlgorithmPair], str, str]

_NEEDS: Final = {DIGEST: Need.CHALLENGE, IPSEC_3GPP: Need.SA_SET}


def by_preference(mechanisms: Sequence[SecMechanism]) -> Tuple[int, ...]:
    """Return the positions of a list by falling q; none is the lowest, the earlier wins (GAP-5).

    Elements of the media plane take no part (UPD-mediasec-b).
    """
    places = [index for index, m in enumerate(mechanisms) if not m.mediasec]

    def rank(index: int) -> int:
        preference = mechanisms[index].preference
        return 1 if preference is None else -preference

    return tuple(sorted(places, key=rank))


def predict_choice(offers: Sequence[SecMechanism], own: Sequence[SecMechanism]) -> Prediction:
    """Return which of ``own`` a client with these offers takes (R3329-2.1-b).

    Both lists as they stand in Security-Client and Security-Server; q of the offers and their
    order do not count (R3329-2.3.1-c).
    """
    faults: Dict[int, Fault] = {}
    known: Dict[Kind, int] = {}
    for index, offer in enumerate(offers):
        try:
            known.setdefault(kind_of_offer(offer), index)
        except ParameterError as error:
            faults[index] = (error.reason, error.text, error.rule)
    order = by_preference(own)
    own_index: Optional[int] = None
    offer_index: Optional[int] = None
    for place in order:
        offer_index = known.get(kind_of(own[place]))
        if offer_index is not None:
            own_index = place
            break
    preferred = own_index if own_index is not None else (order[0] if order else None)
    need = Need.NOTHING
    if preferred is not None:
        need = _NEEDS.get(own[preferred].name.lower(), Need.NOTHING)
    listed = {kind_of(own[place]) for place in order}
    refusals: List[Refusal] = []
    for index, offer in enumerate(offers):
        if index != offer_index:
            fault = faults.get(index) or _unused(offer, listed)
            refusals.append(Refusal(index, offer, *fault))
    return Prediction(own_index, offer_index, need, tuple(refusals))


def choose_listed(listed: Sequence[SecMechanism], offers: Sequence[SecMechanism]) -> Optional[int]:
    """Return which mechanism of Security-Server a client takes (R3329-2.3.1-j, T33-7.2-c).

    That of the highest q among those it offers; whether it is complete is not asked, because what
    lacks something is no reason to take a lesser one (R3329-2.3.1-k).
    """
    known: FrozenSet[Kind] = frozenset(kind_of_offer(m) for m in offers if not m.mediasec)
    names = {kind[0] for kind in known}
    for place in by_preference(listed):
        try:
            is_known = kind_of_offer(listed[place]) in known
        except ParameterError:
            is_known = listed[place].name.lower() in names
        if is_known:
            return place
    return None


def kind_of(mechanism: SecMechanism) -> Kind:
    """Return what an element is, for lists whose elements are compared.

    Raises :class:`ParameterError` for an ipsec-3gpp element that cannot be read.
    """
    name = mechanism.name.lower()
    if name != IPSEC_3GPP:
        return name, None, "", ""
    given = read_ipsec_3gpp(mechanism)
    return name, given.algorithms, given.prot, given.mod


def kind_of_offer(offer: SecMechanism) -> Kind:
    """Return what a peer's element is; raises :class:`ParameterError` for one of no use."""
    if offer.mediasec:
        raise media_plane_error()
    name = offer.name.lower()
    if name not in MECHANISMS:
        text = f"the mechanism {shorten(offer.name)} is not known"
        raise ParameterError(name, RefusalReason.UNKNOWN_MECHANISM, text, "R3329-2.2-d")
    repeated = offer.repeated_parameter
    if repeated is not None:
        text = f"the parameter {shorten(repeated)} stands twice"
        raise ParameterError(repeated, RefusalReason.DUPLICATE_PARAMETER, text, "RFC 3261 7.3.1")
    return kind_of(offer)


def _unused(offer: SecMechanism, listed: "set[Kind]") -> Fault:
    kind = kind_of_offer(offer)
    if kind in listed:
        text = "usable, but the server's list prefers another one"
        return RefusalReason.LOWER_PREFERENCE, text, "R3329-2.3.1-h"
    name, pair, _, _ = kind
    if pair is not None and any(other[0] == IPSEC_3GPP for other in listed):
        text = f"{shorten(pair[0])} with {shorten(pair[1])} is not in the server's list"
        return RefusalReason.ALGORITHM_NOT_LISTED, text, "T33-7.2-a"
    text = f"{name} is not in the server's list"
    return RefusalReason.MECHANISM_NOT_LISTED, text, "R3329-2.3.1-h"
