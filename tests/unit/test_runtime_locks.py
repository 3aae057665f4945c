"""One registration, one hand: in order, and whoever gives up takes nothing with him."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sad.model.association import Association, RegistrationKey
from sad.runtime.locks import Held, HeldOf, RegistrationLocks
from tests.support.make import association, sa_set

KEY = association().registration


class Queue:
    """People who come for one registration, by name; each leaves it when he is told to."""

    def __init__(self) -> None:
        self.locks = RegistrationLocks()
        self.inside: list[str] = []
        self.served: list[str] = []
        self.leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def come(self, name: str) -> None:
        self.leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.get_running_loop().create_task(self._stay(name))

    async def _stay(self, name: str) -> None:
        async with Held(self.locks, KEY):
            self.inside.append(name)
            self.served.append(name)
            assert len(self.inside) == 1, "two hands on one registration"
            try:
                await self.leave[name].wait()
            finally:
                self.inside.remove(name)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_they_are_served_in_the_order_in_which_they_came() -> None:
    """Nobody who comes later is before who has waited, and nothing is kept afterwards."""
    queue = Queue()
    for name in "abc":
        queue.come(name)
    await settle()
    assert queue.locks.held == {KEY}
    for name in "abc":
        assert queue.inside == [name]
        queue.leave[name].set()
        await settle()

    assert queue.served == ["a", "b", "c"]
    assert queue.locks.held == set()


async def test_who_gives_up_while_it_is_handed_over_hands_it_on() -> None:
    """Release and cancellation in one turn, in either order: the next one gets it."""
    for cancel_first in (True, False):
        queue = Queue()
        for name in "abc":
            queue.come(name)
        await settle()
        if cancel_first:
            queue.tasks["b"].cancel()
            queue.leave["a"].set()
        else:
            queue.leave["a"].set()
            await asyncio.sleep(0)  # it is b's by now, who does not know yet
            queue.tasks["b"].cancel()
        await settle()

        assert queue.tasks["b"].cancelled()
        assert queue.inside == ["c"]
        queue.leave["c"].set()
        await settle()
        assert queue.locks.held == set()


@given(st.lists(st.tuples(st.sampled_from("+-x."), st.integers(0, 5)), max_size=25))
def test_any_coming_and_going_leaves_nothing_behind(
    steps: list[tuple[str, int]],
) -> None:
    """+ comes, - leaves, x gives up, . lets the loop turn: one inside, none forgotten."""

    async def play() -> None:
        queue = Queue()
        for step, number in steps:
            names = list(queue.tasks)
            if step == "+":
                queue.come(str(len(names)))
            elif step == "." or not names:
                await asyncio.sleep(0)
            elif step == "-":
                queue.leave[names[number % len(names)]].set()
            else:
                queue.tasks[names[number % len(names)]].cancel()
        for event in queue.leave.values():
            event.set()
        await asyncio.wait_for(
            asyncio.gather(*queue.tasks.values(), return_exceptions=True), timeout=10
        )
        for task in queue.tasks.values():
            assert task.cancelled() or task.exception() is None
        assert queue.locks.held == set()

    asyncio.run(play())


async def test_an_association_that_moves_is_followed_to_its_registration() -> None:
    """What was bound to another registration meanwhile is held there, and only there."""
    locks = RegistrationLocks()
    moved = structs.replace(association(), ipsec_3gpp=sa_set(port_us=7777))
    now: dict[str, Association] = {moved.id: moved}
    async with HeldOf(locks, association(), now.get) as key:
        assert key == moved.registration != KEY
        assert locks.held == {moved.registration}
    async with HeldOf(locks, association(), lambda _id: None) as of_ended:
        held: frozenset[RegistrationKey] = frozenset(locks.held)
        assert held == {of_ended} == {KEY}
    assert locks.held == set()
