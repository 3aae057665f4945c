"""Overload: what is worked on, what waits and what is refused are bounded, and fair."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from sad.model.errors import Busy
from sad.model.requests import Caller
from sad.model.rules import Limits
from sad.runtime.background import Background
from sad.runtime.turns import Turns
from tests.support.make import IK, install_request
from tests.support.shell import USER, Shell, grant_of, release_of, second_request

FLOOD = Caller(uid=1, gid=1, pid=1)
POLITE = Caller(uid=2, gid=2, pid=2)


class Work:
    """Calls that end when they are told; ``begun`` is their order."""

    def __init__(self, **limits: int) -> None:
        self.now = 0.0
        self.background = Background()
        self.turns = Turns(Limits(**limits), lambda: self.now, self.background)
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def call(self, caller: Caller, name: str, *, urgent: bool = False) -> asyncio.Task[str]:
        return asyncio.get_running_loop().create_task(
            self.turns.finish(caller, lambda: self._work(name), urgent=urgent)
        )

    def _work(self, name: str) -> Coroutine[Any, Any, str]:
        self._ends[name] = asyncio.Event()

        async def work() -> str:
            self.begun.append(name)
            await self._ends[name].wait()
            return name

        return work()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_so_many_are_worked_on() -> None:
    """The rest waits; each end is the next one's turn."""
    work = Work(calls_at_once=4)
    calls = [work.call(FLOOD, str(n), urgent=True) for n in range(7)]
    await settle()
    assert work.begun == ["0", "1", "2", "3"]
    assert (work.turns.working, work.turns.waiting) == (4, 3)

    await work.end("1", "2")
    assert work.begun[4:] == ["4", "5"]

    await work.end("0", "3", "4", "5")
    await work.end("6")
    assert await asyncio.gather(*calls) == [str(n) for n in range(7)]
    assert (work.turns.working, work.turns.waiting) == (0, 0)


async def test_a_polite_user_waits_for_one_call_of_a_flood_not_for_all_of_it() -> None:
    """Fair between clients: by turns."""
    work = Work(calls_at_once=1)
    for n in range(50):
        work.call(FLOOD, f"flood {n}")
    await settle()
    work.call(POLITE, "polite")
    await settle()

    await work.end("flood 0")
    await work.end("flood 1")
    assert work.begun == ["flood 0", "flood 1", "polite"]


async def test_a_full_queue_is_busy_with_the_time_it_takes() -> None:
    """Busy names the reason and when to come again; others have their own room."""
    work = Work(calls_at_once=1, waiting_calls=3, waiting_calls_per_uid=2)
    for n in range(20):
        work.call(POLITE, f"warm {n}")  # ten a second
        await settle()
        work.now += 0.1
        await work.end(f"warm {n}")
    flood = [work.call(FLOOD, f"flood {n}") for n in range(4)]
    polite = [work.call(POLITE, f"polite {n}") for n in range(2)]
    await settle()

    refusals = [task.exception() for task in (flood[3], polite[1])]
    assert [r.reason for r in refusals if isinstance(r, Busy)] == [
        "too many calls of uid 1 wait",
        "too many calls wait",
    ]
    assert isinstance(refusals[0], Busy)
    assert 50 <= refusals[0].retry_after_milliseconds <= 300
    assert work.turns.waiting == 3


async def test_a_flood_makes_room_for_who_has_nothing_waiting() -> None:
    """Fair between clients: a full queue is the flood's, not the polite caller's."""
    third = Caller(uid=3, gid=3, pid=3)
    work = Work(calls_at_once=1, waiting_calls=4, waiting_calls_per_uid=4)
    flood = [work.call(FLOOD, f"flood {n}") for n in range(5)]
    await settle()
    polite = [work.call(POLITE, f"polite {n}") for n in range(3)]
    other = work.call(third, "third")
    await settle()

    # Two of four for each, then one more user: everybody has had room, nobody all of it.
    assert [isinstance(c.exception(), Busy) for c in (*flood[2:], polite[2])] == [True] * 4
    assert work.turns.waiting == 4
    await work.end("flood 0")
    await work.end(work.begun[-1])
    await work.end(work.begun[-1])
    assert {name.split()[0] for name in work.begun[1:4]} == {"flood", "polite", "third"}
    assert not other.done() or other.result() == "third"


