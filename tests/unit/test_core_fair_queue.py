"""Fairness as a property: turn by turn between users, and between the processes of one user."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sad.core.fair_queue import FairQueue

ITEMS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=60)


def filled(owners: list[tuple[int, int]]) -> FairQueue[tuple[int, int, int]]:
    queue: FairQueue[tuple[int, int, int]] = FairQueue()
    for number, (user, process) in enumerate(owners):
        queue.push(user, process, (user, process, number))
    return queue


@given(ITEMS)
def test_everything_comes_out_once_and_in_the_order_of_its_process(
    owners: list[tuple[int, int]],
) -> None:
    """Nothing is lost, nothing overtakes within one process."""
    queue = filled(owners)
    out = [queue.pop() for _ in range(len(queue))]

    assert len(queue) == 0
    assert sorted(number for _, _, number in out) == list(range(len(owners)))
    for owner in set(owners):
        numbers = [number for user, process, number in out if (user, process) == owner]
        assert numbers == sorted(numbers)
    with pytest.raises(IndexError):
        queue.pop()


@given(ITEMS)
def test_no_user_gets_a_second_turn_while_another_waits_for_the_first(
    owners: list[tuple[int, int]],
) -> None:
    """Among users that all have something waiting the numbers of turns differ by one at most."""
    queue = filled(owners)
    left = Counter(user for user, _ in owners)
    turns: Counter[int] = Counter()
    while queue:
        waiting = [user for user, count in left.items() if count]
        user, _, _ = queue.pop()
        assert turns[user] == min(turns[other] for other in waiting)
        turns[user] += 1
        left[user] -= 1
        assert queue.of_user(user) == left[user]


def test_one_process_of_a_user_does_not_hold_up_another() -> None:
    """A worker with one call waits for one call of each other worker, not for all of them."""
    queue = filled([(1, 1)] * 100 + [(1, 2)])

    assert [queue.pop()[1] for _ in range(3)] == [1, 2, 1]


def test_who_leaves_is_forgotten() -> None:
    """Nothing is kept of a user that waits for nothing."""
    queue = filled([(1, 1), (1, 1), (2, 5)])
    queue.discard(1, 1, (1, 1, 0))
    queue.discard(1, 1, (1, 1, 1))

    assert (len(queue), queue.of_user(1), queue.of_user(2)) == (1, 0, 1)
    for gone in ((1, 1), (2, 6)):
        queue.discard(*gone, (*gone, 0))
    assert queue.pop() == (2, 5, 2)


@given(ITEMS)
def test_who_has_most_gives_up_its_newest(owners: list[tuple[int, int]]) -> None:
    """Room is made where most of it is taken, and the oldest of everybody stays."""
    queue = filled(owners)
    counts = Counter(user for user, _ in owners)
    gone: set[int] = set()
    while queue:
        assert queue.longest() == max(counts.values())
        user, process, number = queue.pop_newest_of_longest()
        assert counts[user] == max(counts.values())
        newer = {n for n, owner in enumerate(owners) if owner == (user, process) and n > number}
        assert newer <= gone
        gone.add(number)
        counts[user] -= 1
    assert queue.longest() == 0
    with pytest.raises(IndexError):
        queue.pop_newest_of_longest()
