"""Lost sets come back by setting: whole, with their keys, told, and never half."""

import asyncio
import dataclasses
import errno
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from netlink.errors import DumpInterrupted
from netlink.model import AddSa, Operation, ReplayState
from netlink.secret import Secret
from sad.core.rebuilding import LEAP, MOST_LEAPS
from sad.model.association import Association, AssociationState, EndReason
from sad.model.errors import JournalUnavailable, KernelRefused
from sad.model.views import WatchEvent, WatchKind
from sad.runtime.rebuilds import MOST, PERIOD_SECONDS
from sad.store.sealed import SealedRecords
from tests.support.rebuilding import (
    everything,
    inbound,
    outbound,
    rebuilding,
    sas_of,
    settled,
    start,
    take_away,
)
from tests.support.shell import (
    SOMEBODY_ELSES_PORT,
    USER,
    Shell,
    grant_of,
    release_of,
    second_request,
    ue_request,
    until,
)
from tests.support.xfrm_values import keys_for


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    made = await start(rebuilding())
    yield made
    await made.shared.background.drain()


# --- whole again ---------------------------------------------------------------------------------


async def test_deleted_sas_come_back_and_nothing_else_is_touched(shell: Shell) -> None:
    """Same SPIs, reqids, keys and limits; numbers go on beyond what the kernel told."""
    gone = await shell.install(encryption_algorithm="aes-cbc")
    others = await shell.install(ue_request(1)), await shell.install(second_request())
    before = everything(shell)
    standing = dict(shell.tables.sas)
    for sa_id, told in {
        inbound(gone): ReplayState(received=4711),
        outbound(gone): ReplayState(sent=815),
    }.items():
        shell.tables.sas[sa_id].replay = told
        take_away(shell, sa_id)

    await settled(shell)

    assert everything(shell) == before
    assert shell.tables.sas[inbound(gone)].replay == ReplayState(received=4711)
    assert shell.tables.sas[outbound(gone)].replay == ReplayState(sent=LEAP)
    touched = {i for i, stored in shell.tables.sas.items() if stored is not standing[i]}
    assert touched == {inbound(gone), outbound(gone)}
    assert set(shell.shared.table) == {gone, *others}
    assert shell.reconciler.last is not None
    assert (shell.reconciler.last.repaired, shell.reconciler.last.ended) == (1, 0)


async def test_a_flush_leaves_every_set_as_it_was(shell: Shell) -> None:
    """All of the node's sets, without a word of the UEs; each flush leaps on."""
    sets = [await shell.install(ue_request(number)) for number in range(70)]
    before = everything(shell)
    async with shell.reconciling():
        for flushes in (1, 2):
            shell.tables.flush_sas(SOMEBODY_ELSES_PORT)
            await until(lambda: len(shell.tables.sas) == 4 * len(sets))
            sent = {shell.tables.sas[outbound(one)].replay.sent for one in sets}
            assert sent == {flushes * LEAP}

    assert everything(shell) == before
    assert list(shell.shared.table) == sets


async def test_what_was_told_once_is_not_forgotten_by_a_flush(shell: Shell) -> None:
    """Packets refused after a deletion are refused after a later flush as well."""
    installed = await shell.install()
    shell.tables.sas[inbound(installed)].replay = ReplayState(received=99)
    take_away(shell, inbound(installed))
    await settled(shell)

    shell.tables.flush_sas(SOMEBODY_ELSES_PORT)
    await settled(shell)

    assert shell.tables.sas[inbound(installed)].replay == ReplayState(received=99)


async def test_what_was_heard_is_kept_until_it_has_done_its_work(shell: Shell) -> None:
    """A comparison that fails must not cost the numbers; one that ends keeps none of them."""
    installed = await shell.install()
    shell.tables.sas[inbound(installed)].replay = ReplayState(received=99)
    take_away(shell, inbound(installed))
    await asyncio.sleep(0)
    shell.kernel.broken = [DumpInterrupted("it never held still")]
    with pytest.raises(KernelRefused):
        await shell.reconciler.reconcile("a test")

    await shell.reconciler.reconcile("a second look")

    assert shell.tables.sas[inbound(installed)].replay == ReplayState(received=99)
    assert not shell.reconciler._rebuilds.heard()


