"""A set that goes on at another node: no number twice, no packet twice, and the next ones pass."""

import dataclasses
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from netlink.counters import ObservedCounters
from netlink.model import AddPolicy, AddSa, CurrentLifetime, ReplayState, SaId
from netlink.secret import Secret
from sad.core.nonces import BLOCK, MOST_REBUILDS, PACKETS
from sad.core.planning import plan_install
from sad.core.rebuilding import MOST_LEAPS, first_record, next_record
from sad.core.restoring import (
    NOTICE_SECONDS,
    PACKETS_PER_SECOND,
    advance,
    hear,
    never_read,
    plan_restore,
    raised,
    record_of,
)
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association
from sad.model.cluster import CounterSnapshot, StoredSet
from sad.model.endpoint import Role
from tests.support.make import CK, IK, LAYOUT, LIFETIMES, association, sa_set
from tests.support.replay_window import ReplayWindow

NOW, REALTIME = 100.0, 1_700_001_000.0
LAST = (1 << 32) - 1
COMBINED = [("null", "aes-gcm"), ("aes-gmac", "null")]


def combined(names: tuple[str, str]) -> Association:
    alg, ealg = names
    return association(sa_set=sa_set(integrity_algorithm=alg, encryption_algorithm=ealg))


def stored(
    one: Association | None = None, counters: CounterSnapshot | None = None, *, leaps: int = 0
) -> StoredSet:
    one = one or association()
    keys = dataclasses.replace(first_record(one, Secret(IK), Secret(CK)), leaps=leaps)
    return StoredSet(association=one, keys=keys, counters=counters)


def snapshot(**changes: object) -> CounterSnapshot:
    values = {"read_at": REALTIME, "sent": (0, 0), "received": (0, 0), "lives": 0} | changes
    return CounterSnapshot(association_id=association().id, **values)  # type: ignore[arg-type]  # by name


# --- the formula ---------------------------------------------------------------------------------


