"""Confirm, TakeIntoUse, Release of a registration: older sets follow, all or nothing."""

import asyncio
import errno
from typing import Any

import pytest
from msgspec import structs

from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.errors import (
    BadParameter,
    JournalUnavailable,
    KernelRefused,
    NoSuchAssociation,
)
from sad.model.requests import ReleaseRequest
from sad.model.views import WatchKind
from sad.runtime.startup import restore
from tests.support.agreeing import re_offer, registered
from tests.support.make import offer_request
from tests.support.shell import USER, Shell, grant_of, ue_request, until

State = AssociationState


async def two_sets(shell: Shell) -> tuple[Association, Association]:
    """A in use, and T confirmed on it (matrix row 4)."""
    a = await registered(shell)
    offered = await shell.service.offer(USER, re_offer(a))
    return a, await shell.service.confirm(USER, grant_of(offered.association.id, 600))


def states(shell: Shell) -> dict[str, tuple[AssociationState, float]]:
    return {a.id: (a.state, a.deadline_at) for a in shell.shared.table}


async def test_the_first_confirm_of_an_offer_ends_the_older_sets() -> None:
    """T24-P-8, matrix rows 2 and 4: events say replaced; the kernel has what is left."""
    shell = Shell()
    a, t = await two_sets(shell)
    other = {"spi_c": 7001, "spi_s": 7002, "port_c": 6399, "port_s": 6398}
    events = shell.service.subscribe(USER)
    while (await anext(events)).kind is not WatchKind.READY:
        pass

    reborn = await shell.service.offer(USER, offer_request(call_id="b", ue=other))
    await anext(events)
    confirmed = await shell.service.confirm(USER, grant_of(reborn.association.id, 600))

    told = [await anext(events) for _ in range(3)]
    assert [e.kind for e in told] == [WatchKind.CHANGED, WatchKind.ENDED, WatchKind.ENDED]
    ended = [e.association for e in told[1:]]
    assert [x.id for x in ended if x] == [a.id, t.id]
    assert {x.end_reason for x in ended if x} == {EndReason.REPLACED}
    assert states(shell) == {confirmed.id: (State.IN_USE, 730.0)}
    assert [len(part) for part in shell.snapshot] == [4, 10]
    assert shell.journal.rows == {confirmed.id: confirmed}


async def test_taking_into_use_moves_outbound_and_cuts_the_older_sets() -> None:
    """T24-P-9, matrix row 5: one journal entry, policies, limits in the kernel and the ledger."""
    shell = Shell()
    a, t = await two_sets(shell)
    calls = shell.journal.calls

    taken = await shell.service.take_into_use(USER, t.id)

    assert shell.journal.calls == calls + 1
    assert states(shell) == {a.id: (State.RETIRING, 228.0), t.id: (State.IN_USE, 730.0)}
    assert shell.journal.rows == {x.id: x for x in shell.shared.table}
    limits = shell.ends_at(a)
    assert max(limits) <= shell.clock.realtime() + 128 + 15 + 1
    carriers = {
        p.template.reqid
        for i, p in shell.snapshot[1].items()
        if (i.selector.source_port, i.selector.destination_port) == (5064, 6300)
        if p.template is not None
    }
    assert taken.reqid_out[1] in carriers
    assert a.reqid_out[1] not in carriers
    await shell.expire(129)
    assert states(shell) == {t.id: (State.IN_USE, 730.0)}


async def test_taking_into_use_can_be_repeated() -> None:
    """The hook's workers do not know of each other; a retiring set stays one (T24-P-10)."""
    shell = Shell()
    a, t = await two_sets(shell)
    first = await shell.service.take_into_use(USER, t.id)
    calls = shell.journal.calls
    before = states(shell)

    assert await shell.service.take_into_use(USER, t.id) == first
    retiring = await shell.service.take_into_use(USER, a.id)

    assert retiring.state is State.RETIRING
    assert (shell.journal.calls, states(shell)) == (calls, before)


