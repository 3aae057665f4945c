"""Rebuilding over the lives of the daemon: restarts, and deaths in the middle of it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from netlink.errors import KernelError
from netlink.model import AddSa, Operation
from netlink.secret import Secret
from sad.core.rebuilding import LEAP
from sad.store.sealed import SealedRecords
from sad.store.sealing_key import key_for_this_life
from tests.support.rebuilding import (
    everything,
    inbound,
    memory,
    outbound,
    rebuilding,
    sas_of,
    start,
    take_away,
)
from tests.support.shell import SOMEBODY_ELSES_PORT, USER, Shell, release_of, ue_request


def next_life(shell: Shell, **changes: Any) -> Shell:
    return rebuilding(tables=shell.tables, journal=shell.journal, clock=shell.clock, **changes)


@pytest.fixture
def sealing() -> Secret:
    return key_for_this_life()


def records_at(folder: Path, sealing: Secret) -> SealedRecords:
    return SealedRecords.open(folder / "sealed.sqlite", sealing)


async def test_a_start_rebuilds_what_was_lost_before_it(tmp_path: Path, sealing: Secret) -> None:
    """With a credential the records outlive the daemon; the numbers leap on over its lives."""
    shell = await start(rebuilding(records=records_at(tmp_path, sealing)))
    installed = await shell.install()
    before = everything(shell)

    for lives in (1, 2):
        shell.tables.sas.clear()
        shell = await start(next_life(shell, records=records_at(tmp_path, sealing)))
        assert everything(shell) == before
        assert shell.tables.sas[outbound(installed)].replay.sent == lives * LEAP


async def test_without_its_records_a_start_ends_what_was_lost() -> None:
    """Without a credential nothing of the earlier life can be made again, and nobody pretends."""
    shell = await start(rebuilding())
    standing = shell.snapshot
    kept, lost = await shell.install(ue_request(1)), await shell.install()
    take_away(shell, inbound(lost))

    shell = await start(next_life(shell, records=memory()))

    assert tuple(shell.shared.table) == (kept,)
    await shell.service.release(USER, release_of(kept.id))
    assert shell.snapshot == standing


@pytest.mark.parametrize("added", range(5))
async def test_a_death_in_the_middle_of_a_rebuild_leaves_nothing_half(
    tmp_path: Path, sealing: Secret, added: int
) -> None:
    """Design 8: whatever the dead daemon had added, the next start makes the set whole."""
    shell = await start(rebuilding(records=records_at(tmp_path, sealing)))
    installed = await shell.install()
    before = everything(shell)
    shell.tables.flush_sas(SOMEBODY_ELSES_PORT)

    async def die(operations: Sequence[Operation]) -> tuple[KernelError | None, ...]:
        for operation in [o for o in operations if isinstance(o, AddSa)][:added]:
            shell.tables.apply(operation, shell.kernel.port_id)
        raise asyncio.CancelledError

    shell.kernel.commit = die  # type: ignore[method-assign]  # its last breath
    with pytest.raises(asyncio.CancelledError):
        await shell.reconciler.reconcile("a test")
    assert len(sas_of(shell, installed)) == added

    shell = await start(next_life(shell, records=records_at(tmp_path, sealing)))

    assert everything(shell) == before
    sent = shell.tables.sas[outbound(installed)].replay.sent
    assert sent == (LEAP if added >= 3 else 2 * LEAP)


async def test_a_start_forgets_records_of_nobody(tmp_path: Path, sealing: Secret) -> None:
    """A death between record and row, or between row and record, leaves no key for ever."""
    records = records_at(tmp_path, sealing)
    shell = await start(rebuilding(records=records))
    kept, gone = await shell.install(), await shell.install(ue_request(1))
    del shell.journal.rows[gone.id]

    shell = await start(next_life(shell, records=records_at(tmp_path, sealing)))

    assert shell.shared.records is not None
    assert shell.shared.records.get(kept) is not None
    assert shell.shared.records.get(gone) is None