async def test_a_flood_without_associations_leaves_turns_for_those_with_one() -> None:
    """Design 6: capacity is kept for who is registered; the flood does not starve either."""
    work = Work(calls_at_once=4)
    for n in range(8):
        work.call(FLOOD, f"offer {n}")
    await settle()
    assert work.begun == ["offer 0", "offer 1", "offer 2"]

    for n in range(8):
        work.call(FLOOD, f"confirm {n}", urgent=True)
    await settle()
    assert work.begun[3:] == ["confirm 0"]
    await work.end("offer 0")
    assert work.begun[4:] == ["confirm 1"]
    await work.end("confirm 0", "offer 1", "offer 2")
    assert work.begun[5:] == ["confirm 2", "confirm 3", "confirm 4"]


async def test_who_leaves_while_waiting_costs_nothing() -> None:
    """Its work never begins, and its place is free again."""
    work = Work(calls_at_once=1)
    work.call(FLOOD, "first")
    waiting = [work.call(FLOOD, f"waiting {n}") for n in range(3)]
    await settle()
    waiting[0].cancel()
    await settle()
    assert work.turns.waiting == 2

    work._ends["first"].set()
    await asyncio.sleep(0)
    waiting[1].cancel()  # perhaps just as its turn came
    await settle()
    await settle()
    for name in [n for n in work.begun if n != "first"]:
        await work.end(name)
    await work.background.drain()
    assert "waiting 0" not in work.begun
    assert "waiting 2" in work.begun
    assert (work.turns.working, work.turns.waiting) == (0, 0)


async def test_who_leaves_in_its_turn_keeps_it_until_the_work_ends() -> None:
    """What is worked on is what is counted, whoever still listens."""
    work = Work(calls_at_once=1)
    leaving = work.call(FLOOD, "begun")
    await settle()
    leaving.cancel()
    await settle()
    assert work.turns.working == 1
    work.call(POLITE, "next")
    await settle()
    assert work.begun == ["begun"]

    await work.end("begun")
    assert work.begun == ["begun", "next"]


async def test_a_call_that_fails_gives_its_turn_back() -> None:
    """An exception is the caller's, not the next one's."""
    work = Work(calls_at_once=1)

    async def fails() -> None:
        raise Busy(retry_after_milliseconds=1, reason="of the work itself")

    with pytest.raises(Busy) as refusal:
        await work.turns.finish(FLOOD, fails, urgent=True)
    assert refusal.value.reason == "of the work itself"
    await settle()
    assert work.turns.working == 0


# --- the service under overload ------------------------------------------------------------------


async def test_an_install_without_room_is_busy_and_its_keys_are_wiped() -> None:
    """Nothing is kept of a refused call, and nothing lies in the kernel."""
    shell = Shell(limits=Limits(calls_at_once=1, waiting_calls=0, waiting_calls_per_uid=0))
    shell.kernel.gate.clear()
    first = asyncio.get_running_loop().create_task(shell.service.install(USER, second_request()))
    await settle()
    request = install_request()
    assert request.integrity_key is not None

    with pytest.raises(Busy):
        await shell.service.install(USER, request)
    assert request.integrity_key.reveal() == bytes(len(IK))
    with pytest.raises(Busy):
        await shell.service.confirm(USER, grant_of("000000000000", 600))
    with pytest.raises(Busy):
        await shell.service.release(USER, release_of("000000000000"))

    shell.kernel.gate.set()
    installed = await first
    assert len(shell.tables.sas) == 4
    await shell.service.release(USER, release_of(installed.id))
    assert not shell.tables.sas


async def test_who_has_no_association_waits_for_some_calls_of_those_who_have_not_for_all() -> None:
    """Fair between users: calls that say they are urgent do not take every turn for ever."""
    work = Work(calls_at_once=4)
    for n in range(100):
        work.call(FLOOD, f"urgent {n}", urgent=True)
    await settle()
    work.call(POLITE, "polite")
    await settle()

    await work.end(*(f"urgent {n}" for n in range(4)))
    await work.end("urgent 4")

    assert work.begun[-1] == "polite"