async def test_a_temporary_set_cannot_be_taken_into_use() -> None:
    """T24-P-5: only REGISTER comes on it; the hint says what it is."""
    shell = Shell()
    offered = await shell.service.offer(USER, offer_request())

    with pytest.raises(NoSuchAssociation) as refusal:
        await shell.service.take_into_use(USER, offered.association.id)

    assert "temporary" in refusal.value.hint


@pytest.mark.parametrize("number", range(1, 10))
async def test_each_message_that_fails_leaves_both_sets_as_they_were(number: int) -> None:
    """All or nothing: states, ledger, journal and kernel are as before, the error is typed."""
    shell = Shell()
    a, t = await two_sets(shell)
    before, kernel = states(shell), shell.snapshot
    limits = shell.ends_at(a)
    rows = dict(shell.journal.rows)
    shell.kernel.fail_message(number, errno.ENOMEM)

    with pytest.raises(KernelRefused):
        await shell.service.take_into_use(USER, t.id)

    assert (states(shell), shell.snapshot, shell.ends_at(a)) == (before, kernel, limits)
    assert shell.journal.rows == rows
    taken = await shell.service.take_into_use(USER, t.id)
    assert taken.state is State.IN_USE


async def test_without_a_journal_nothing_is_taken_into_use() -> None:
    """Design 8: no intent, no change."""
    shell = Shell()
    _, t = await two_sets(shell)
    before, kernel = states(shell), shell.snapshot
    shell.journal.full = True

    with pytest.raises(JournalUnavailable):
        await shell.service.take_into_use(USER, t.id)

    assert (states(shell), shell.snapshot) == (before, kernel)


async def test_an_older_set_that_the_kernel_has_lost_is_no_obstacle() -> None:
    """It is ended on the way; the new set comes into use."""
    shell = Shell()
    a, t = await two_sets(shell)
    lost = next(i for i in shell.tables.sas if i.spi == a.sa_set.spi_ps)
    del shell.tables.sas[lost]

    taken = await shell.service.take_into_use(USER, t.id)

    assert taken.state is State.IN_USE
    assert set(states(shell)) == {t.id}


async def test_an_older_set_that_cannot_be_removed_does_not_undo_a_confirm() -> None:
    """The kernel refuses the ending: the registration stands, and the reconciler tries again."""
    shell = Shell()
    a = await registered(shell)
    reborn = await shell.service.offer(
        USER, offer_request(call_id="b", ue={"spi_c": 7001, "spi_s": 7002})
    )
    # Four limits are moved, then the two shared policies; the first deletion fails.
    shell.kernel.fail_message(4 + 2 + 1, errno.ENOMEM)

    confirmed = await shell.service.confirm(USER, grant_of(reborn.association.id, 600))

    assert confirmed.state is State.IN_USE
    stuck = shell.shared.table.get(a.id)
    assert stuck is not None
    assert (stuck.phase, stuck.end_reason) == (Phase.REMOVING, EndReason.REPLACED)
    async with shell.reconciling():
        await until(lambda: shell.shared.table.get(a.id) is None)
    assert len(shell.tables.sas) == 4


@pytest.mark.parametrize("ports", [{}, {"port_c": 6399, "port_s": 6398}])
async def test_killed_after_a_confirm_the_older_sets_still_end(ports: dict[str, int]) -> None:
    """Design 8: their end, in whatever registration, is in the same entry as the Confirm."""
    shell = Shell()
    a = await registered(shell)
    reborn = await shell.service.offer(
        USER, offer_request(call_id="b", ue={"spi_c": 7001, "spi_s": 7002} | ports)
    )
    seen: list[dict[str, Association]] = []
    record = shell.journal.record

    async def recording(writes: Any) -> None:
        await record(writes)
        seen.append(dict(shell.journal.rows))

    shell.journal.record = recording  # type: ignore[method-assign]  # to look at each entry
    await shell.service.confirm(USER, grant_of(reborn.association.id, 600))

    first = seen[0]
    assert first[reborn.association.id].state is State.IN_USE
    assert first[a.id].phase is Phase.REMOVING
    life = Shell(tables=shell.tables, clock=shell.clock)
    life.journal.rows = dict(first)
    await restore(life.shared, life.reconciler, list(first.values()))
    assert set(states(life)) == {reborn.association.id}


