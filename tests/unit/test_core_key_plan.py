"""What is planned about key sets: rotation with overlap, validity, agreement; time is given."""

import dataclasses

import pytest
from msgspec import structs

from sad.core.key_plan import Instant, KeyPlan, plan_keys, sets_to_offer
from sad.core.lifecycle import confirm_keyed, expiry_reason, prove
from sad.model.association import Association, AssociationState, EndReason
from sad.model.key_set import KeySet
from sad.model.rules import Lifetimes
from sad.model.sa_pair import Activation
from tests.support.key_files import DAY, NOW
from tests.support.key_sets import BOOTTIME, association_of, key_set, successor

LIFETIMES = Lifetimes(key_switch=60.0, retiring=128.0)
ESTABLISHED, IN_USE = AssociationState.ESTABLISHED, AssociationState.IN_USE
RETIRING, TEMPORARY = AssociationState.RETIRING, AssociationState.TEMPORARY


def plan(
    sets: tuple[KeySet, ...],
    lives: tuple[Association, ...] = (),
    *,
    later: float = 0.0,
    withdrawn: tuple[str, ...] = (),
) -> KeyPlan:
    """The plan ``later`` seconds after NOW."""
    at = Instant(now=BOOTTIME + later, realtime=NOW + later)
    named = {s.name: s for s in sets}
    return plan_keys(named, lives, LIFETIMES, at, withdrawn=withdrawn)


def installs(found: KeyPlan) -> list[str]:
    return [w.key_set.name for w in found.install]


def test_a_set_begins_at_not_before_and_ends_at_not_after() -> None:
    """RFC 3329 2.5: its life comes with the keys, to the instant."""
    waiting = key_set(not_before=NOW + 10, not_after=NOW + 30)

    assert plan((waiting,)) == KeyPlan(next_at=NOW + 10)
    assert installs(plan((waiting,), later=10)) == ["old"]
    live = association_of(waiting)
    assert plan((waiting,), (live,), later=20) == KeyPlan(next_at=NOW + 30)
    ended = plan((waiting,), (live,), later=30)
    assert ended.end == ((live.id, EndReason.KEY_EXPIRED),)
    assert ended.install == ()
    assert ended.next_at is None


def test_the_first_set_of_a_peer_is_used_at_once() -> None:
    """There is no older one that carries what is sent."""
    old = key_set()

    assert plan((old,), (association_of(old, ESTABLISHED),)).use == (association_of(old).id,)
    assert plan((old,), (association_of(old, IN_USE),)) == KeyPlan(next_at=old.not_after)


def test_a_rotation_is_received_before_it_is_sent() -> None:
    """RFC 3329 2.5: received on from not_before, sent on key_switch later."""
    old, new = key_set(), successor()
    one, two = association_of(old), association_of(new, ESTABLISHED)

    assert plan((old, new), (one,), later=-1).install == ()
    assert plan((old, new), (one,), later=-1).next_at == NOW
    assert installs(plan((old, new), (one,))) == ["new"]
    waits = plan((old, new), (one, two), later=59)
    assert (waits.use, waits.next_at) == ((), NOW + 60)
    assert plan((old, new), (one, two), later=60).use == (two.id,)


def test_what_has_retired_does_not_come_back() -> None:
    """Its successor carries what is sent, by its state or by the time that has passed."""
    old, new = key_set(), successor()
    in_use = association_of(new, IN_USE)

    assert plan((old, new), (in_use,), later=61) == KeyPlan(next_at=old.not_after)
    # A node that was down: the peer sends on the old set until its own switch and a little more.
    assert installs(plan((old, new), later=100)) == ["old", "new"]
    assert installs(plan((old, new), later=60 + 128)) == ["new"]


def test_a_successor_that_was_released_takes_nothing_over() -> None:
    """The old set goes on, and comes back: somebody has taken the new one away."""
    old, new = key_set(), successor()

    found = plan((old, new), later=500, withdrawn=("new",))

    assert installs(found) == ["old"]


