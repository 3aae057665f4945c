"""Kernel against journal: at start, on notice, after failures; and whether the node is fit."""

import asyncio
import dataclasses
import errno
from typing import Any

import pytest
from msgspec import structs

from netlink.errors import DumpInterrupted, KernelError, OutcomeUnknown
from netlink.model import AddSa, DeleteSa, KernelEvent, Overrun
from sad.mechanisms.probe import NodeUnfit, probe
from sad.model.algorithms import AlgorithmPair
from sad.model.association import AssociationState, EndReason, Phase
from sad.model.errors import KernelRefused
from sad.model.views import DaemonState
from sad.runtime.startup import restore
from tests.support.fake_kernel import ALGORITHMS, FakeKernel, FakeTables
from tests.support.make import LAYOUT, endpoint
from tests.support.shell import (
    SOMEBODY_ELSES_PORT,
    USER,
    Shell,
    grant_of,
    release_of,
    second_request,
    take,
    ue_request,
    until,
)


def restarted(shell: Shell, **settings: Any) -> Shell:
    """The next life on the same kernel, journal and clock."""
    return Shell(tables=shell.tables, journal=shell.journal, clock=shell.clock, **settings)


async def start(shell: Shell) -> Shell:
    shell.shared.daemon_state = DaemonState.STARTING
    await restore(shell.shared, shell.reconciler, list(shell.journal.rows.values()))
    assert shell.shared.daemon_state is DaemonState.READY
    return shell


# --- start ---------------------------------------------------------------------------------------


async def test_a_start_adopts_what_both_know() -> None:
    """Design 8: nothing is touched, every timer goes on."""
    shell = await start(Shell())
    installed = await shell.install()
    before = shell.snapshot

    again = await start(restarted(shell))

    assert tuple(again.shared.table) == (installed,)
    assert again.snapshot == before
    assert again.reconciler.last is not None
    assert (again.reconciler.last.adopted, again.reconciler.last.repaired) == (1, 0)
    await again.expire(240)
    assert again.tables.sas == {}


@pytest.mark.parametrize("phase", [Phase.INSTALLING, Phase.REMOVING])
async def test_a_start_drops_what_was_not_finished(phase: Phase) -> None:
    """Design 8: an intent without a result is removed; its 401 never left."""
    shell = await start(Shell())
    standing = shell.snapshot
    installed = await shell.install()
    shell.journal.rows[installed.id] = structs.replace(installed, phase=phase)

    again = await start(restarted(shell))

    assert again.snapshot == standing
    assert not again.journal.rows
    assert not len(again.shared.table)


async def test_a_start_removes_what_only_the_kernel_has() -> None:
    """Design 8: ours by its tag, and nobody's."""
    shell = await start(Shell())
    standing = shell.snapshot
    await shell.install()
    shell.journal.rows.clear()

    assert (await start(restarted(shell))).snapshot == standing


async def test_a_start_ends_what_only_the_journal_has() -> None:
    """Design 8: keys are not kept, so a lost SA cannot be made again."""
    shell = await start(Shell())
    await shell.install()
    shell.tables.sas.clear()

    again = await start(restarted(shell))

    assert not len(again.shared.table)
    assert not again.journal.rows


async def test_a_start_ends_what_has_no_endpoint_any_more() -> None:
    """An association outside the settings is nobody's."""
    shell = await start(Shell())
    await shell.install()
    narrow = endpoint(client_ports=(5080, 5081))

    for endpoints in ({}, {"access": narrow}):
        again = await start(restarted(shell, endpoints=endpoints))
        assert not len(again.shared.table)
        assert again.tables.sas == {}


async def test_a_start_ends_what_came_due_while_the_daemon_was_dead() -> None:
    """T24-P-12: the time without a daemon counts."""
    shell = await start(Shell())
    await shell.install()
    shell.clock.advance(245)  # past the deadline, before the kernel's own limit

    again = await start(restarted(shell))

    assert not len(again.shared.table)
    assert again.tables.sas == {}
    assert len(again.shared.deadlines) == 0


