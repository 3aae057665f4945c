"""Manual keys of peers that agree by SIP: what an Offer, a Confirm and an Install bring about."""

import dataclasses

import pytest

from sad.core.agreement import Choice
from sad.core.rebuilding import LEAP
from sad.model.association import AssociationState, EndReason
from sad.model.errors import BadParameter, MechanismUnavailable, VerifyMismatch
from sad.model.key_set import KeySet
from sad.model.requests import VerifyRequest
from sad.model.sa_pair import Activation
from sad.model.views import Verified
from tests.support import make
from tests.support.key_files import DAY, NOW
from tests.support.key_sets import BOOTTIME, key_set, successor
from tests.support.make import LIFETIMES
from tests.support.man_shell import PEERING, ManShell, offer_request
from tests.support.shell import USER, grant_of, release_of

IN_USE, RETIRING = AssociationState.IN_USE, AssociationState.RETIRING
TEMPORARY = AssociationState.TEMPORARY
CHOICE = Choice(mechanism="ipsec-man", parameters=None, refusals=(), text="")

AGREED = {"activation": Activation.AGREEMENT}


async def test_an_offer_makes_the_sas_of_a_peer() -> None:
    """R3329-2.4-ipsec-b, RFC 3329 2.5: temporary until it is confirmed, never beyond the key."""
    alice = key_set(identity="alice@example.org", names_identity=True, **AGREED)  # type: ignore[arg-type]  # by name
    shell = ManShell(alice)
    await shell.read()
    assert shell.live() == {}

    offered = await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)
    again = await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)
    assert offered == again
    assert offered.security_server == PEERING.security_server
    assert offered.association.state is TEMPORARY
    assert offered.association.deadline_at == BOOTTIME + LIFETIMES.reg_await_auth

    confirmed = await shell.service.confirm(USER, grant_of(offered.association.id, 600))
    assert confirmed.deadline_at == BOOTTIME + 630
    await shell.keeper.act()
    assert shell.states() == {"old": IN_USE}
    longer = await shell.service.confirm(USER, grant_of(confirmed.id, 200_000))
    assert longer.deadline_at == BOOTTIME + DAY

    await shell.service.release(USER, release_of(longer.id))
    await shell.keeper.act()
    assert shell.live() == {}
    comes_again = await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)
    assert comes_again.association.state is TEMPORARY
    assert shell.sent_from(8193) == LEAP
    await shell.pass_time(LIFETIMES.reg_await_auth)
    assert shell.reasons() == [EndReason.RELEASED, EndReason.EXPIRED]


async def test_a_peer_that_comes_again_while_its_sas_linger_takes_them_up() -> None:
    """T24-D-1, R3329-2.4-man-a: its keys can make no others; it is to confirm as at first."""
    shell = ManShell(key_set(**AGREED))  # type: ignore[arg-type]  # by name
    await shell.read()
    first = (await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)).association
    await shell.service.confirm(USER, grant_of(first.id, 600))
    await shell.service.release(USER, release_of(first.id, 30))
    assert shell.states() == {"old": RETIRING}

    again = (await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)).association

    assert (again.id, again.state, again.end_reason) == (first.id, TEMPORARY, None)
    assert again.deadline_at == BOOTTIME + LIFETIMES.reg_await_auth
    assert shell.journal.rows[again.id] == again
    await shell.pass_time(31)  # the linger of its last registration ends nothing
    confirmed = await shell.service.confirm(USER, grant_of(again.id, 600))
    await shell.keeper.act()
    assert shell.states() == {"old": IN_USE}
    assert confirmed.deadline_at == BOOTTIME + 31 + 630
    assert shell.reasons() == []


async def test_a_peer_that_takes_up_and_stays_away_loses_what_it_took_up() -> None:
    """RFC 3329 2.5: nothing of the registration before counts."""
    shell = ManShell(key_set(**AGREED))  # type: ignore[arg-type]  # by name
    await shell.read()
    first = (await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)).association
    await shell.service.confirm(USER, grant_of(first.id, 3600))
    await shell.service.release(USER, release_of(first.id, 30))
    await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)

    await shell.pass_time(LIFETIMES.reg_await_auth)

    assert shell.snapshot == (set(), {})
    assert shell.reasons() == [EndReason.EXPIRED]


async def test_what_lingers_and_was_lost_in_the_kernel_is_made_again() -> None:
    """Design 8: the keys are here, and what is taken up is what stands."""
    shell = ManShell(key_set(**AGREED))  # type: ignore[arg-type]  # by name
    await shell.read()
    first = (await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)).association
    await shell.service.confirm(USER, grant_of(first.id, 600))
    await shell.service.release(USER, release_of(first.id, 30))
    shell.tables.sas.clear()

    again = (await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)).association

    assert (again.id, again.state) == (first.id, TEMPORARY)
    assert len(shell.tables.sas) == 2


async def test_a_peer_that_has_agreed_is_rotated_too() -> None:
    """Both valid sets stand before the list is told; proving one proves the other."""
    old, new = key_set(**AGREED), successor(**AGREED)  # type: ignore[arg-type]  # by name
    shell = ManShell(old, new)
    await shell.read()

    offered = await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)
    assert shell.states() == {"old": TEMPORARY, "new": TEMPORARY}
    assert offered.association.ipsec_man is not None
    assert offered.association.ipsec_man.key_set == "old"  # it carries what is sent
    await shell.service.confirm(USER, grant_of(offered.association.id, 3600))
    await shell.keeper.act()
    assert set(shell.states()) == {"old", "new"}
    assert TEMPORARY not in shell.states().values()
    await shell.pass_time(60)
    assert shell.states() == {"old": RETIRING, "new": IN_USE}
    assert shell.live()["new"].deadline_at == BOOTTIME + 3630


