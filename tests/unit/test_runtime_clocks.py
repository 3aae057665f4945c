"""Suspend and steps of the wall clock: deadlines run on CLOCK_BOOTTIME (design section 6)."""

import asyncio
import math
from typing import Any

import pytest

from sad.model.association import Association, AssociationState, EndReason
from sad.model.errors import KernelRefused
from sad.model.views import WatchEvent, WatchKind
from sad.runtime.reconciler import Reconciler
from sad.runtime.startup import restore
from tests.support.make import LIFETIMES
from tests.support.shell import (
    USER,
    Clock,
    Shell,
    UntimedTables,
    grant_of,
    second_request,
    take,
    ue_request,
    until,
)

HOUR = 3600.0


async def two_sets(shell: Shell) -> tuple[Association, Association]:
    """Install one that ends during a suspend of half an hour, and one that does not."""
    await restore(shell.shared, shell.reconciler, [])
    short = await shell.install(ue_request(1, lifetime_seconds=600))
    other = ue_request(2, lifetime_seconds=7200, spi_uc=35656, spi_us=35657)
    return short, await shell.install(other)


async def told_of_the_end(shell: Shell, end: "asyncio.Future[Any]") -> WatchEvent:
    """Return what a subscriber hears when something brings the end about."""
    events = shell.service.subscribe(USER)
    while (await anext(events)).kind is not WatchKind.READY:
        pass
    await asyncio.gather(end, return_exceptions=True)
    (event,) = await take(events, 1)
    return event


async def test_after_a_suspend_what_is_overdue_ends_at_once() -> None:
    """T24-P-12: the time of a suspend counts, and what has time left lives on."""
    shell = Shell()
    short, long = await two_sets(shell)

    await shell.expire(HOUR / 2)

    assert tuple(shell.shared.table) == (long,)
    assert shell.journal.rows == {long.id: long}
    assert {i.spi for i in shell.tables.sas}.isdisjoint(short.sa_set.local_spis)
    assert shell.ends_at(long) == {math.ceil(shell.clock.realtime() + 5400 + LIFETIMES.backstop)}


async def test_an_sa_that_the_kernel_ended_meanwhile_is_expired_and_not_lost() -> None:
    """Design 6: its limit is a little beyond the deadline and struck before we had a turn."""
    shell = Shell()
    short, long = await two_sets(shell)
    shell.clock.advance(HOUR / 2)
    shell.tables.tick()
    assert not shell.ends_at(short)

    event = await told_of_the_end(
        shell, asyncio.ensure_future(shell.reconciler.reconcile("the clock"))
    )

    assert event.association is not None
    assert (event.association.id, event.association.end_reason) == (short.id, EndReason.EXPIRED)
    assert tuple(shell.shared.table) == (long,)


async def test_whoever_finds_it_gone_before_the_timer_hears_the_same() -> None:
    """A Confirm that comes first at the resume: refused, and told as expired."""
    shell = Shell()
    short, _ = await two_sets(shell)
    shell.clock.advance(HOUR / 2)
    shell.tables.tick()

    confirm = asyncio.ensure_future(shell.service.confirm(USER, grant_of(short.id, 600)))
    event = await told_of_the_end(shell, confirm)

    assert isinstance(confirm.exception(), KernelRefused)
    assert event.association is not None
    assert (event.kind, event.association.state) == (WatchKind.ENDED, AssociationState.ENDED)
    assert event.association.end_reason is EndReason.EXPIRED


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_a_step_moves_the_kernels_limits_and_no_deadline(seconds: float) -> None:
    """The kernel counts by the wall clock (kernel notes, section 4): its limits are moved."""
    # The kernel's timers are armed when it looks, and do not see the step.
    clock = Clock()
    shell = Shell(clock=clock, tables=UntimedTables(clock.realtime))
    short, long = await two_sets(shell)
    clock.step(seconds)

    report = await shell.reconciler.reconcile("the wall clock was set")

    assert (report.ended, report.removed) == (0, 0)
    assert set(shell.shared.table) == {short, long}
    for association in (short, long):
        left = association.deadline_at - shell.clock.boottime()
        wanted = math.ceil(shell.clock.realtime() + left + LIFETIMES.backstop)
        assert shell.ends_at(association) == {wanted}
    assert (await shell.reconciler.reconcile("a second look")).repaired == 0


async def test_a_step_is_answered_without_the_pause_between_two_runs() -> None:
    """The kernel looks at a new limit after one second: there is no time for a pause."""
    shell = Shell()
    reconciler = Reconciler(shell.shared, shell.endings, pause_seconds=HOUR)
    running = asyncio.ensure_future(reconciler.run())
    reconciler.request("a test")
    await until(lambda: reconciler.last is not None)

    reconciler.clock_was_set()

    await until(lambda: reconciler.last is not None and "clock" in reconciler.last.reason)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_step_back_does_not_change_the_order_of_the_sets() -> None:
    """T24-P-9: after a restart the older set still carries what is sent."""
    shell = Shell()
    await restore(shell.shared, shell.reconciler, [])
    first = await shell.install(lifetime_seconds=600)
    shell.clock.step(-HOUR)
    second = await shell.install(second_request(lifetime_seconds=600))
    before = shell.snapshot

    again = Shell(tables=shell.tables, journal=shell.journal, clock=shell.clock)
    await restore(again.shared, again.reconciler, list(again.journal.rows.values()))

    assert [a.id for a in again.shared.table] == [first.id, second.id]
    assert again.snapshot == before
