"""The orderly stop comes to its end, whoever calls meanwhile, and stays the last word."""

import asyncio

import pytest

from sad.model.errors import Busy
from sad.model.rules import Limits
from sad.runtime.startup import stop
from tests.support.daemon import PATIENCE
from tests.support.make import offer_request
from tests.support.shell import USER, Shell, grant_of, release_of, ue_request, until


async def test_a_stop_ends_while_callers_go_on() -> None:
    """Else the service manager kills it: nothing begins any more, what has begun is awaited."""
    shell = Shell()
    made = [await shell.install(ue_request(number)) for number in range(8)]
    refused = 0

    async def confirm_for_ever(association_id: str) -> None:
        nonlocal refused
        seconds = 100
        while True:
            seconds += 1
            try:
                await shell.service.confirm(USER, grant_of(association_id, seconds))
            except Busy:
                refused += 1
                await asyncio.sleep(0)

    callers = [asyncio.ensure_future(confirm_for_ever(a.id)) for a in made]
    for _ in range(10):
        await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE):
        await stop(shell.shared, shell.endings)

    for _ in range(10):
        await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert refused


async def test_what_waits_for_its_turn_does_not_begin_after_the_stop() -> None:
    """It was asked before the stop, and is refused as what is asked after it."""
    shell = Shell(limits=Limits(calls_at_once=1))
    association = await shell.install()
    with shell.kernel_held():
        first, second = (
            asyncio.ensure_future(shell.service.confirm(USER, grant_of(association.id, seconds)))
            for seconds in (600, 700)
        )
        await until(lambda: shell.kernel.waiting > 0)
        stopping = asyncio.ensure_future(stop(shell.shared, shell.endings))
        await asyncio.sleep(0)
    confirmed = await first
    with pytest.raises(Busy, match="stopping"):
        await second
    await stopping
    assert shell.journal.rows == {association.id: confirmed}


async def test_nothing_is_put_back_after_a_stop_that_removes() -> None:
    """Block policies have no time limit: what an operator asks for now would stay for ever."""
    shell = Shell(remove_on_stop=True)
    await shell.reconciler.reconcile("start")
    association = await shell.install()
    await stop(shell.shared, shell.endings)

    for call in (
        shell.service.reconcile("uid 0 asked for it"),
        shell.service.offer(USER, offer_request()),
        shell.service.release(USER, release_of(association.id)),
    ):
        with pytest.raises(Busy, match="stopping"):
            await call

    assert shell.snapshot == (set(), {})
