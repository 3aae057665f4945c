"""The journal: what it promises across crashes, damage, full disks and versions."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from sad.model.association import Phase
from sad.model.errors import JournalUnavailable
from sad.model.journal import Forget, Put
from sad.store.journal import SCHEMA_VERSION, Journal, JournalUnreadable, move_aside
from tests.support import make
from tests.support.make import CK, IK, association, second_set


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


async def test_what_was_recorded_is_there_after_reopening(path: Path) -> None:
    """Design 8: ``kill -9`` loses nothing, so nothing may wait for an orderly close."""
    journal = Journal.open(path, "boot")
    await journal.record([Put(association()), Put(second_set(phase=Phase.INSTALLING))])

    found = Journal.open(path, "boot").load()  # the first one is not closed, as after kill -9

    assert sorted(found, key=lambda a: a.id) == [
        association(),
        second_set(phase=Phase.INSTALLING),
    ]
    journal.close()


async def test_what_was_offered_is_recorded_and_older_rows_have_none(path: Path) -> None:
    """Design 8: both lists survive kill -9; a row of the version before Offer is read as it is."""
    journal = Journal.open(path, "boot")
    offered = association(offer=make.offer_record(offered_on="00000000000a"))
    await journal.record([Put(offered), Put(second_set())])
    assert sorted(journal.load(), key=lambda a: a.id) == [offered, second_set()]

    (body,) = journal._connection.execute(
        "SELECT body FROM association WHERE id = ?", (second_set().id,)
    ).fetchone()
    older = {k: v for k, v in json.loads(body).items() if k != "offer"}
    journal._connection.execute(
        "UPDATE association SET body = ? WHERE id = ?",
        (json.dumps(older).encode(), second_set().id),
    )

    assert sorted(journal.load(), key=lambda a: a.id) == [offered, second_set()]
    journal.close()


async def test_rows_are_replaced_and_forgotten(path: Path) -> None:
    """One row for each association."""
    journal = Journal.open(path, "boot")
    await journal.record([Put(association()), Put(second_set())])
    await journal.record([Put(association(deadline_at=5.0)), Forget(second_set().id)])

    assert journal.load() == [association(deadline_at=5.0)]
    journal.close()


async def test_writes_of_one_turn_share_one_transaction(path: Path) -> None:
    """Design 3: many requests of one loop turn, one journal transaction."""
    journal = Journal.open(path, "boot")
    statements: list[str] = []
    journal._connection.set_trace_callback(statements.append)

    await asyncio.gather(*(journal.record([Put(association(id=f"{n:012x}"))]) for n in range(50)))

    assert statements.count("COMMIT") == 1
    assert len(journal.load()) == 50
    journal.close()


async def test_a_journal_of_an_earlier_boot_is_emptied(path: Path) -> None:
    """Design 8: it describes this boot's kernel and dies with it."""
    journal = Journal.open(path, "boot 1")
    await journal.record([Put(association())])
    journal.close()

    journal = Journal.open(path, "boot 2")
    assert journal.load() == []
    journal.close()


async def test_a_corrupt_journal_is_refused_with_the_way_out(path: Path) -> None:
    """A damaged file is never guessed at."""
    journal = Journal.open(path, "boot")
    await journal.record([Put(association(id=f"{n:012x}")) for n in range(200)])
    journal.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)

    with pytest.raises(JournalUnreadable) as refusal:
        Journal.open(path, "boot").load()
    assert "rebuild" in refusal.value.hint


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x" * 50]
)
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    """A truncated or foreign file is refused, not overwritten."""
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(JournalUnreadable, match="corrupt"):
        Journal.open(path, "boot")
    assert path.read_bytes() == content