async def test_the_sip_side_is_told(shell: Shell) -> None:
    """A Monitor hears of the set; its registration goes on with it."""
    installed = await shell.install()
    events = shell.service.subscribe(USER)
    assert [(await anext(events)).kind for _ in range(2)] == [WatchKind.PRESENT, WatchKind.READY]
    heard = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)

    take_away(shell, inbound(installed))
    await settled(shell)

    assert await heard == WatchEvent(WatchKind.CHANGED, installed)


async def test_a_confirmation_on_a_lost_set_rebuilds_and_confirms_it(shell: Shell) -> None:
    """T24-P-8: whoever comes before the comparison need not register again either."""
    installed = await shell.install()
    before = everything(shell)[0].keys()
    take_away(shell, inbound(installed), outbound(installed))

    confirmed = await shell.service.confirm(USER, grant_of(installed.id, 600))

    assert confirmed.state is AssociationState.ESTABLISHED
    assert shell.tables.sas.keys() == before
    report = await shell.reconciler.reconcile("a second look")
    assert (report.repaired, report.ended) == (0, 0)


async def test_a_lifetime_goes_on_where_it_was(shell: Shell) -> None:
    """The remaining time, not a new one: the deadline is the registration's (T24-P-12)."""
    installed = await shell.install()
    shell.clock.advance(100)
    limits = shell.ends_at(installed)
    shell.tables.flush_sas(SOMEBODY_ELSES_PORT)
    await settled(shell)

    assert shell.ends_at(installed) == limits
    await shell.expire(140)
    assert shell.tables.sas == {}


# --- ended instead -------------------------------------------------------------------------------


async def ended(shell: Shell, installed: Association) -> list[EndReason | None]:
    """Compare; return why what ended has ended, and check that nothing of it is left."""
    events = shell.service.subscribe(USER)
    while (await anext(events)).kind is not WatchKind.READY:
        pass
    told = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    await settled(shell)
    assert shell.shared.table.get(installed.id) is None
    assert installed.id not in shell.journal.rows
    assert shell.shared.records is not None
    assert shell.shared.records.get(installed) is None
    event = await told
    assert event.association is not None
    return [event.association.end_reason]


async def test_without_the_setting_it_ends() -> None:
    """The default: no keys are kept, the UE registers again."""
    shell = await start(Shell())
    installed = await shell.install()
    take_away(shell, inbound(installed))

    await shell.reconciler.reconcile("a test")

    assert not len(shell.shared.table)
    assert shell.tables.sas == {}


@pytest.mark.parametrize("number", [1, 2])
async def test_a_refusing_kernel_ends_it(shell: Shell, number: int) -> None:
    """All or nothing: what could be added again goes with the rest."""
    standing = shell.snapshot
    installed = await shell.install()
    take_away(shell, inbound(installed), outbound(installed))
    shell.kernel.fail_message(number, errno.ENOMEM)

    assert await ended(shell, installed) == [EndReason.KERNEL_LOST]
    assert shell.snapshot == standing
    assert shell.shared.problem is not None


@pytest.mark.parametrize("applied", [0, 1, 2])
async def test_lost_answers_end_it(shell: Shell, applied: int) -> None:
    """What is not known to be whole is not left in force."""
    standing = shell.snapshot
    installed = await shell.install()
    take_away(shell, inbound(installed), outbound(installed))
    shell.kernel.lose_answers(applied=applied)

    # The comparison itself commits first, and finds nothing to do: it sends nothing.
    assert await ended(shell, installed) == [EndReason.KERNEL_LOST]
    assert shell.snapshot == standing


async def test_a_strangers_sa_in_its_place_stays(shell: Shell) -> None:
    """Nothing of anyone else is ever touched (design 7)."""
    installed = await shell.install()
    mine = shell.tables.sas[inbound(installed)].sa
    theirs = dataclasses.replace(mine, reqid=7)
    take_away(shell, mine.id)
    shell.tables.apply(AddSa(sa=theirs, keys=keys_for(theirs)), SOMEBODY_ELSES_PORT)

    assert await ended(shell, installed) == [EndReason.KERNEL_LOST]
    assert {i: stored.sa for i, stored in shell.tables.sas.items()} == {mine.id: theirs}


