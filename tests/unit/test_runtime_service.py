"""Install and looking: all or nothing whatever fails, wherever the caller goes."""

import asyncio
import errno
import itertools

import pytest

from netlink.errors import KernelError, OutcomeUnknown
from netlink.model import AddPolicy, AddSa, SaId, UpdatePolicy
from sad.model.association import AssociationState, Phase
from sad.model.errors import (
    BadParameter,
    Busy,
    FlowInUse,
    JournalUnavailable,
    KernelRefused,
    LimitExceeded,
    MechanismUnavailable,
    NoSuchAssociation,
    NoSuchEndpoint,
    NotPermitted,
    UnknownFlow,
)
from sad.model.requests import Flow, ListFilter
from sad.model.rules import Limits
from sad.model.views import DaemonState, WatchKind
from sad.runtime.watch import QUEUE_LENGTH
from tests.support.make import EDGE_ADDRESS, IK, UE_ADDRESS, install_request
from tests.support.shell import (
    STRANGER,
    USER,
    Shell,
    grant_of,
    release_of,
    second_request,
    take,
    ue_request,
    until,
)

MESSAGES = 14  # 4 SAs, 8 policies of the port pairs, 2 that block clear text toward the peer


async def test_an_install_is_in_the_kernel_the_journal_and_the_table() -> None:
    """Design 3: socket, decision, journal, kernel, journal, answer."""
    shell = Shell()

    installed = await shell.install()

    assert installed.phase is Phase.INSTALLED
    assert installed.state is AssociationState.TEMPORARY
    assert shell.tables.messages[AddSa] + shell.tables.messages[AddPolicy] == MESSAGES
    assert shell.journal.rows == {installed.id: installed}
    assert len(shell.shared.deadlines) == 1
    assert not shell.shared.busy()


async def test_keys_are_wiped_whether_an_install_succeeds_or_not() -> None:
    """GAP-5: keys leave this process as soon as the kernel has them."""
    shell = Shell()
    accepted, refused = install_request(), install_request(encryption_algorithm="aes-cbc")

    await shell.install(accepted)
    with pytest.raises(FlowInUse):
        await shell.install(refused)
    shell.journal.full = True
    lost = second_request()
    with pytest.raises(JournalUnavailable):
        await shell.install(lost)

    for request in (accepted, lost):
        assert request.integrity_key.reveal() == bytes(16)
    stored = next(iter(shell.tables.sas.values()))
    assert stored.integrity_key == IK + bytes(4)


@pytest.mark.parametrize("number", range(1, MESSAGES + 1))
async def test_each_message_that_fails_leaves_nothing(number: int) -> None:
    """Issue 2, design 7: a set is all or nothing; the error says which message and why."""
    shell = Shell()
    shell.kernel.fail_message(number, errno.EEXIST, "File exists")

    with pytest.raises(KernelRefused) as refusal:
        await shell.install()

    assert shell.snapshot == (set(), {})
    assert (refusal.value.name, refusal.value.message) == ("EEXIST", "File exists")
    named = f"SA{number} " if number <= 4 else "policy "
    assert refusal.value.object.startswith(named)
    assert len(shell.shared.table) == len(shell.journal.rows) == len(shell.shared.deadlines) == 0
    await shell.install()  # SPIs and ports are free again


@pytest.mark.parametrize("applied", range(MESSAGES + 1))
async def test_lost_answers_leave_nothing_of_the_set(applied: int) -> None:
    """Design 7: success is only what the kernel confirmed."""
    shell = Shell()
    shell.kernel.lose_answers(applied=applied)

    with pytest.raises(KernelRefused, match="answers were lost"):
        await shell.install()

    assert shell.snapshot == (set(), {})
    assert len(shell.shared.table) == len(shell.journal.rows) == 0


