"""Of one list: what would be taken, and why not each other element. For operators and tests.

The decisions are made elsewhere (:mod:`.selection`, :mod:`.prediction`, :mod:`.starting`); here
they get one form, whichever side the list is of.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

from sip_hooks.secagree.errors import ParameterError, RefusalReason
from sip_hooks.secagree.ipsec_3gpp import Fault, media_plane_error
from sip_hooks.secagree.mechanism import SecMechanism
from sip_hooks.secagree.prediction import choose_listed, kind_of_offer, predict_choice
from sip_hooks.secagree.selection import Refusal, ServerPolicy, choose_mechanism
from sip_hooks.secagree.starting import Circumstances, plan_start


class Verdict(NamedTuple):
    """The position that is taken, None if none is, and the refusal of every other in order."""

    taken: Optional[int]
    refusals: Tuple[Refusal, ...]


def explain_offers(
    offers: Sequence[SecMechanism], own: Union[ServerPolicy, Sequence[SecMechanism]]
) -> Verdict:
    """Return what becomes of a Security-Client list.

    ``own`` is the policy of profile ``ims`` or the static list of profile ``rfc3329``.
    """
    if isinstance(own, ServerPolicy):
        selection = choose_mechanism(offers, own)
        choice = selection.choice
        return Verdict(None if choice is None else choice.offer_index, selection.refusals)
    prediction = predict_choice(offers, own)
    return Verdict(prediction.offer_index, prediction.refusals)


def explain_list(
    listed: Sequence[SecMechanism], offers: Sequence[SecMechanism], given: Circumstances
) -> Verdict:
    """Return what a client with ``offers`` makes of a Security-Server list.

    If the most preferred mechanism lacks something nothing is taken (R3329-2.3.1-k).
    """
    chosen = choose_listed(listed, offers)
    aborted = _abort_of(listed[chosen], given) if chosen is not None else None
    refusals: List[Refusal] = []
    for index, mechanism in enumerate(listed):
        if index != chosen:
            fault = _fault_of(mechanism, offers, is_aborted=aborted is not None)
            refusals.append(Refusal(index, mechanism, *fault))
        elif aborted is not None:
            refusals.append(Refusal(index, mechanism, *aborted))
    return Verdict(None if aborted is not None else chosen, tuple(refusals))


def _abort_of(mechanism: SecMechanism, given: Circumstances) -> Optional[Fault]:
    try:
        plan_start(mechanism, given)
    except ParameterError as error:
        return error.reason, error.text, error.rule
    return None


def _fault_of(
    mechanism: SecMechanism, offers: Sequence[SecMechanism], *, is_aborted: bool
) -> Fault:
    try:
        if mechanism.mediasec:
            raise media_plane_error()
        kind = kind_of_offer(mechanism)
    except ParameterError as error:
        return error.reason, error.text, error.rule
    if all(offer.mediasec or kind_of_offer(offer) != kind for offer in offers):
        text = "the client does not offer this mechanism with these algorithms"
        return RefusalReason.MECHANISM_NOT_LISTED, text, "R3329-2.3.1-j"
    if is_aborted:
        text = "usable, but the agreement ends with the most preferred one"
        return RefusalReason.LOWER_PREFERENCE, text, "R3329-2.3.1-k"
    text = "usable, but the server prefers the chosen one"
    return RefusalReason.LOWER_PREFERENCE, text, "R3329-2.3.1-j"
