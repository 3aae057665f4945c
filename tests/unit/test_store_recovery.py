"""What is saved from a damaged journal: whole rows of this boot, and never an exception."""

import contextlib
import importlib.resources
import random
import sqlite3
import statistics
from pathlib import Path

import pytest
from msgspec import structs

from sad.model.association import Association
from sad.store import journal as journal_module
from sad.store.journal import SCHEMA_VERSION, Journal, JournalUnreadable
from sad.store.recovery import salvage
from tests.support.make import association, sa_set

PAGE = 4096


def rows(count: int) -> list[Association]:
    chosen = random.Random(4)
    return [
        association(id=f"{chosen.getrandbits(48):012x}", sa_set=sa_set(spi_uc=1000 + n))
        for n in range(count)
    ]


def written(path: Path, associations: list[Association], boot_id: str = "boot") -> bytearray:
    """A journal all of whose pages lie in its one file."""
    journal = Journal.open(path, boot_id)
    journal.begin_with(associations)
    journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.close()
    return bytearray(path.read_bytes())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_a_whole_journal_gives_every_row(path: Path) -> None:
    """Design 8: nothing is lost that can be read."""
    expected = rows(300)
    written(path, expected)

    assert sorted(salvage(path, "boot"), key=str) == sorted(expected, key=str)


def test_a_damaged_page_costs_the_rows_that_lie_on_it(path: Path) -> None:
    """Every page in turn: what is read is as it was written. An inner page costs what is below."""
    expected = {a.id: a for a in rows(300)}
    whole = written(path, list(expected.values()))
    counts = []
    for start in range(2 * PAGE, len(whole), PAGE):  # after the header's and the meta pages
        path.write_bytes(whole[:start] + b"\xa5" * PAGE + whole[start + PAGE :])
        saved = salvage(path, "boot")
        assert all(expected[a.id] == a for a in saved)
        counts.append(len(saved))
    assert min(counts) < len(expected), "no page was missed: the test damages nothing"
    assert statistics.median(counts) > 0.95 * len(expected)


def test_a_damaged_journal_of_an_older_version_is_read_by_its_ids(path: Path) -> None:
    """Its rows have no numbers: each page is a range of ids."""
    expected = {a.id: a for a in rows(300)}
    written(path, list(expected.values()))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "CREATE TABLE older (id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID"
        )
        connection.execute("INSERT INTO older SELECT * FROM association")
        connection.execute("DROP TABLE association")
        connection.execute("ALTER TABLE older RENAME TO association")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    page = whole.rfind(b'"state"') // PAGE * PAGE
    path.write_bytes(whole[:page] + b"\xa5" * PAGE + whole[page + PAGE :])

    saved = salvage(path, "boot")
    assert all(expected[a.id] == a for a in saved)
    assert 0.95 * len(expected) < len({a.id for a in saved}) == len(saved) < len(expected)


@pytest.mark.parametrize("left", [0, 100, PAGE, 5 * PAGE + 17, 20 * PAGE])
def test_a_truncated_journal_is_read_as_far_as_it_goes(path: Path, left: int) -> None:
    """No length of it raises, and no row is half a row."""
    expected = {a.id: a for a in rows(300)}
    whole = written(path, list(expected.values()))
    path.write_bytes(whole[:left])

    assert all(expected[a.id] == a for a in salvage(path, "boot"))


def test_flipped_bits_give_no_row_that_a_plan_could_not_be_made_of(path: Path) -> None:
    """A row that decodes may still be nonsense: addresses, ports, SPIs, names are looked at."""
    whole = written(path, rows(60))
    chosen = random.Random(2026)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(40):
            damaged[chosen.randrange(PAGE, len(damaged))] ^= 1 << chosen.randrange(8)
        path.write_bytes(damaged)
        for saved in salvage(path, "boot"):
            assert saved.sa_set.spi_uc > 0
            assert len(saved.id) == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"ue_address": "10.10.0.x"},
        {"ue_address": "2001:db8::1"},
        {"spi_ps": 0},
        {"spi_us": 2**32},
        {"port_us": 0},
        {"port_pc": 65536},
        {"integrity_algorithm": "hmac-sha-1-97"},
        {"encryption_algorithm": ""},
    ],
)
def test_a_row_with_an_impossible_value_is_left(path: Path, changes: dict[str, object]) -> None:
    """It decodes, and yet no plan could be made of it."""
    good, other = rows(2)
    bad = structs.replace(other, ipsec_3gpp=structs.replace(other.sa_set, **changes))
    written(path, [good, bad])

    assert salvage(path, "boot") == [good]


def test_rows_of_another_boot_are_left(path: Path) -> None:
    """Design 8: they speak of a kernel that is gone."""
    written(path, rows(3), "yesterday")

    assert salvage(path, "today") == []


def test_without_its_boot_the_rows_are_claims_for_the_kernel(path: Path) -> None:
    """SPIs and reqids are random: the comparison at start ends what is of another boot."""
    expected = rows(3)
    written(path, expected)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE meta")

    assert sorted(salvage(path, "boot"), key=str) == sorted(expected, key=str)


def test_no_file_and_no_database_give_nothing(path: Path) -> None:
    """The start goes on with an empty table."""
    assert salvage(path, "boot") == []
    path.write_bytes(b"these are no pages" * 1000)
    assert salvage(path, "boot") == []


def test_an_older_journal_is_brought_up_to_date(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version of sad opens what the old one wrote, rows and all."""
    expected = rows(2)
    written(path, expected)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "next.sql").write_text("ALTER TABLE association ADD COLUMN later TEXT;")
    later = journal_module.SCHEMA_VERSION + 1
    monkeypatch.setattr(journal_module, "MIGRATIONS", (*journal_module.MIGRATIONS, "next.sql"))
    monkeypatch.setattr(journal_module, "SCHEMA_VERSION", later)
    monkeypatch.setattr(importlib.resources, "files", lambda _name: scripts)

    journal = Journal.open(path, "boot")

    connection = journal._connection
    assert connection.execute("PRAGMA user_version").fetchone() == (later,)
    assert connection.execute("SELECT count(later) FROM association").fetchone() == (0,)
    assert sorted(journal.load(), key=str) == sorted(expected, key=str)
    journal.close()


def test_a_migration_that_fails_leaves_the_journal_as_it_was(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a step or nothing: the older version can still open it."""
    written(path, rows(2))
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "next.sql").write_text(
        "ALTER TABLE association ADD COLUMN later TEXT; SELECT * FROM nowhere;"
    )
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "MIGRATIONS", (*journal_module.MIGRATIONS, "next.sql"))
        patch.setattr(importlib.resources, "files", lambda _name: scripts)
        with pytest.raises(JournalUnreadable):
            Journal.open(path, "boot")

    journal = Journal.open(path, "boot")
    columns = journal._connection.execute("SELECT * FROM association").description
    assert [c[0] for c in columns] == ["id", "body"]
    assert len(journal.load()) == 2
    journal.close()


def test_the_hint_names_the_setting(path: Path) -> None:
    """A refusal says the way out; a newer journal is marked, its rows are not guessed at."""
    written(path, rows(1))
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(JournalUnreadable) as newer:
        Journal.open(path, "boot")
    assert newer.value.newer

    other = path.with_name("other.sqlite")
    other.write_bytes(b"\xa5" * 100 + written(other, rows(1))[100:])
    with pytest.raises(JournalUnreadable) as damaged:
        Journal.open(other, "boot")
    assert not damaged.value.newer
    assert "journal_on_corrupt" in damaged.value.hint