@pytest.mark.parametrize("lost", [False, True])
async def test_a_refused_second_set_gives_back_what_the_first_shares(lost: bool) -> None:
    """T24-P-9, all or nothing: the outbound policy of the server ports moves back."""
    shell = Shell()
    await shell.install()  # temporary: an established set would take over its outbound policy
    before = shell.snapshot
    second = second_request(lifetime_seconds=600)
    if lost:
        shell.kernel.lose_answers(applied=12)
    else:
        shell.kernel.fail_message(1, errno.ENOMEM)

    with pytest.raises(KernelRefused):
        await shell.install(second)

    assert shell.tables.messages[UpdatePolicy] == 2  # moved, and moved back
    assert shell.snapshot == before


async def test_an_sa_of_somebody_else_in_the_way_survives() -> None:
    """Design 7: nothing of anyone else is ever touched."""
    shell = Shell()
    foreign = Shell(tables=shell.tables)
    theirs = await foreign.install(ue_request(1, spi_uc=25656, spi_us=25657))
    taken = SaId(EDGE_ADDRESS, theirs.sa_set.spi_pc)

    for lose in (False, True):
        before = shell.snapshot
        if lose:
            shell.kernel.lose_answers(applied=MESSAGES)
        with pytest.raises(KernelRefused):
            await shell.install(install_request(spi_pc=theirs.sa_set.spi_pc))
        assert shell.snapshot == before
        assert taken in shell.tables.sas


async def test_a_rollback_that_fails_is_told_and_finished_later() -> None:
    """All or nothing: what could not be taken back is not forgotten, nor given to another."""
    shell = Shell()
    shell.kernel.fail_message(1, errno.EEXIST)
    shell.kernel.fail_message(MESSAGES + 1, errno.ENOMEM)  # the first of the taking back

    with pytest.raises(KernelRefused) as refusal:
        await shell.install()

    assert refusal.value.name == "EEXIST"  # why it was refused, not what came after
    assert [a.phase for a in shell.shared.table] == [Phase.REMOVING]
    assert shell.shared.problem is not None
    async with shell.reconciling():
        await until(lambda: not shell.journal.rows)
    assert shell.tables.sas == {}
    assert shell.journal.rows == {}


async def test_an_install_beside_a_stuck_removal_finishes_it_first() -> None:
    """Who adds policies to a registration must know which of them are there."""
    shell = Shell()
    first = await shell.install()
    shell.kernel.fail_message(2, errno.ENOMEM)
    with pytest.raises(KernelRefused):
        await shell.service.release(USER, release_of(first.id))

    second = await shell.install(second_request())

    fresh = Shell()
    await fresh.install(second_request())
    assert [a.id for a in shell.shared.table] == [second.id]
    assert shell.snapshot[0] == fresh.snapshot[0]
    assert set(shell.snapshot[1]) == set(fresh.snapshot[1])


@pytest.mark.parametrize("call", [1, 2])
async def test_a_journal_that_fails_before_or_after_the_kernel_leaves_nothing(call: int) -> None:
    """Design 8: intent before the commit, result after it; without either nothing stands."""
    shell = Shell()
    shell.journal.failing = {call}

    with pytest.raises(JournalUnavailable):
        await shell.install()

    assert shell.snapshot == (set(), {})
    assert len(shell.shared.table) == len(shell.journal.rows) == 0


async def test_a_full_journal_leaves_at_most_an_intent() -> None:
    """Design 8: an intent without a result is dropped at the next start."""
    shell = Shell()
    shell.journal.failing = {2, 3}  # the result, and forgetting the intent

    with pytest.raises(JournalUnavailable):
        await shell.install()

    assert [a.phase for a in shell.journal.rows.values()] == [Phase.INSTALLING]
    assert shell.snapshot == (set(), {})
    assert shell.shared.problem is not None


