"""Confirm, release and expiry: limits follow, endings are never lost, races have one outcome."""

import asyncio
import dataclasses
import errno
import math
from typing import Any

import pytest

from netlink.errors import KernelError, OutcomeUnknown
from netlink.model import MoveLifetime, ShortenSa
from sad.model.association import AssociationState, EndReason, Phase
from sad.model.errors import (
    BadParameter,
    JournalUnavailable,
    KernelRefused,
    NoSuchAssociation,
    NotPermitted,
)
from sad.model.requests import ReleaseRequest
from sad.model.views import WatchKind
from sad.runtime.startup import stop
from tests.support.make import LIFETIMES, UE_ADDRESS
from tests.support.shell import (
    OPERATOR,
    STRANGER,
    USER,
    Shell,
    UntimedTables,
    grant_of,
    release_of,
    second_request,
    take,
    ue_request,
    until,
)

IMPI = "001010000000001@ims.example"


def empty(shell: Shell) -> bool:
    """Nothing is left anywhere."""
    return (
        shell.snapshot == (set(), {})
        and not len(shell.shared.table)
        and not shell.journal.rows
        and not len(shell.shared.deadlines)
    )


# --- confirm -------------------------------------------------------------------------------------


async def test_confirm_lengthens_the_kernels_limit_with_the_deadline() -> None:
    """T24-UE-4: expiry + 30 s; the kernel's own limit stays a little beyond (design 6)."""
    shell = Shell()
    installed = await shell.install()
    before = shell.tables.sas[next(iter(shell.tables.sas))].sa.hard_add_seconds
    confirmed = await shell.service.confirm(USER, grant_of(installed.id, 3600))

    assert confirmed.state is AssociationState.ESTABLISHED
    assert confirmed.deadline_at == shell.clock.boottime() + 3600 + 30
    limit = math.ceil(shell.clock.realtime() + 3630 + LIFETIMES.backstop)
    assert shell.ends_at(confirmed) == {limit}
    assert shell.tables.messages[MoveLifetime] == 4
    assert {s.current.add_time for s in shell.tables.sas.values()} == {limit - before}
    assert shell.journal.rows[confirmed.id].deadline_at == confirmed.deadline_at


async def test_confirm_never_shortens_and_then_touches_nothing() -> None:
    """T24-P-11: lifetime = max(old, expires + 30 s)."""
    shell = Shell()
    installed = await shell.install(lifetime_seconds=3600)
    calls = shell.journal.calls

    assert await shell.service.confirm(USER, grant_of(installed.id, 60)) == installed
    assert shell.journal.calls == calls
    assert shell.tables.messages[MoveLifetime] == 0


@pytest.mark.parametrize("seconds", [0, -1, 604_801])
async def test_confirm_out_of_range_is_refused(seconds: int) -> None:
    """T24-UE-4: a registration of no time is a release."""
    shell = Shell()
    installed = await shell.install()
    with pytest.raises(BadParameter):
        await shell.service.confirm(USER, grant_of(installed.id, seconds))


async def test_confirm_of_a_lost_sa_ends_the_association_and_says_so() -> None:
    """Design 6: ended because the kernel lost it; the caller is told, the watcher too."""
    shell = Shell()
    installed = await shell.install()
    events = shell.service.subscribe(USER)
    await take(events, 2)
    del shell.tables.sas[next(iter(shell.tables.sas))]

    with pytest.raises(KernelRefused, match="no longer holds"):
        await shell.service.confirm(USER, grant_of(installed.id, 600))

    (told,) = await take(events, 1)
    assert told.kind is WatchKind.ENDED
    assert told.association is not None
    assert told.association.end_reason is EndReason.KERNEL_LOST
    assert empty(shell)


async def test_a_lost_association_does_not_take_its_successor_with_it() -> None:
    """Design 7: an SA that somebody put in the place of ours is his."""
    shell = Shell()
    installed = await shell.install()
    sa_id = next(iter(shell.tables.sas))
    stored = shell.tables.sas[sa_id]
    stored.sa = dataclasses.replace(
        stored.sa, reqid=7, selector=stored.sa.selector._replace(owner=0)
    )

    with pytest.raises(KernelRefused, match="no longer holds"):
        await shell.service.confirm(USER, grant_of(installed.id, 600))

    assert set(shell.tables.sas) == {sa_id}
    assert not len(shell.shared.table)