def roaming(given: KeySet) -> KeySet:
    """A set of a peer that is known by its identity alone."""
    return dataclasses.replace(
        given,
        local_address="",
        peer_address="",
        identity="alice@example.org",
        names_identity=True,
        activation=Activation.AGREEMENT,
    )


async def test_who_only_names_an_identity_keeps_its_peer_out_no_longer() -> None:
    """R3329-2.4-man-a: SAs that nobody showed keys for make way, those that were used do not."""
    shell = ManShell(roaming(key_set()))
    await shell.read()
    liar, peer = (make.clear_flow(peer_address=f"10.10.0.{n}") for n in (66, 7))

    await shell.keys.offer(USER, offer_request(flow=liar), CHOICE, PEERING)
    offered = await shell.keys.offer(USER, offer_request(flow=peer), CHOICE, PEERING)
    assert offered.association.path.peer_address == "10.10.0.7"
    assert {i.destination for i in shell.tables.sas} == {"10.10.0.1", "10.10.0.7"}
    assert shell.reasons() == [EndReason.REPLACED]
    assert shell.sent_from(8193) == LEAP  # no number twice under one key

    (inbound,) = (s for i, s in shell.tables.sas.items() if i.destination == "10.10.0.1")
    inbound.current = dataclasses.replace(inbound.current, packets=1)
    with pytest.raises(MechanismUnavailable, match="in use at another address"):
        await shell.keys.offer(USER, offer_request(flow=liar), CHOICE, PEERING)
    assert shell.states() == {"old": TEMPORARY}


async def test_a_peer_that_is_known_by_its_identity_agrees_from_anywhere() -> None:
    """R3329-2.4-man-a: peer identity or address; who holds the SAs does not lose them."""
    old, new = roaming(key_set()), roaming(successor(not_before=NOW + 10))
    shell = ManShell(old, new)
    await shell.read()
    here, there = (make.clear_flow(peer_address=f"10.10.0.{n}") for n in (7, 8))

    offered = await shell.keys.offer(USER, offer_request(flow=here), CHOICE, PEERING)
    assert offered.association.path.peer_address == "10.10.0.7"
    again = await shell.keys.offer(USER, offer_request(flow=here), CHOICE, PEERING)
    assert again.association.id == offered.association.id
    with pytest.raises(BadParameter):
        own = make.clear_flow(peer_address="127.0.0.1")
        await shell.keys.offer(USER, offer_request(flow=own), CHOICE, PEERING)

    # What the kernel loses is made again, and its successor follows it there.
    await shell.service.confirm(USER, grant_of(offered.association.id, 3600))
    with pytest.raises(MechanismUnavailable, match="in use at another address"):
        await shell.keys.offer(USER, offer_request(flow=there), CHOICE, PEERING)
    shell.tables.sas.clear()
    await shell.reconciler.reconcile("test")
    assert shell.live()["old"].id == offered.association.id
    await shell.pass_time(10)
    assert shell.live()["new"].path.peer_address == "10.10.0.7"
    await shell.pass_time(60)
    assert shell.states() == {"old": RETIRING, "new": IN_USE}

    await shell.service.release(USER, release_of(shell.live()["new"].id))
    await shell.service.release(USER, release_of(shell.live()["old"].id))
    moved = await shell.keys.offer(USER, offer_request(flow=there), CHOICE, PEERING)
    assert moved.association.path.peer_address == "10.10.0.8"


async def test_what_a_peer_mirrors_on_its_sas_is_judged_by_the_static_list() -> None:
    """R3329-2.3.1-m, -o: for hooks that leave it to the daemon."""
    shell = ManShell(key_set())
    await shell.read()
    flow = make.clear_flow(peer_port=5064, local_port=5064)

    def verify(*rows: str) -> Verified:
        return shell.service.verify(
            USER, VerifyRequest(flow=flow, security_verify=rows, security_client=())
        )

    assert verify(PEERING.security_server).association == shell.live()["old"]
    for wrong in ((), ("digest;q=0.2",), ("digest;q=0.2, ipsec-man;q=0.3",)):
        with pytest.raises(VerifyMismatch) as refused:
            verify(*wrong)
        assert refused.value.security_server == PEERING.security_server


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"identity": "bob@example.org", "names_identity": True}, "this peer has no key set"),
        ({"peer_address": "10.10.0.77"}, "this peer has no key set"),
        ({"not_before": NOW + 5}, "no key set that is valid now"),
    ],
)
async def test_a_peer_without_a_key_set_is_refused(
    changes: dict[str, object], reason: str
) -> None:
    """R3329-2.4-man-a: it works only if both sides know the keys beforehand."""
    shell = ManShell(dataclasses.replace(key_set(**AGREED), **changes))  # type: ignore[arg-type]  # by name
    await shell.read()

    with pytest.raises(MechanismUnavailable) as refused:
        await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)

    assert reason in refused.value.reason
    assert shell.live() == {}