@pytest.mark.parametrize("turns", range(6))  # in the seventh it has its answer
async def test_an_install_whose_caller_left_is_rolled_back(turns: int) -> None:
    """Design 3: the answer never left, so nobody counts on it, whenever the caller goes."""
    shell = Shell()
    events = shell.service.subscribe(USER)
    await anext(events)
    call = asyncio.ensure_future(shell.install(lifetime_seconds=3600))
    for _ in range(turns):
        await asyncio.sleep(0)
    begun = shell.shared.background
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await begun.drain()

    assert shell.snapshot == (set(), {})
    assert len(shell.shared.table) == len(shell.journal.rows) == len(shell.shared.deadlines) == 0


async def test_a_caller_who_left_a_refused_install_causes_no_noise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No exception is left unretrieved (pytest turns that into a failure), none is logged."""
    shell = Shell()
    shell.kernel.fail_message(1, errno.EEXIST)
    with shell.kernel_held():
        call = asyncio.ensure_future(shell.install())
        await until(lambda: shell.kernel.waiting == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await shell.shared.background.drain()

    assert shell.snapshot == (set(), {})
    assert [r for r in caplog.records if r.levelname == "ERROR"] == []


async def test_installs_of_one_registration_go_one_by_one() -> None:
    """Design 7: policies are shared; concurrent installs must not both add them."""
    shell = Shell()

    first, second = await asyncio.gather(shell.install(), shell.install(second_request()))

    assert first.reqid_in == second.reqid_in
    assert len(shell.tables.sas) == 8
    one_by_one = Shell()
    await one_by_one.install()
    await one_by_one.install(second_request())
    assert shell.snapshot == one_by_one.snapshot


async def test_equal_installs_at_once_give_one_set_and_one_refusal() -> None:
    """T33-7.1-p3: the loser is refused before it touches the kernel."""
    shell = Shell()

    results = await asyncio.gather(shell.install(), shell.install(), return_exceptions=True)

    assert sorted(type(r).__name__ for r in results) == ["Association", "FlowInUse"]
    assert len(shell.tables.sas) == 4


async def test_limits_hold() -> None:
    """T33-7.1-p3: three sets of one registration; limits.max_associations over all."""
    shell = Shell(limits=Limits(max_associations=4))
    for number in range(3):
        await shell.install(
            second_request(
                spi_uc=1000 + 2 * number,
                spi_us=1001 + 2 * number,
                spi_pc=90000 + 2 * number,
                spi_ps=90001 + 2 * number,
                port_uc=6400 + number,
                port_pc=5068 + number,
            )
        )
    with pytest.raises(LimitExceeded, match="SA sets of one registration"):
        await shell.install(second_request(port_pc=5071))
    await shell.install(ue_request(1))
    with pytest.raises(LimitExceeded, match="associations"):
        await shell.install(ue_request(2))


@pytest.mark.parametrize("address", ["10.10.0.9", EDGE_ADDRESS, "127.0.0.1", "0.0.0.0"])
async def test_own_and_loopback_addresses_are_no_peers(address: str) -> None:
    """T33-7.1-c: this node's addresses, configured or not."""
    shell = Shell()
    with pytest.raises(BadParameter) as refusal:
        await shell.install(ue_address=address)
    assert refusal.value.rule == "T33-7.1-c"
    assert shell.snapshot == (set(), {})


async def test_who_and_what_is_refused_by_type() -> None:
    """Design 5: each endpoint lists its users; unknown names are told apart."""
    shell = Shell()
    with pytest.raises(NotPermitted):
        await shell.service.install(STRANGER, install_request())
    with pytest.raises(NoSuchEndpoint):
        await shell.install(endpoint="nowhere")
    with pytest.raises(MechanismUnavailable):
        await shell.install(mechanism="tls")
    shell.shared.daemon_state = DaemonState.STOPPING
    with pytest.raises(Busy):
        await shell.install()


