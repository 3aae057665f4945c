"""What an endpoint of profile ``ims`` takes of a list where it has tls beside ipsec-3gpp.

TS 33.203 Annex S.3: the agreement may choose between the two. TLS goes with SIP digest, so where
the 401 has no keys of AKA it is the only one (T33-O-a); where it has them, the order of the
settings decides. What is sent as Security-Server is the chosen one alone: somebody who strikes the
other from the list on its way is told on by the Security-Client that comes back protected
(T24-P-2), as with the algorithms of ipsec-3gpp.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from msgspec import structs

from sad.core import agreement
from sad.core.agreement import Choice
from sad.core.attaching import TLS
from sad.model.agreement import Refusal
from sad.model.endpoint import Endpoint, Profile
from sad.model.errors import AlgorithmUnavailable, NoCommonMechanism
from sip_hooks.secagree import RefusalReason, SecMechanism, render_header
from sip_hooks.secagree.mechanism import IPSEC_3GPP


def choose(
    rows: Sequence[str],
    endpoint: Endpoint,
    missing: AbstractSet[str],
    *,
    with_keys: bool = True,
    nat: bool = False,
) -> Choice:
    """As :func:`sad.core.agreement.choose`; ``with_keys``: the 401 has, or may have, IK and CK."""
    listed = endpoint.ims_mechanisms
    if endpoint.profile is not Profile.IMS or TLS not in listed:
        return agreement.choose(rows, endpoint, missing, nat=nat)
    offers = agreement.read_offers(rows)
    place = next((i for i, m in enumerate(offers) if _is_tls(m)), None)
    if place is None and IPSEC_3GPP in listed:
        return agreement.choose(rows, endpoint, missing, nat=nat)
    other: Choice | None = None
    refusals: tuple[Refusal, ...] = ()
    if IPSEC_3GPP in listed:
        try:
            other = agreement.choose(rows, endpoint, missing, nat=nat)
            refusals = other.refusals
        except NoCommonMechanism as error:
            refusals = error.refusals
        except AlgorithmUnavailable:
            pass  # of the kernel, and tls needs none of it
    elif not offers:
        return agreement.choose(rows, endpoint, missing, nat=nat)  # refuses a list that is missing
    if place is None:
        raise NoCommonMechanism(
            refusals=tuple(
                _refusal(i, m, RefusalReason.MECHANISM_NOT_LISTED, "not in the endpoint's list")
                for i, m in enumerate(offers)
            )
        )
    if other is not None and with_keys and listed.index(IPSEC_3GPP) < listed.index(TLS):
        others = tuple(r for r in refusals if r.offer_index != place)
        return structs.replace(
            other, refusals=_in_order((*others, _less_preferred(place, offers[place])))
        )
    told = {r.offer_index: r for r in refusals}
    return Choice(
        mechanism=TLS,
        parameters=None,
        refusals=tuple(
            told.get(i) or _less_preferred(i, m) for i, m in enumerate(offers) if i != place
        ),
        text=render_header(offers),
    )


def _is_tls(offer: SecMechanism) -> bool:
    return offer.name.lower() == TLS and not offer.mediasec


def _in_order(refusals: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    return tuple(sorted(refusals, key=lambda r: r.offer_index))


def _less_preferred(index: int, offer: SecMechanism) -> Refusal:
    text = "usable, but the endpoint prefers the chosen one"
    return _refusal(index, offer, RefusalReason.LOWER_PREFERENCE, text)


def _refusal(index: int, offer: SecMechanism, reason: RefusalReason, text: str) -> Refusal:
    return Refusal(
        offer_index=index,
        mechanism=offer.name[: agreement.LONGEST_NAME],
        reason=reason.value,
        text=text,
        rule="T33-S.3-a",
    )