def test_a_set_that_needs_an_agreement_waits_for_it() -> None:
    """R3329-2.4-man-a: Offer makes its SAs, and its successor follows a peer that has agreed."""
    old = key_set(activation=Activation.AGREEMENT)
    new = successor(activation=Activation.AGREEMENT)
    agreed = association_of(old, granted_until=BOOTTIME + 500)

    assert plan((old, new)).install == ()
    assert plan((old, new), (structs.replace(agreed, state=TEMPORARY),)).install == ()
    (wanted,) = plan((old, new), (agreed,)).install
    assert (wanted.key_set.name, wanted.granted_until) == ("new", BOOTTIME + 500)


def test_a_peer_that_proves_itself_on_one_set_has_proven_the_other() -> None:
    """During a rotation both sets of a peer stand; it answers on either."""
    old, new = key_set(), successor()
    proven = association_of(old, granted_until=BOOTTIME + 500)

    found = plan((old, new), (proven, association_of(new, TEMPORARY)))

    assert found.confirm == ((association_of(new).id, BOOTTIME + 500),)


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_deadlines_follow_a_step_of_the_clock(step: float) -> None:
    """Validity is real time, deadlines are BOOTTIME: after a step they are written anew."""
    old = key_set()
    live = association_of(old)
    at = Instant(now=BOOTTIME, realtime=NOW + step)

    found = plan_keys({"old": old}, (live,), LIFETIMES, at)

    assert found.move == ((live.id, live.deadline_at - step),)


def test_a_deadline_is_the_key_or_the_registration_whichever_is_first() -> None:
    """RFC 3329 2.5: neither outlives the other."""
    old = key_set()
    registered = association_of(old, granted_until=BOOTTIME + 500)
    retiring = association_of(old, RETIRING, deadline_at=BOOTTIME + 60)

    assert plan((old,), (registered,)).move == ((registered.id, BOOTTIME + 500),)
    assert plan((old,), (retiring,)).move == ()
    shorter = dataclasses.replace(old, not_after=NOW + 30)
    assert plan((shorter,), (registered,)).move == ((registered.id, BOOTTIME + 30),)
    assert plan((shorter,), (retiring,)).move == ((retiring.id, BOOTTIME + 30),)


def test_a_registration_on_manual_keys_is_lengthened_up_to_the_key() -> None:
    """RFC 3329 2.5, T24-P-11: Confirm grants, refreshes lengthen, the key ends it all the same."""
    key_end = BOOTTIME + 1000
    offered = association_of(key_set(), TEMPORARY, deadline_at=BOOTTIME + 240, confirmed_at=0.0)

    def confirm(association: Association, expires: float) -> Association:
        return confirm_keyed(association, expires, LIFETIMES, key_end, now=BOOTTIME, realtime=NOW)

    first = confirm(offered, 600)
    assert (first.state, first.deadline_at) == (ESTABLISHED, BOOTTIME + 630)
    assert first.confirmed_at == NOW
    assert confirm(first, 60) == first
    longer = confirm(first, 3600)
    assert (longer.deadline_at, longer.granted_until) == (key_end, BOOTTIME + 3630)
    assert expiry_reason(longer) is EndReason.KEY_EXPIRED
    assert expiry_reason(first) is EndReason.EXPIRED
    assert expiry_reason(offered) is EndReason.EXPIRED
    # Where no agreement was needed there is no registration: the key alone counts.
    always = association_of(key_set())
    assert confirm(always, 60) == always
    assert prove(offered, None, key_end, realtime=NOW).deadline_at == key_end


def test_the_set_that_carries_what_is_sent_is_offered_first() -> None:
    """Both valid ones are to stand; which carries follows from the time alone."""
    old, new = key_set(), successor()

    def names(later: float) -> list[str]:
        return [s.name for s in sets_to_offer((new, old), LIFETIMES, NOW + later)]

    assert names(-1) == ["old"]
    assert names(0) == ["old", "new"]
    assert names(60) == ["new", "old"]
    assert names(DAY) == ["new"]
    assert names(4 * DAY) == []


def test_associations_of_unknown_sets_are_let_alone() -> None:
    """Given at run time, and the daemon was started again: the kernel keeps them to their end."""
    live = association_of(key_set())

    assert plan((), (live,)) == KeyPlan()