@given(
    st.tuples(st.integers(0, LAST), st.integers(0, LAST)),
    st.floats(0, 700_000),
    st.integers(0, MOST_LEAPS),
)
def test_a_set_goes_on_above_whatever_the_snapshot_missed(
    sent: tuple[int, int], age: float, lives: int
) -> None:
    """RFC 4303 3.3.3: beyond what may have been sent since, at a block of its own, with room."""
    known = snapshot(read_at=REALTIME - age, sent=sent, lives=lives)

    goes_on = advance(stored(counters=known), REALTIME)

    most = max(sent) + (age + NOTICE_SECONDS) * PACKETS_PER_SECOND
    if goes_on is None:
        assert max(most // BLOCK, lives) >= MOST_LEAPS
        return
    (start, same) = goes_on.sent
    assert start == same > most
    assert start % BLOCK == 0
    assert start // BLOCK == goes_on.lives > lives
    assert start + BLOCK <= 1 << 32
    assert goes_on.received == known.received
    assert goes_on.read_at == REALTIME


def test_a_set_that_nothing_is_known_of_began_at_its_installation() -> None:
    """Without a snapshot the bound counts from then."""
    one = association(created_at=REALTIME - 40_000)

    goes_on = advance(stored(one), REALTIME)

    assert goes_on is not None
    assert goes_on.sent[0] > 40_000 * PACKETS_PER_SECOND
    assert goes_on.received == (0, 0)


def test_a_clock_that_went_back_costs_no_number() -> None:
    """A snapshot from the future, as from another node's clock, is one of now."""
    goes_on = advance(stored(counters=snapshot(read_at=REALTIME + 3600, sent=(5, 7))), REALTIME)

    assert goes_on is not None
    assert goes_on.sent == (BLOCK, BLOCK)


@pytest.mark.parametrize("names", COMBINED)
def test_combined_algorithms_go_on_as_long_as_ivs_stay_unique(names: tuple[str, str]) -> None:
    """T33-I-b: each life in a block of its own, however old the snapshot, nine after the first."""
    one = combined(names)
    known: CounterSnapshot | None = snapshot(sent=(PACKETS, 17), read_at=REALTIME - 600_000)
    blocks = []
    while known is not None and (known := advance(stored(one, known), REALTIME)) is not None:
        blocks.append(known.sent[0] // BLOCK)
        known = dataclasses.replace(known, sent=(known.sent[0] + PACKETS, known.sent[1]))

    assert blocks == list(range(1, MOST_REBUILDS + 1))


def test_a_set_that_was_rebuilt_goes_on_above_that() -> None:
    """A rebuild that the record knows of and no snapshot has seen is not repeated."""
    goes_on = advance(stored(counters=snapshot(sent=(3, 4)), leaps=7), REALTIME)

    assert goes_on is not None
    assert goes_on.sent == (8 * BLOCK, 8 * BLOCK)


def test_a_hundred_takeovers_in_a_row_leave_room() -> None:
    """One block each, as long as snapshots are fresh."""
    known: CounterSnapshot | None = snapshot(sent=(900, 12))
    for number in range(1, 101):
        known = advance(stored(counters=known), REALTIME + number)
        assert known is not None
        assert known.lives == number


@given(st.integers(0, 200), st.tuples(st.integers(0, LAST), st.integers(0, LAST)))
def test_a_rebuild_at_the_new_node_goes_on_above_the_takeover(
    lives: int, received: tuple[int, int]
) -> None:
    """The record that is kept here begins where the takeover did."""
    one = stored(counters=snapshot(lives=lives, received=received))
    goes_on = advance(one, REALTIME)
    assert goes_on is not None

    following = next_record(one.association, record_of(one, goes_on), {})

    assert following is not None
    assert following.leaps * BLOCK >= goes_on.sent[0] + BLOCK
    assert following.received == received


# --- what is heard -------------------------------------------------------------------------------


@given(
    st.sampled_from(Role),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, LAST), st.integers(0, LAST))),
)
def test_snapshots_know_the_highest_of_each_sa(
    role: Role, told: Sequence[tuple[int, int, int]]
) -> None:
    """Of outbound SAs what they sent, of inbound ones what they received; never less again."""
    one = association(sa_set=sa_set(role=role))
    s = one.sa_set
    ids = [SaId(s.local_address, spi) for spi in s.local_spis]
    ids += [SaId(s.peer_address, spi) for spi in s.peer_spis]
    known = never_read(one)
    for index, sent, received in told:
        known = hear(known, one, observed(ids[index], sent, received))

    def highest(index: int, field: int) -> int:
        return max((row[field] for row in told if row[0] == index), default=0)

    assert known.received == (highest(0, 2), highest(1, 2))
    assert known.sent == (highest(2, 1), highest(3, 1))
    assert known.lives == max(known.sent) // BLOCK
    for index, sent, received in told:
        assert hear(known, one, observed(ids[index], sent, received)) is known


def observed(sa_id: SaId, sent: int, received: int) -> ObservedCounters:
    current = CurrentLifetime(bytes=0, packets=0, add_time=0, use_time=0)
    replay = ReplayState(sent=sent, received=received)
    return ObservedCounters(id=sa_id, replay=replay, current=current)


# --- the plan ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
def test_the_plan_is_an_install_with_numbers_and_origin(role: Role) -> None:
    """The same SAs and policies; each SA with its own number, and its limit from now."""
    one = association(sa_set=sa_set(role=role), deadline_at=NOW + 77.0)
    counters = snapshot(sent=(BLOCK, BLOCK), received=(11, 22))
    pair = AlgorithmPair("hmac-sha-1-96", "null")

    def keys() -> object:
        return derive_keys(pair, Secret(IK), None)

    plan = plan_restore((), one, counters, keys(), LAYOUT, LIFETIMES, NOW, REALTIME)  # type: ignore[arg-type]  # made above
    install = plan_install((), one, keys(), LAYOUT, LIFETIMES, NOW)  # type: ignore[arg-type]  # as above

    assert [o.policy for o in plan if isinstance(o, AddPolicy)] == [
        o.policy for o in install if isinstance(o, AddPolicy)
    ]
    added = {o.sa.id.spi: o for o in plan if isinstance(o, AddSa)}
    assert [o.sa for o in added.values()] == [o.sa for o in install if isinstance(o, AddSa)]
    s = one.sa_set
    assert [added[spi].replay for spi in s.local_spis] == [
        ReplayState(received=11),
        ReplayState(received=22),
    ]
    assert [added[spi].replay for spi in s.peer_spis] == [ReplayState(sent=BLOCK)] * 2
    for operation in added.values():
        assert operation.current is not None
        ends = operation.current.add_time + operation.sa.hard_add_seconds
        assert ends == int(REALTIME) + 77 + LIFETIMES.backstop


