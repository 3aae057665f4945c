"""Work without a task: begun at once, ended at once, cancelled as a task is."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from sad.api.work import Work


class Desk:
    """Begins works and notes how each ended."""

    def __init__(self) -> None:
        self.ended: list[bytes | None] = []

    def begin(self, coroutine: Coroutine[Any, Any, bytes]) -> Work:
        work = Work(coroutine)
        work.begin(self.ended.append)
        return work


async def turns(count: int = 3) -> None:
    """Let the loop turn so often."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_what_waits_for_nothing_ends_at_once(desk: Desk) -> None:
    """No turn of the loop for a refusal."""

    async def answers() -> bytes:
        return b"at once"

    assert desk.begin(answers()).done
    assert desk.ended == [b"at once"]


async def test_it_goes_on_when_what_it_waits_for_is_there(desk: Desk) -> None:
    """Several futures, one of them there already, and turns of the loop between."""
    first, second = asyncio.Future[bytes](), asyncio.Future[bytes]()

    async def answers() -> bytes:
        one = await first
        await asyncio.sleep(0)
        return one + await second

    work = desk.begin(answers())
    second.set_result(b"b")
    await turns()
    assert not work.done
    first.set_result(b"a")
    await turns()
    assert desk.ended == [b"ab"]


async def test_a_failure_is_no_result(desk: Desk) -> None:
    """Whoever began it hears that there is none, whatever went wrong."""
    awaited = asyncio.Future[bytes]()

    async def answers() -> bytes:
        return await awaited

    desk.begin(answers())
    awaited.set_exception(ValueError("of a defect"))
    await turns()
    assert desk.ended == [None]


@pytest.mark.parametrize("there", [False, True])
async def test_cancelled_it_cleans_up_and_has_no_result(desk: Desk, *, there: bool) -> None:
    """Also when what it waits for is there, and it has not gone on yet."""
    awaited = asyncio.Future[bytes]()
    cleaned = []

    async def answers() -> bytes:
        try:
            return await awaited
        finally:
            cleaned.append(awaited.cancelled())

    work = desk.begin(answers())
    if there:
        awaited.set_result(b"too late")
    work.cancel()
    await turns()
    assert cleaned == [not there]
    assert desk.ended == [None]
    work.cancel()
    await turns()
    assert desk.ended == [None]


async def test_it_can_be_awaited_as_its_coroutine() -> None:
    """Where nobody wants the reply, and a task carries it."""

    async def answers() -> bytes:
        await asyncio.sleep(0)
        return b"later"

    assert await Work(answers()) == b"later"