@pytest.mark.parametrize(
    "broken", [KernelError(errno.ENOBUFS), OutcomeUnknown("answers were lost")]
)
async def test_a_confirm_that_fails_leaves_everything_as_before(broken: Exception) -> None:
    """All or nothing; what the kernel half did is compared and mended."""
    shell = Shell()
    installed = await shell.install()
    shell.kernel.broken = [broken]

    with pytest.raises(KernelRefused):
        await shell.service.confirm(USER, grant_of(installed.id, 600))

    assert shell.shared.table.get(installed.id) == installed
    assert shell.journal.rows == {installed.id: installed}
    assert (await shell.service.confirm(USER, grant_of(installed.id, 600))).id == installed.id


async def test_a_confirm_half_done_is_taken_back() -> None:
    """Answers lost in the middle: two limits moved. They are moved back before the refusal."""
    shell = Shell()
    installed = await shell.install()
    limits = shell.ends_at(installed)
    shell.kernel.lose_answers(applied=2)

    with pytest.raises(KernelRefused):
        await shell.service.confirm(USER, grant_of(installed.id, 600))

    assert shell.ends_at(installed) == limits
    assert shell.shared.table.get(installed.id) == shell.journal.rows[installed.id] == installed


async def test_a_confirm_half_done_that_cannot_be_taken_back_is_mended() -> None:
    """Answers lost twice in the middle: the kernel follows the ledger again by itself."""
    shell = Shell()
    installed = await shell.install()
    limits = shell.ends_at(installed)
    shell.kernel.lose_answers(applied=2)
    shell.kernel.lose_answers_again(applied=1)
    with pytest.raises(KernelRefused):
        await shell.service.confirm(USER, grant_of(installed.id, 600))
    assert len(shell.ends_at(installed)) == 2
    assert shell.shared.problem is not None

    async with shell.reconciling():
        await until(lambda: shell.ends_at(installed) == limits)


async def test_confirm_without_a_journal_changes_nothing() -> None:
    """Design 8: no intent, no change."""
    shell = Shell()
    installed = await shell.install()
    limits = shell.ends_at(installed)
    shell.journal.full = True

    with pytest.raises(JournalUnavailable):
        await shell.service.confirm(USER, grant_of(installed.id, 600))
    assert shell.ends_at(installed) == limits
    assert shell.shared.table.get(installed.id) == installed