async def test_the_rows_of_the_first_schema_live_on(path: Path) -> None:
    """An upgrade in place keeps associations: their SA set moves to where it stands today."""
    journal = Journal.open(path, "boot")
    await journal.record([Put(association())])
    journal.close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        ((body,),) = connection.execute("SELECT body FROM association")
        row = json.loads(body)
        row["sa_set"] = row.pop("ipsec_3gpp")
        for name in ("ipsec_man", "tls", "ipsec_ike"):
            del row[name]
        connection.execute("UPDATE association SET body = ?", (json.dumps(row).encode(),))
        connection.execute("PRAGMA user_version = 1")

    upgraded = Journal.open(path, "boot")

    assert upgraded.load() == [association()]
    upgraded.close()


def test_a_newer_schema_is_refused(path: Path) -> None:
    """After a downgrade the older program must not guess."""
    Journal.open(path, "boot").close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()

    with pytest.raises(JournalUnreadable, match=f"schema {SCHEMA_VERSION + 1}"):
        Journal.open(path, "boot")


@pytest.mark.parametrize("body", [b"{}", b"{", b'{"id":"\xb0"}'])
def test_a_row_that_cannot_be_read_is_refused(path: Path, body: bytes) -> None:
    """A row of an unknown form is as bad as a damaged page."""
    journal = Journal.open(path, "boot")
    journal._connection.execute("INSERT INTO association VALUES ('x', ?)", (body,))

    with pytest.raises(JournalUnreadable, match="unreadable"):
        journal.load()
    journal.close()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The way out names the directory."""
    (tmp_path / "file").write_text("")

    with pytest.raises(JournalUnreadable) as refusal:
        Journal.open(tmp_path / "file" / "journal.sqlite", "boot")
    assert "directory" in refusal.value.hint


async def test_a_full_disk_is_a_typed_error_and_the_journal_goes_on(path: Path) -> None:
    """A full disk refuses this write, keeps the old rows and works again with space."""
    journal = Journal.open(path, "boot")
    await journal.record([Put(association())])
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(JournalUnavailable, match="full"):
        await journal.record([Put(association(id=f"{n:012x}")) for n in range(2, 500)])
    assert journal.load() == [association()]

    journal._connection.execute("PRAGMA max_page_count = 100000")
    await journal.record([Put(second_set())])
    assert len(journal.load()) == 2
    journal.close()


async def test_moving_aside_makes_room_for_a_new_journal(path: Path) -> None:
    """The damaged file is kept for whoever wants to look."""
    Journal.open(path, "boot").close()
    path.write_bytes(b"damage")

    first = move_aside(path)
    Journal.open(path, "boot").close()
    second = move_aside(path)

    assert first.read_bytes() == b"damage"
    assert first != second


async def test_no_key_is_in_the_file(path: Path) -> None:
    """The association of an install that had keys leaves none in the database or its WAL."""
    journal = Journal.open(path, "boot")
    await journal.record([Put(association())])

    content = b"".join(p.read_bytes() for p in path.parent.iterdir())
    for key in (IK, CK):
        assert key not in content
        assert key.hex().encode() not in content
    journal.close()


async def test_a_row_that_cannot_be_written_holds_up_nobody(path: Path) -> None:
    """Every caller gets an answer, and the next transaction is not caught in the broken one."""
    journal = Journal.open(path, "boot")
    endless = association(deadline_at=object())

    with pytest.raises(JournalUnavailable):
        await asyncio.wait_for(journal.record([Put(second_set()), Put(endless)]), 5)

    assert journal.load() == []
    await journal.record([Put(association())])
    assert journal.load() == [association()]
    journal.close()


async def test_only_a_damaged_file_may_be_given_up(path: Path) -> None:
    """A lock, a full disk or a permission says nothing against what is in the file."""
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(JournalUnreadable) as damaged:
        Journal.open(path, "boot")
    path.unlink()
    path.mkdir()
    with pytest.raises(JournalUnreadable) as unusable:
        Journal.open(path, "boot")

    assert (damaged.value.damaged, unusable.value.damaged) == (True, False)