async def test_a_start_keeps_the_sets_in_their_order() -> None:
    """T24-P-9: after a restart the older set still carries what is sent."""
    shell = await start(Shell())
    first = await shell.install(lifetime_seconds=600)
    shell.clock.advance(1)
    second = await shell.install(second_request(lifetime_seconds=600))
    before = shell.snapshot
    shell.journal.rows = dict(reversed(shell.journal.rows.items()))

    again = await start(restarted(shell))

    assert [a.id for a in again.shared.table] == [first.id, second.id]
    assert again.snapshot == before


async def test_a_start_without_a_readable_kernel_is_a_typed_refusal() -> None:
    """It says what is wrong instead of ending in a traceback; it is not READY."""
    for broken in (DumpInterrupted("x"), KernelError(errno.EPERM), OutcomeUnknown("x")):
        shell = Shell()
        shell.shared.daemon_state = DaemonState.STARTING
        shell.kernel.broken = [broken]
        with pytest.raises(KernelRefused) as refusal:
            await restore(shell.shared, shell.reconciler, [])
        assert refusal.value.hint
        assert shell.shared.daemon_state is DaemonState.STARTING


# --- notices -------------------------------------------------------------------------------------


async def listening(shell: Shell) -> None:
    """Deliver the kernel's notices as the daemon does."""
    await start(shell)

    def deliver(event: KernelEvent) -> None:
        shell.reconciler.notice(event, shell.kernel.port_id)

    shell.tables.subscribe(deliver)


async def test_our_own_changes_cause_no_comparison() -> None:
    """A dump for each install would not scale."""
    shell = Shell()
    await listening(shell)
    dumps = shell.kernel.dumps
    async with shell.reconciling():
        installed = await shell.install()
        await shell.service.confirm(USER, grant_of(installed.id, 60))
        await shell.service.release(USER, release_of(installed.id))
        for _ in range(20):
            await asyncio.sleep(0)
    assert shell.kernel.dumps == dumps


async def test_a_foreign_deletion_of_an_sa_ends_its_association() -> None:
    """Design 6: the kernel lost it; the others of the node live on."""
    shell = Shell()
    await listening(shell)
    gone, kept = await shell.install(), await shell.install(ue_request(1))
    other = FakeKernel(shell.tables, SOMEBODY_ELSES_PORT)
    events = shell.service.subscribe(USER)
    await take(events, 3)
    mine = {i for i in shell.tables.sas if i.spi in gone.sa_set.local_spis}

    from_now = asyncio.ensure_future(take(events, 1))
    async with shell.reconciling():
        for sa_id in mine:
            shell.tables.apply(DeleteSa(sa_id), other.port_id)
        (told,) = await from_now
    assert told.association is not None
    assert (told.association.id, told.association.end_reason) == (gone.id, EndReason.KERNEL_LOST)
    assert tuple(shell.shared.table) == (kept,)


async def test_flushed_policies_come_back() -> None:
    """Design 1: drift is repaired; a policy needs no key."""
    shell = Shell()
    await listening(shell)
    await shell.install()
    before = shell.snapshot
    async with shell.reconciling():
        shell.tables.flush_policies(SOMEBODY_ELSES_PORT)
        await until(lambda: shell.snapshot == before)
    assert shell.reconciler.last is not None


async def test_a_flushed_sad_ends_everything() -> None:
    """All of it is lost and said so."""
    shell = Shell()
    await listening(shell)
    standing = shell.snapshot
    for number in range(5):
        await shell.install(ue_request(number))
    async with shell.reconciling():
        shell.tables.flush_sas(SOMEBODY_ELSES_PORT)
        await until(lambda: not shell.journal.rows)
    assert shell.snapshot == standing