async def test_who_deletes_again_and_again_means_it(shell: Shell) -> None:
    """A few times a minute; then the set ends. Others, and later times, are not concerned."""
    installed, other = (
        await shell.install(lifetime_seconds=600),
        await shell.install(ue_request(1)),
    )
    for _ in range(MOST):
        take_away(shell, inbound(installed))
        await settled(shell)
    shell.clock.advance(PERIOD_SECONDS)
    for _ in range(MOST):
        take_away(shell, inbound(installed), inbound(other))
        await settled(shell)
    assert set(shell.shared.table) == {installed, other}

    shell.clock.advance(PERIOD_SECONDS - 1)
    take_away(shell, inbound(installed))

    assert await ended(shell, installed) == [EndReason.KERNEL_LOST]
    assert tuple(shell.shared.table) == (other,)


async def test_whose_time_is_over_is_not_rebuilt(shell: Shell) -> None:
    """T24-P-12: a set that became due while it waited for its turn only ends."""
    installed = await shell.install()
    take_away(shell, inbound(installed))
    shell.clock.advance(240)  # its timer has not fired

    assert not await shell.shared.rebuild_locked(installed.id)
    assert inbound(installed) not in shell.tables.sas


async def test_used_up_sequence_numbers_end_it(shell: Shell) -> None:
    """RFC 4303 3.3.3: they do not begin anew under the same key."""
    installed = await shell.install()
    shell.tables.sas[outbound(installed)].replay = ReplayState(sent=MOST_LEAPS * LEAP + 5)
    take_away(shell, outbound(installed))

    assert await ended(shell, installed) == [EndReason.KERNEL_LOST]


async def test_records_that_cannot_be_written_end_it(shell: Shell) -> None:
    """Without the count of leaps numbers could be used twice after a death."""
    installed = await shell.install()
    take_away(shell, inbound(installed))
    records = shell.shared.records
    assert isinstance(records, SealedRecords)
    records._connection.execute("PRAGMA query_only = ON")

    await settled(shell)

    records._connection.execute("PRAGMA query_only = OFF")
    assert shell.shared.table.get(installed.id) is None
    assert not sas_of(shell, installed)
    assert shell.shared.problem is not None
    assert "sealed records" in shell.shared.problem[0]


# --- records -------------------------------------------------------------------------------------


async def test_a_set_without_a_record_is_not_installed(shell: Shell) -> None:
    """The setting promises; what cannot be kept is refused before the kernel is asked."""
    standing = shell.snapshot
    records = shell.shared.records
    assert isinstance(records, SealedRecords)
    records._connection.execute("PRAGMA query_only = ON")

    with pytest.raises(JournalUnavailable):
        await shell.install()

    assert shell.snapshot == standing
    assert not len(shell.shared.table)


async def test_a_record_goes_when_its_set_goes(shell: Shell) -> None:
    """Released, expired, refused: whatever ends leaves no key behind."""
    records = shell.shared.records
    assert records is not None
    released, expired = await shell.install(), await shell.install(ue_request(1))
    await shell.service.release(USER, release_of(released.id))
    await shell.expire(240)
    shell.kernel.fail_message(1, errno.ENOMEM)
    with pytest.raises(KernelRefused):
        await shell.install(ue_request(2))

    for one in (released, expired):
        assert records.get(one) is None
    assert isinstance(records, SealedRecords)
    assert records._connection.execute("SELECT count(*) FROM record").fetchone() == (0,)


async def test_no_key_outlives_its_use_in_memory(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened and derived for a rebuild is wiped, whether it succeeds or not."""
    installed = await shell.install(encryption_algorithm="aes-cbc")
    seen: list[Secret] = []
    kept, commit = SealedRecords.get, type(shell.kernel).commit

    def get(self: SealedRecords, association: Association) -> Any:
        record = kept(self, association)
        if record is not None and record.cipher_key is not None:
            seen.extend((record.integrity_key, record.cipher_key))
        return record

    async def committing(self: Any, operations: Sequence[Operation]) -> Any:
        added = [o.keys for o in operations if isinstance(o, AddSa)]
        seen.extend(s for keys in added for s in (keys.integrity, keys.encryption))
        return await commit(self, operations)

    monkeypatch.setattr(SealedRecords, "get", get)
    monkeypatch.setattr(type(shell.kernel), "commit", committing)
    for broken in (False, True):
        take_away(shell, inbound(installed))
        if broken:
            shell.kernel.fail_message(1, errno.ENOMEM)
        await settled(shell)

    assert len(seen) == 8
    assert not any(any(secret.reveal()) for secret in seen)