async def test_looking_tells_of_installed_ones_only() -> None:
    """T33-7.1-g: Find, Get and List never show what may still be taken back."""
    shell = Shell()
    flow = Flow(
        peer_address=UE_ADDRESS, peer_port=6300, local_address=EDGE_ADDRESS, local_port=5064
    )
    with shell.kernel_held():
        call = asyncio.ensure_future(shell.install())
        await until(lambda: shell.kernel.waiting == 1)
        with pytest.raises(UnknownFlow):
            shell.service.find(USER, flow)
        assert not list(shell.service.list_associations(USER, ListFilter()))
        (unfinished,) = shell.shared.table
        with pytest.raises(NoSuchAssociation):
            await shell.service.get(USER, unfinished.id)
    installed = await call

    assert shell.service.find(USER, flow).association == installed
    shown, counters = await shell.service.get(USER, installed.id)
    assert shown == installed
    assert [c.name for c in counters] == ["SA1", "SA2", "SA3", "SA4"]
    assert shell.service.status().associations == (("ipsec-3gpp", "temporary", 1),)


async def test_a_refusing_kernel_is_a_typed_refusal_of_get() -> None:
    """Errors are typed and carry the way out."""
    shell = Shell()
    installed = await shell.install()
    for broken in (KernelError(errno.ENOBUFS), OutcomeUnknown("answers were lost")):
        shell.kernel.broken = [broken]
        with pytest.raises(KernelRefused) as refusal:
            await shell.service.get(USER, installed.id)
        assert refusal.value.hint


async def test_get_of_a_lost_association_says_so_and_of_an_ended_one_that_it_is_gone() -> None:
    """Lost and ended differ: one is somebody's hand, the other is how things go."""
    shell = Shell()
    installed = await shell.install()
    with shell.kernel_held():
        asked = asyncio.ensure_future(shell.service.get(USER, installed.id))
        ended = asyncio.ensure_future(shell.service.release(USER, release_of(installed.id)))
        await until(lambda: shell.kernel.waiting == 2)
        shell.tables.sas.clear()
    with pytest.raises((NoSuchAssociation, KernelRefused)):
        await asked
    await ended

    second = await shell.install()
    shell.tables.sas.clear()
    with pytest.raises(KernelRefused, match="no longer holds"):
        await shell.service.get(USER, second.id)


async def test_watch_tells_the_present_then_ready_then_changes() -> None:
    """Monitor: nothing falls between what is present and what changes."""
    shell = Shell()
    first = await shell.install()
    events = shell.service.subscribe(USER)
    begin = await take(events, 2)
    second = await shell.install(second_request())
    confirmed = await shell.service.confirm(USER, grant_of(first.id, 600))
    await shell.service.release(USER, release_of(second.id))

    told = [*begin, *await take(events, 3)]

    assert [(e.kind, e.association and e.association.id) for e in told] == [
        (WatchKind.PRESENT, first.id),
        (WatchKind.READY, None),
        (WatchKind.ADDED, second.id),
        (WatchKind.CHANGED, first.id),
        (WatchKind.ENDED, second.id),
    ]
    assert told[3].association == confirmed
    await events.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert len(shell.shared.watch) == 0


async def test_a_slow_reader_is_resynchronised_and_a_cancelled_one_forgotten() -> None:
    """A subscriber costs bounded memory, and none after it left."""
    shell = Shell()
    association = await shell.install()
    slow = shell.service.subscribe(USER)
    await take(slow, 2)
    waiting = asyncio.ensure_future(take(shell.service.subscribe(USER), 3))
    await until(lambda: len(shell.shared.watch) == 2)

    for _ in itertools.repeat(None, QUEUE_LENGTH + 1):
        shell.shared.watch.publish(WatchKind.CHANGED, association)
    assert [e.kind for e in await take(slow, 1)] == [WatchKind.RESYNC]

    stuck = asyncio.ensure_future(anext(slow))
    await asyncio.gather(waiting)
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    await until(lambda: not len(shell.shared.watch))