async def test_lost_notices_are_a_reason_to_compare() -> None:
    """Notices are hints and never the ledger (design 6)."""
    shell = Shell()
    await start(shell)
    await shell.install()
    shell.tables.sas.clear()  # without a notice
    async with shell.reconciling():
        shell.reconciler.notice(Overrun(), shell.kernel.port_id)
        await until(lambda: not shell.journal.rows)


# --- a kernel in trouble -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        DumpInterrupted("it never held still"),
        KernelError(errno.ENOBUFS),
        OutcomeUnknown("answers were lost"),
        ZeroDivisionError(),
    ],
)
async def test_nothing_the_kernel_does_ends_the_reconciler(broken: Exception) -> None:
    """Drift is repaired for ever: a run that failed is told and made again."""
    shell = Shell()
    async with shell.reconciling() as task:
        shell.kernel.broken = [broken]
        shell.reconciler.request("a test")
        await until(lambda: shell.reconciler.last is not None)
        assert not task.done()
    assert shell.shared.problem is not None
    assert shell.tables.policies


async def test_a_refused_repair_does_not_keep_what_must_end() -> None:
    """T24-P-12: an overdue association ends although a policy cannot be repaired."""
    shell = Shell()
    await shell.install()
    shell.clock.advance(240)  # its timer has not fired
    shell.kernel.fail_message(1, errno.ENOMEM)  # the first block policy

    with pytest.raises(KernelRefused):
        await shell.reconciler.reconcile("a test")

    assert not len(shell.shared.table)
    assert shell.tables.sas == {}


async def test_a_comparison_during_a_change_does_not_turn_it_back() -> None:
    """T24-P-9: the outbound policy that a confirmation moves stays moved."""
    shell = Shell()
    await start(shell)
    first = await shell.install()
    second = await shell.install(second_request())
    with shell.kernel_held():
        confirm = asyncio.ensure_future(shell.service.confirm(USER, grant_of(second.id, 600)))
        await until(lambda: shell.kernel.waiting == 1)
        compare = asyncio.ensure_future(shell.reconciler.reconcile("a test"))
        await until(lambda: shell.kernel.waiting == 2)
    await asyncio.gather(confirm, compare)
    after = shell.snapshot
    report = await shell.reconciler.reconcile("a second look")

    assert shell.snapshot == after
    assert (report.repaired, report.removed, report.adopted) == (0, 0, 2)
    assert shell.shared.table.get(first.id) is not None


async def test_policies_of_a_registration_under_change_are_judged_afterwards() -> None:
    """T24-P-9: between the kernel's answer and the table's change neither of them is wrong."""
    shell = Shell()
    await start(shell)
    installed = await shell.install()
    before = shell.snapshot
    for stored in shell.tables.policies.values():
        if stored.policy.template is not None:
            stored.policy = dataclasses.replace(stored.policy, priority=1)

    async with shell.shared.lock(installed.registration):
        assert (await shell.reconciler.reconcile("a test")).repaired == 0
    assert (await shell.reconciler.reconcile("a test")).repaired == 8
    assert shell.snapshot == before


async def test_installs_and_endings_during_comparisons_are_left_alone() -> None:
    """What is under somebody's hands is neither missed nor stray, at any interleaving."""
    shell = Shell()
    await start(shell)
    standing = shell.snapshot

    async def live(number: int) -> None:
        for _ in range(3):
            installed = await shell.install(ue_request(number))
            await shell.service.confirm(USER, grant_of(installed.id, 60))
            await shell.service.release(USER, release_of(installed.id))

    async def compare() -> None:
        for _ in range(12):
            report = await shell.reconciler.reconcile("a test")
            assert report.ended == 0

    await asyncio.gather(compare(), *(live(n) for n in range(6)))
    assert shell.snapshot == standing