# --- a long life ---------------------------------------------------------------------------------


class TakeoverMachine(RuleBasedStateMachine):
    """A pair of SAs that lives at one node after another, its peer's windows, and an attacker.

    The nodes know of it what was told, and what was told last may be as old as it likes.
    """

    packets = Bundle("packets")

    @initialize()
    def begin(self) -> None:
        self.realtime = REALTIME
        self.known: CounterSnapshot | None = None
        self.one = association(created_at=REALTIME)
        self.sent = 0  # the outbound SA's last number
        self.peer_sent = 0
        self.peer = ReplayWindow(128)
        self.node = ReplayWindow(128)
        self.used: list[range] = [range(1, 1)]
        self.floor = 0  # what the present node was told of when it began
        self.taken_here: set[int] = set()
        self.over = False

    @rule(seconds=st.floats(0.001, 60_000), share=st.floats(0, 1))
    def the_node_sends(self, seconds: float, share: float) -> None:
        """At most the rate that the formula is of."""
        count = int(seconds * PACKETS_PER_SECOND * share)
        self.realtime += seconds
        if count:
            self.used[-1] = range(self.used[-1].start, self.sent + count + 1)
            self.sent += count
            assert self.peer.take(self.sent)

    @rule(target=packets, lost=st.integers(0, 300))
    def the_peer_sends(self, lost: int) -> int:
        """Some are lost; the next one passes, always."""
        self.peer_sent += lost + 1
        assert self.node.take(self.peer_sent)
        self.taken_here.add(self.peer_sent)
        return self.peer_sent

    @rule()
    def it_is_told(self) -> None:
        """The notice of the kernel has reached etcd."""
        self.known = snapshot(
            read_at=self.realtime,
            sent=(self.sent, 0),
            received=(self.node.highest, 0),
            lives=self.sent // BLOCK,
        )

    @precondition(lambda self: not self.over)
    @rule(seconds=st.floats(0, 60))
    def another_takes_over(self, seconds: float) -> None:
        """The node dies, and with it what was not told."""
        self.realtime += seconds
        goes_on = advance(stored(self.one, self.known), self.realtime)
        if goes_on is None:
            self.over = True
            return
        self.known = goes_on
        self.sent = goes_on.sent[0]
        self.used.append(range(self.sent + 1, self.sent + 1))
        self.node = ReplayWindow(128)
        self.floor, self.taken_here = goes_on.received[0], set()
        self.node.begin_above(self.floor)

    @rule(number=packets)
    def somebody_plays_it_again(self, number: int) -> None:
        """Nothing is taken a second time that this node took, or was told of by those before."""
        if number <= self.floor or number in self.taken_here:
            assert not self.node.would_take(number)

    @invariant()
    def no_number_was_sent_twice(self) -> None:
        lives = [life for life in self.used if len(life)]
        assert all(a.stop <= b.start for a, b in itertools.pairwise(lives))
        assert all(life.stop <= 1 << 32 for life in lives)


TestTakeovers = TakeoverMachine.TestCase
#: A life is long: more of them would take half a minute where examples are many.
TestTakeovers.settings = hypothesis_settings(max_examples=60, deadline=None)


@pytest.mark.parametrize("known", [None, snapshot(sent=(900, 12), received=(5, 6))])
def test_a_floor_counts_as_what_was_sent_when_nobody_told_of_it(
    known: CounterSnapshot | None,
) -> None:
    """RFC 4303 3.3.3: a takeover whose owner died at once is one that has used its block."""
    one = association(created_at=REALTIME - 10)
    standing = raised(one, known, REALTIME, 3)

    goes_on = advance(stored(one, standing), REALTIME + 5)

    assert goes_on is not None
    assert goes_on.lives == 4
    assert goes_on.sent == (4 * BLOCK, 4 * BLOCK)
    assert goes_on.received == ((0, 0) if known is None else known.received)


def test_a_floor_below_what_is_known_says_nothing() -> None:
    """What was told since is newer."""
    known = snapshot(sent=(3 * BLOCK + 17, 3 * BLOCK), lives=3)
    assert raised(association(), known, REALTIME, 3) is known
    assert raised(association(), None, REALTIME, 0) is None
