"""What unprotected REGISTERs may take: never more than the limits, and nothing of others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sad.core.admission import Rates, check_room
from sad.core.pending import prefix_of
from sad.core.table import AssociationTable
from sad.model.association import Association, AssociationState, Phase
from sad.model.errors import Busy
from sad.model.rules import Limits
from tests.support.make import association, offer_record, sa_set

LIMITS = Limits(
    max_associations=40,
    max_temporary_sets=12,
    max_temporary_sets_per_address=5,
    max_temporary_sets_per_identity=3,
    offers_per_second=20,
    offers_per_second_per_address=5,
    reserved_percent=50,
)


def pending(number: int, **changes: Any) -> Association:
    """The n-th temporary set of an unprotected Offer; ``ue`` and ``on`` change what counts."""
    ue, on = changes.pop("ue", f"10.1.0.{number}"), changes.pop("on", None)
    values: dict[str, Any] = {
        "id": f"{number:012}",
        "private_identity": f"{number}@ims",
        "state": AssociationState.TEMPORARY,
        "confirmed_at": 0.0,
        "deadline_at": 100.0 + number,
        "sa_set": sa_set(ue_address=ue, spi_uc=1000 + number, spi_us=2000 + number),
        "offer": offer_record(offer_key=str(number), offered_on=on),
    }
    return association(**(values | changes))


def table_of(*sets: Association) -> AssociationTable:
    table = AssociationTable()
    for a in sets:
        table.put(a)
    return table


def room(table: AssociationTable, **changes: Any) -> None:
    values: dict[str, Any] = {
        "limits": LIMITS,
        "peer_address": "10.9.9.9",
        "private_identity": "new@ims",
        "leaving": (),
        "now": 100.0,
    }
    check_room(table, **(values | changes))


def test_a_prefix_is_one_sender() -> None:
    """Design 6: whoever has a /64 has all its addresses."""
    assert prefix_of("192.0.2.7") == "192.0.2.7"
    assert prefix_of("2001:db8:0:1:ffff::1") == prefix_of("2001:db8:0:1::2") == "2001:db8:0:1::/64"
    assert prefix_of("2001:db8:0:2::2") != prefix_of("2001:db8:0:1::2")


@pytest.mark.parametrize(
    ("count", "changes", "asked", "whose", "seconds"),
    [
        (
            3,
            {"private_identity": "same@ims", "ue": "10.1.1.1"},
            {"private_identity": "same@ims", "peer_address": "10.1.1.1"},
            "identity at this address",
            0,
        ),
        (5, {"ue": "10.1.1.1"}, {"peer_address": "10.1.1.1"}, "of this address", 0),
        (5, {"ue": "2001:db8::1"}, {"peer_address": "2001:db8::2"}, "of this address", 0),
        (12, {}, {}, "in all", 0),
    ],
)
def test_each_limit_refuses_with_the_time_when_room_will_be(
    count: int, changes: dict[str, Any], asked: dict[str, Any], whose: str, seconds: int
) -> None:
    """Design 6: Busy with an honest time: when the first of those counted ends."""
    sets = [pending(n, **changes) for n in range(count)]
    room(table_of(*sets[:-1]), **asked)

    with pytest.raises(Busy, match=whose) as refusal:
        room(table_of(*sets), now=98.0, **asked)

    assert 2000 <= refusal.value.retry_after_milliseconds <= 2001 + seconds


def test_who_names_an_identity_elsewhere_takes_none_of_its_room() -> None:
    """Design 6: a victim is not locked out by whoever knows its name."""
    sets = [pending(n, private_identity="same@ims") for n in range(5)]
    room(table_of(*sets), private_identity="same@ims")


def test_confirmed_released_and_ended_sets_give_their_room_back() -> None:
    """Counts are derived from the table, so they follow at once."""
    sets = [pending(n, private_identity="same@ims", ue="10.9.9.9") for n in range(3)]
    table = table_of(*sets)
    for changed in (
        {"state": AssociationState.IN_USE, "offer": None},
        {"state": AssociationState.RETIRING},
        {"phase": Phase.REMOVING},
    ):
        table.put(structs.replace(sets[0], **changed))
        room(table, private_identity="same@ims")
        table.put(sets[0])
    table.remove(sets[0].id)
    room(table, private_identity="same@ims")


def test_sets_offered_on_a_set_are_not_counted_and_who_leaves_makes_room() -> None:
    """Design 6: capacity is kept for Offers that came on an SA."""
    protected = [pending(n, ue="10.1.1.1", on="a") for n in range(9)]
    room(table_of(*protected), peer_address="10.1.1.1")

    sets = [pending(n, private_identity="same@ims", ue="10.9.9.9") for n in range(3)]
    room(table_of(*sets), private_identity="same@ims", leaving=[sets[1].id])


def test_the_reserve_is_not_for_unprotected_offers() -> None:
    """Design 6: half of 40 is kept here."""
    others = [pending(n, state=AssociationState.IN_USE, offer=None) for n in range(20)]

    room(table_of(*others[:19]))
    with pytest.raises(Busy, match="kept for registered") as refusal:
        room(table_of(*others))

    assert refusal.value.retry_after_milliseconds >= 1000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=60))
def test_no_sequence_of_offers_and_endings_exceeds_a_limit(steps: list[Any]) -> None:
    """Whatever comes: the counts stay within the limits, and equal a recount."""
    table = AssociationTable()
    for number, (address, identity, event) in enumerate(steps):
        ue, impi = f"10.0.0.{address}", f"{identity}@ims"
        try:
            room(table, peer_address=ue, private_identity=impi)
        except Busy:
            pass
        else:
            table.put(pending(number, ue=ue, private_identity=impi))
        living = list(table)
        if event == 1 and living:
            table.remove(living[number % len(living)].id)
        elif event == 2 and living:
            chosen = living[number % len(living)]
            table.put(structs.replace(chosen, state=AssociationState.ESTABLISHED, offer=None))
        waiting = [a for a in table if a.offer is not None]
        assert set(table.pending.unprotected) == {a.id for a in waiting}
        assert len(waiting) <= LIMITS.max_temporary_sets
        for i in range(4):
            of_ue = [a for a in waiting if a.sa_set.peer_address == f"10.0.0.{i}"]
            assert len(table.pending.of_prefix(f"10.0.0.{i}")) == len(of_ue) <= 5
            for j in range(4):
                of_impi = [a for a in of_ue if a.private_identity == f"{j}@ims"]
                counted = table.pending.of_identity(f"{j}@ims", f"10.0.0.{i}")
                assert len(counted) == len(of_impi) <= 3


def test_a_change_of_what_is_counted_keeps_the_order_of_the_sets() -> None:
    """T24-P-9: "oldest first" decides who carries what is sent; Confirm must not reorder."""
    a, b = (pending(n, ue="10.1.1.1", private_identity="x@ims") for n in (1, 2))
    table = table_of(a, b)

    table.put(structs.replace(a, state=AssociationState.ESTABLISHED, offer=None))

    assert [s.id for s in table.of_registration(a.registration)] == [a.id, b.id]
    assert table.pending.of_key("1") is None
    assert table.pending.of_key("2") == b.id


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 0.5)), max_size=200))
def test_rates_never_exceed_burst_and_rate(calls: list[tuple[int, float]]) -> None:
    """Token buckets: in any span at most burst + rate * span, for each sender and for all."""
    rates, now, longest = Rates(LIMITS), 1000.0, 0
    let_in: list[tuple[int, float]] = []
    for sender, pause in calls:
        now += pause
        try:
            rates.take(f"10.0.0.{sender}", now)
        except Busy as busy:
            longest = max(longest, busy.retry_after_milliseconds)
        else:
            let_in.append((sender, now))
    for i, (_, start) in enumerate(let_in):
        for j in range(i, len(let_in)):
            span = let_in[j][1] - start
            assert j - i + 1 <= 40 + 20 * span + 1e-6
    for sender in range(6):
        times = [t for s, t in let_in if s == sender]
        for i, start in enumerate(times):
            for j in range(i, len(times)):
                assert j - i + 1 <= 10 + 5 * (times[j] - start) + 1e-6
    assert len(rates) <= 6
    assert longest <= 201


def test_after_the_time_that_busy_names_a_call_is_let_in() -> None:
    """The time is honest: not a millisecond too early, hardly one too late."""
    rates = Rates(LIMITS)
    for _ in range(10):
        rates.take("10.0.0.1", 50.0)
    with pytest.raises(Busy) as busy:
        rates.take("10.0.0.1", 50.0)
    rates.take("10.0.0.2", 50.0)  # others are let in meanwhile

    wait = busy.value.retry_after_milliseconds / 1000
    with pytest.raises(Busy):
        rates.take("10.0.0.1", 50.0 + wait - 0.002)
    rates.take("10.0.0.1", 50.0 + wait)


def test_one_sender_cannot_use_up_what_is_for_all() -> None:
    """Calls beyond a sender's own rate take nothing from the others."""
    rates = Rates(LIMITS)
    for _ in range(1000):
        try:
            rates.take("10.0.0.1", 50.0)
        except Busy:
            continue
    for sender in range(2, 5):
        for _ in range(10):
            rates.take(f"10.0.0.{sender}", 50.0)


def test_memory_of_rates_is_bounded() -> None:
    """A million addresses: only those that can still be short of tokens are remembered."""
    rates, now = Rates(LIMITS), 0.0
    for n in range(20_000):
        now += 0.01
        try:
            rates.take(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", now)
        except Busy:
            continue
        assert len(rates) <= 2 * 40 + 1
