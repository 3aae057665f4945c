"""The journal over a reboot: what may go on goes on for its remaining time, and no longer."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from netlink.secret import Secret
from sad.model.association import Association
from sad.model.journal import Put
from sad.store.journal import Journal
from sad.store.sealed import IN_MEMORY, SealedRecords
from sad.store.sealing_key import key_for_this_life
from tests.support.make import association, second_set
from tests.support.rebuilding import everything, outbound, rebuilding, start
from tests.support.shell import Clock, MemoryJournal, ue_request

INIT = "net:[4026531840]"
CREATED = 1_700_000_000.0
BEGAN, BEGAN_AGAIN = CREATED - 500.0, CREATED + 300.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


async def written(
    path: Path, began: float | None = BEGAN, rows: Sequence[Association] = ()
) -> None:
    journal = Journal.open(path, f"one {INIT}", began=began)
    await journal.record([Put(a) for a in rows or (association(), second_set())])
    journal.close()


def loaded(
    path: Path, boot_id: str = f"two {INIT}", began: float | None = BEGAN_AGAIN
) -> list[Association]:
    journal = Journal.open(path, boot_id, began=began)
    try:
        return sorted(journal.load(), key=lambda a: a.id)
    finally:
        journal.close()


async def test_deadlines_stay_where_they_were_on_the_wall_clock(path: Path) -> None:
    """T24-P-12: 800 s between two boots are 800 s less of life."""
    await written(path)
    assert loaded(path) == [
        association(deadline_at=200.0, policies_until=699_200.0),
        second_set(deadline_at=200.0, policies_until=699_200.0),
    ]
    # The next start of the same boot finds them as they are.
    assert loaded(path)[0].deadline_at == 200.0


async def test_a_step_of_the_clock_moves_no_deadline_of_the_next_boot(path: Path) -> None:
    """T24-P-12: a boot that began with a clock an hour ahead gives nobody an hour more."""
    journal = Journal.open(path, f"one {INIT}", began=BEGAN + 3600)
    await journal.record([Put(association())])
    journal.note_began(BEGAN)
    journal.close()

    assert loaded(path) == [association(deadline_at=200.0, policies_until=699_200.0)]


async def test_a_step_of_the_clock_is_no_reason_to_carry_rows_over(path: Path) -> None:
    """Where sets cannot be rebuilt the journal remembers no beginning."""
    journal = Journal.open(path, f"one {INIT}")
    await journal.record([Put(association())])
    journal.note_began(BEGAN)
    journal.close()

    assert loaded(path) == []


@pytest.mark.parametrize(
    ("first", "boot_id", "began"),
    [
        (BEGAN, f"two {INIT}", None),
        (None, f"two {INIT}", BEGAN_AGAIN),
        (BEGAN, "two net:[4026532201]", BEGAN_AGAIN),
        (BEGAN, f"two {INIT}", CREATED - 1.0),
    ],
    ids=["not rebuilding", "not rebuilding before", "another namespace", "the clock was set back"],
)
async def test_what_cannot_be_told_for_certain_is_gone(
    path: Path, first: float | None, boot_id: str, began: float | None
) -> None:
    """Nothing lives longer than it was granted, or where it was not."""
    await written(path, first)
    assert loaded(path, boot_id, began) == []


async def test_a_confirmation_is_after_the_boot_that_saw_it(path: Path) -> None:
    """A clock that says otherwise was set back; the others of the journal are not concerned."""
    await written(path, rows=[association(confirmed_at=BEGAN_AGAIN + 1), second_set()])
    assert [a.id for a in loaded(path)] == [second_set().id]


async def test_a_row_that_cannot_be_read_stays_behind(path: Path) -> None:
    """It cannot be rebuilt: no reason to refuse the start."""
    await written(path)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE association SET body = x'7b7d' WHERE id = ?", (association().id,)
        )
    connection.close()
    assert [a.id for a in loaded(path)] == [second_set().id]


async def test_a_rebooted_node_has_its_sets_again(tmp_path: Path, path: Path) -> None:
    """Same keys and SPIs in an empty kernel, for the time that was left."""
    sealing = key_for_this_life()
    shell = await start(rebuilding(records=records_at(tmp_path, sealing)))
    sets = [await shell.install(ue_request(n, lifetime_seconds=600)) for n in range(3)]
    before = everything(shell)[0]
    await written(path, shell.clock.realtime() - shell.clock.boottime(), sets)

    clock = Rebooted(shell.clock, seconds_off=60.0)
    journal = MemoryJournal()
    rows = loaded(path, began=clock.realtime() - clock.boottime())
    journal.rows = {a.id: a for a in rows}
    again = await start(
        rebuilding(clock=clock, journal=journal, records=records_at(tmp_path, sealing))
    )

    assert everything(again)[0] == before
    assert again.tables.sas[outbound(sets[0])].replay.sent > 0
    await again.expire(539)
    assert len(again.shared.table) == len(sets)
    await again.expire(2)
    assert not len(again.shared.table)


class Rebooted(Clock):
    """The clocks of a machine that was off for so long."""

    def __init__(self, before: Clock, *, seconds_off: float) -> None:
        super().__init__()
        self._boottime = 5.0
        self._realtime = before.realtime() + seconds_off


def records_at(folder: Path, sealing: Secret) -> SealedRecords:
    return SealedRecords.open(folder / "sealed.sqlite", sealing)


def test_records_in_memory_do_not_last(tmp_path: Path) -> None:
    """Without a credential no row is carried over: nobody could rebuild it."""
    assert not SealedRecords.open(IN_MEMORY, key_for_this_life()).lasting
    assert records_at(tmp_path, key_for_this_life()).lasting