async def test_a_confirm_whose_caller_left_is_finished() -> None:
    """Half a change helps nobody."""
    shell = Shell()
    installed = await shell.install()
    with shell.kernel_held():
        call = asyncio.ensure_future(shell.service.confirm(USER, grant_of(installed.id, 600)))
        await until(lambda: shell.kernel.waiting == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await shell.shared.background.drain()

    now = shell.shared.table.get(installed.id)
    assert now is not None
    assert now.state is AssociationState.ESTABLISHED


# --- release -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["association_id", "private_identity", "peer_address"])
async def test_release_by_each_name(how: str) -> None:
    """T24-D-1: by association, registration or peer."""
    shell = Shell()
    first, second = await shell.install(), await shell.install(second_request())
    names: dict[str, Any] = {
        "association_id": first.id,
        "private_identity": IMPI,
        "peer_address": UE_ADDRESS,
    }

    released = await shell.service.release(USER, ReleaseRequest(**{how: names[how]}))

    expected = {first.id} if how == "association_id" else {first.id, second.id}
    assert {a.id for a in released} == expected
    assert {a.end_reason for a in released} == {EndReason.RELEASED}
    assert len(shell.shared.table) == 2 - len(expected)
    assert how == "association_id" or empty(shell)


async def test_release_with_linger_shortens_deadline_and_kernel_limit() -> None:
    """T24-D-1: the 200 and its retransmissions still pass, then it goes."""
    shell = Shell()
    installed = await shell.install(lifetime_seconds=3600)

    (released,) = await shell.service.release(USER, release_of(installed.id, 5))

    assert released.state is AssociationState.RETIRING
    assert shell.tables.messages[ShortenSa] == 4
    (limit,) = shell.ends_at(installed)
    assert limit == math.ceil(shell.clock.realtime() + 5 + LIFETIMES.backstop)
    with pytest.raises(NoSuchAssociation):
        await shell.service.confirm(USER, grant_of(installed.id, 600))
    await shell.expire(5)
    assert empty(shell)


async def test_release_with_linger_of_a_lost_association_ends_it() -> None:
    """Whoever wants it gone gets it gone, and learns that it was lost."""
    shell = Shell()
    installed = await shell.install()
    shell.tables.sas.clear()

    (ended,) = await shell.service.release(USER, release_of(installed.id, 5))

    assert (ended.state, ended.end_reason) == (AssociationState.ENDED, EndReason.KERNEL_LOST)
    assert empty(shell)


async def test_release_is_for_the_endpoints_users_and_operators() -> None:
    """Design 5: Release across endpoints is refused."""
    shell = Shell()
    installed = await shell.install()
    with pytest.raises(NotPermitted):
        await shell.service.release(STRANGER, release_of(installed.id))
    with pytest.raises(NoSuchAssociation):  # what may not be touched is not told
        await shell.service.release(STRANGER, ReleaseRequest(peer_address=UE_ADDRESS))
    with pytest.raises(NotPermitted):
        await shell.service.confirm(STRANGER, grant_of(installed.id, 60))
    with pytest.raises(NotPermitted):  # an operator ends, but grants no registration
        await shell.service.confirm(OPERATOR, grant_of(installed.id, 60))

    assert len(await shell.service.release(OPERATOR, release_of(installed.id))) == 1


@pytest.mark.parametrize(
    "wanted",
    [
        ReleaseRequest(),
        ReleaseRequest(association_id="x", peer_address=UE_ADDRESS),
        ReleaseRequest(peer_address=UE_ADDRESS, linger_seconds=-1),
        ReleaseRequest(peer_address=UE_ADDRESS, linger_seconds=129),
    ],
)
async def test_a_release_that_makes_no_sense_is_refused(wanted: ReleaseRequest) -> None:
    """Exactly one name, and a linger within its limit."""
    shell = Shell()
    await shell.install()
    with pytest.raises(BadParameter):
        await shell.service.release(USER, wanted)


async def test_a_release_of_nothing_says_so() -> None:
    """Nothing matches: neither an unknown id nor an unknown peer."""
    shell = Shell()
    for wanted in (release_of("unknown"), ReleaseRequest(peer_address="10.9.9.9")):
        with pytest.raises(NoSuchAssociation):
            await shell.service.release(USER, wanted)


async def test_a_release_that_the_kernel_refuses_is_told_and_tried_again() -> None:
    """Errors are typed: an empty answer would look like success. It is never forgotten."""
    shell = Shell()
    installed = await shell.install()
    shell.kernel.fail_message(1, errno.ENOMEM)

    with pytest.raises(KernelRefused):
        await shell.service.release(USER, release_of(installed.id))

    (stuck,) = shell.shared.table
    assert (stuck.phase, stuck.end_reason) == (Phase.REMOVING, EndReason.RELEASED)
    async with shell.reconciling():
        await until(lambda: empty(shell))


async def test_a_release_without_a_journal_goes_on() -> None:
    """An ending must not depend on a disk; the next start mends the journal."""
    shell = Shell()
    installed = await shell.install()
    shell.journal.full = True

    assert len(await shell.service.release(USER, release_of(installed.id))) == 1
    assert shell.snapshot == (set(), {})
    assert shell.shared.problem is not None


async def test_two_releases_at_once_end_it_once() -> None:
    """The second finds it ended; one event is published."""
    shell = Shell()
    installed = await shell.install()
    results = await asyncio.gather(
        *(shell.service.release(USER, release_of(installed.id)) for _ in range(2))
    )
    assert sorted(len(r) for r in results) == [0, 1]
    assert empty(shell)


# --- expiry --------------------------------------------------------------------------------------


async def test_expiry_ends_everything_of_the_association() -> None:
    """T24-P-12, T24-P-6: on time, whole, with its reason."""
    shell = Shell()
    await shell.install()
    events = shell.service.subscribe(USER)
    await take(events, 2)

    await shell.expire(239.9)
    assert len(shell.shared.table) == 1
    await shell.expire(0.1)

    (told,) = await take(events, 1)
    assert told.association is not None
    assert told.association.end_reason is EndReason.EXPIRED
    assert empty(shell)


async def test_a_confirm_that_comes_first_wins_against_the_expiry() -> None:
    """T24-P-11: lengthened while the ending waited for its turn, it lives to its new deadline."""
    shell = Shell()
    installed = await shell.install()
    shell.clock.advance(240)
    with shell.kernel_held():
        confirm = asyncio.ensure_future(shell.service.confirm(USER, grant_of(installed.id, 600)))
        await until(lambda: shell.kernel.waiting == 1)
        shell.endings.expire_due()
    confirmed = await confirm
    await shell.shared.background.drain()

    assert shell.shared.table.get(installed.id) == confirmed
    assert len(shell.tables.sas) == 4
    await shell.expire(630)
    assert empty(shell)


async def test_an_expiry_that_comes_first_wins_against_the_confirm() -> None:
    """T24-P-6: what is ending is offered to nobody."""
    shell = Shell()
    installed = await shell.install()
    shell.clock.advance(240)
    with shell.kernel_held():
        shell.endings.expire_due()
        await until(lambda: shell.kernel.waiting == 1)
        with pytest.raises(NoSuchAssociation):
            await shell.service.confirm(USER, grant_of(installed.id, 600))
    await shell.shared.background.drain()
    assert empty(shell)


async def test_two_thousand_expire_together_and_one_refusal_stops_none() -> None:
    """T24-P-12: every association ends on time; the one that is refused is tried again."""
    shell = Shell(tables=UntimedTables(lambda: 1_700_000_000.0))
    for number in range(2000):
        await shell.install(ue_request(number))
    shell.kernel.fail_message(100, errno.ENOMEM)

    await shell.expire(240)

    assert [a.phase for a in shell.shared.table] == [Phase.REMOVING]
    async with shell.reconciling():
        await until(lambda: empty(shell))


async def test_an_ending_with_a_defect_stops_none_of_the_others() -> None:
    """A deadline is never lost: what nobody foresaw is told, and tried again."""
    shell = Shell()
    for number in range(3):
        await shell.install(ue_request(number))
    shell.kernel.broken = [ZeroDivisionError()]

    await shell.expire(240)

    assert len(shell.shared.table) == 1
    assert shell.shared.problem is not None
    async with shell.reconciling():
        await until(lambda: empty(shell))


async def test_answers_lost_at_a_removal_are_asked_for_again() -> None:
    """Deletions may be repeated: what is gone already is no error."""
    shell = Shell()
    await shell.install()
    shell.kernel.lose_answers(applied=3)
    await shell.expire(240)
    assert empty(shell)


# --- stop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("remove", [False, True])
async def test_a_stop_keeps_or_removes_also_what_was_being_installed(remove: bool) -> None:
    """Design 8: an orderly stop leaves all, or nothing."""
    shell = Shell(remove_on_stop=remove)
    await shell.reconciler.reconcile("start")
    standing = shell.snapshot[1]
    await shell.install()
    with shell.kernel_held():
        late = asyncio.ensure_future(shell.install(second_request()))
        await until(lambda: shell.kernel.waiting == 1)
        stopping = asyncio.ensure_future(stop(shell.shared, shell.endings))
        await asyncio.sleep(0)
    await asyncio.gather(late, stopping)

    assert standing
    assert len(shell.tables.sas) == (0 if remove else 8)
    assert len(shell.journal.rows) == (0 if remove else 2)
    assert remove is (shell.snapshot == (set(), {}))


async def test_a_stop_goes_on_although_the_kernel_refuses() -> None:
    """A stop ends in order; what it could not do is told."""
    shell = Shell(remove_on_stop=True)
    await shell.reconciler.reconcile("start")
    await shell.install()
    shell.kernel.close()

    await stop(shell.shared, shell.endings)

    assert shell.shared.problem is not None
    assert [a.phase for a in shell.shared.table] == [Phase.REMOVING]