async def test_a_refused_confirm_leaves_the_sets_elsewhere_in_the_journal() -> None:
    """Design 8: what was to end with it is written back, as its own sets are."""
    shell = Shell()
    a = await registered(shell)
    ue = {"spi_c": 7001, "spi_s": 7002, "port_c": 6399, "port_s": 6398}
    reborn = await shell.service.offer(USER, offer_request(call_id="b", ue=ue))
    before = dict(shell.journal.rows)
    shell.kernel.fail_message(2, errno.ENOMEM)

    with pytest.raises(KernelRefused):
        await shell.service.confirm(USER, grant_of(reborn.association.id, 600))

    assert shell.journal.rows == before
    assert set(states(shell)) == {a.id, reborn.association.id}


async def test_killed_while_taking_into_use_the_next_life_goes_on_with_it() -> None:
    """Design 8: journal before kernel; policies and limits follow at the start."""
    shell = Shell()
    a, t = await two_sets(shell)
    shell.kernel.gate.clear()
    call = asyncio.ensure_future(shell.service.take_into_use(USER, t.id))
    await until(lambda: shell.kernel.waiting > 0)
    life = Shell(tables=shell.tables, clock=shell.clock)
    life.journal.rows = dict(shell.journal.rows)

    await restore(life.shared, life.reconciler, list(life.journal.rows.values()))

    assert states(life) == {a.id: (State.RETIRING, 228.0), t.id: (State.IN_USE, 730.0)}
    assert max(life.ends_at(a)) <= life.clock.realtime() + 128 + 15 + 1
    mended = life.snapshot
    shell.kernel.gate.set()
    await call
    assert shell.snapshot == mended


async def test_release_can_take_the_whole_registration() -> None:
    """T24-D-1: all its sets, each with the linger; nobody else's."""
    shell = Shell()
    a, t = await two_sets(shell)
    other = await shell.install(ue_request(9))

    released = await shell.service.release(
        USER, ReleaseRequest(association_id=t.id, whole_registration=True, linger_seconds=30)
    )

    assert [(x.id, x.state) for x in released] == [
        (a.id, State.RETIRING),
        (t.id, State.RETIRING),
    ]
    await shell.expire(31)
    assert set(states(shell)) == {other.id}


@pytest.mark.parametrize("linger", [0, 30])
async def test_killed_while_releasing_a_registration_the_next_life_goes_on(linger: int) -> None:
    """Design 8: what becomes of all its sets stands in one journal entry, before the first."""
    shell = Shell()
    a, t = await two_sets(shell)
    shell.kernel.gate.clear()
    request = ReleaseRequest(association_id=a.id, whole_registration=True, linger_seconds=linger)
    call = asyncio.ensure_future(shell.service.release(USER, request))
    await until(lambda: shell.kernel.waiting > 0)
    life = Shell(tables=shell.tables, clock=shell.clock)
    life.journal.rows = dict(shell.journal.rows)

    await restore(life.shared, life.reconciler, list(life.journal.rows.values()))

    left = {a.id: (State.RETIRING, 130.0), t.id: (State.RETIRING, 130.0)}
    assert states(life) == (left if linger else {})
    shell.kernel.gate.set()
    await call


@pytest.mark.parametrize("by", [{"private_identity": "x"}, {"peer_address": "10.0.0.1"}])
async def test_a_whole_registration_is_named_by_one_of_its_sets(by: dict[str, Any]) -> None:
    """The API says so: with id only."""
    with pytest.raises(BadParameter, match="wholeRegistration"):
        await Shell().service.release(USER, ReleaseRequest(whole_registration=True, **by))


async def test_a_note_alone_is_journalled_and_found() -> None:
    """Design 3: what a SIP server notes comes back after its restart, and after the daemon's."""
    shell = Shell()
    a = await registered(shell)
    request = structs.replace(grant_of(a.id, 1), note="routes of the 200")

    await shell.service.confirm(USER, request)

    assert shell.journal.rows[a.id].note == "routes of the 200"
    kept = shell.shared.table.get(a.id)
    assert kept is not None
    assert (kept.note, kept.deadline_at) == ("routes of the 200", a.deadline_at)