async def test_a_caller_who_leaves_a_reconcile_leaves_it_whole() -> None:
    """Half an ending helps nobody."""
    shell = Shell()
    await start(shell)
    await shell.install()
    shell.tables.sas.clear()
    call = asyncio.ensure_future(shell.service.reconcile("a test"))
    await until(lambda: any(a.phase is Phase.REMOVING for a in shell.shared.table))
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await shell.shared.background.drain()

    assert not len(shell.shared.table)
    assert not shell.journal.rows


async def test_a_reconcile_restores_a_limit_somebody_changed() -> None:
    """The dead man's switch follows the ledger (design 6)."""
    shell = Shell()
    await start(shell)
    installed = await shell.install()
    limits = shell.ends_at(installed)
    for stored in shell.tables.sas.values():
        stored.sa = dataclasses.replace(stored.sa, hard_add_seconds=9000)

    await shell.reconciler.reconcile("a test")

    assert shell.ends_at(installed) == limits
    assert installed.state is AssociationState.TEMPORARY


# --- probe ---------------------------------------------------------------------------------------

PAIRS = [AlgorithmPair("hmac-sha-1-96", "null"), AlgorithmPair("hmac-md5-96", "aes-cbc")]


def fake(algorithms: frozenset[str] = ALGORITHMS) -> FakeKernel:
    return FakeKernel(FakeTables(lambda: 0.0, algorithms))


async def test_a_fit_kernel_passes_and_keeps_nothing_of_the_probe() -> None:
    """Each pair is warmed up, for each version of IP, and leaves no SA."""
    kernel = fake()
    assert await probe(kernel, PAIRS, (4, 6), LAYOUT) == {}
    assert kernel.tables.messages[AddSa] == 4
    assert kernel.tables.sas == {}


async def test_a_missing_algorithm_is_named_with_the_kernels_words() -> None:
    """Issue 2: an algorithm the kernel lacks is refused later, by name."""
    missing = await probe(fake(ALGORITHMS - {"hmac(md5)"}), PAIRS, (4,), LAYOUT)
    assert set(missing) == {"hmac-md5-96/aes-cbc"}
    assert "AUTH_TRUNC algorithm not found" in missing["hmac-md5-96/aes-cbc"]


async def test_a_kernel_with_none_of_the_algorithms_is_unfit() -> None:
    """Issue 2: it refuses to start and names the missing thing."""
    with pytest.raises(NodeUnfit, match="none of the configured algorithms") as unfit:
        await probe(fake(frozenset()), PAIRS, (4,), LAYOUT)
    modules = "authenc echainiv hmac sha1_generic md5 cbc"
    assert unfit.value.hint == f"load their modules (modprobe {modules}) or configure others"


async def test_a_kernel_without_combined_algorithms_lacks_them_alone() -> None:
    """Each is tried with its own attribute; what else there is stays usable."""
    combined = [AlgorithmPair("null", "aes-gcm"), AlgorithmPair("aes-gmac", "null")]
    missing = await probe(
        fake(ALGORITHMS - {"rfc4106(gcm(aes))"}), [*PAIRS, *combined], (4, 6), LAYOUT
    )
    assert set(missing) == {"null/aes-gcm"}
    assert "AEAD algorithm not found" in missing["null/aes-gcm"]


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (errno.EPERM, "CAP_NET_ADMIN"),
        (errno.EACCES, "CAP_NET_ADMIN"),
        (errno.EPROTONOSUPPORT, "ESP for IPv6"),
    ],
)
async def test_what_the_daemon_cannot_do_without_is_named(number: int, named: str) -> None:
    """Issue 2: without the capability or without ESP it refuses to start."""
    kernel = fake()
    kernel.fail_message(1, number)
    with pytest.raises(NodeUnfit, match=named):
        await probe(kernel, PAIRS, (6,), LAYOUT)


async def test_a_probe_whose_answers_are_lost_says_so() -> None:
    """A start ends in words, not in a traceback."""
    kernel = fake()
    kernel.lose_answers(applied=1)
    with pytest.raises(NodeUnfit, match="answers"):
        await probe(kernel, PAIRS, (4,), LAYOUT)
