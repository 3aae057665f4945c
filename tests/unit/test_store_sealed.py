"""Sealed records: bound to their set, really deleted, of no use to anybody else."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from netlink.secret import Secret
from sad.model.association import Association
from sad.model.endpoint import Role
from sad.model.errors import JournalUnavailable
from sad.model.journal import Forget, Put
from sad.model.key_record import KeyRecord
from sad.store.sealed import IN_MEMORY, JournalWithRecords, SealedRecords, open_records
from sad.store.sealing_key import RecordsUnusable, key_for_this_life
from tests.support.make import CK, IK, association, sa_set, second_set
from tests.support.sealing import SEALING, credential
from tests.support.shell import MemoryJournal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sealed.sqlite"


def opened(path: Path, key: bytes = SEALING) -> SealedRecords:
    return SealedRecords.open(path, Secret(key))


def record(**changes: object) -> KeyRecord:
    values: dict[str, object] = {"integrity_key": Secret(IK), "cipher_key": Secret(CK)}
    return KeyRecord(**(values | changes))  # type: ignore[arg-type]  # its fields by name


def said(found: KeyRecord | None) -> tuple[object, ...] | None:
    """A record as a value that compares."""
    if found is None:
        return None
    cipher = None if found.cipher_key is None else found.cipher_key.reveal()
    return found.integrity_key.reveal(), cipher, found.leaps, found.received


def sealed_rows(path: Path) -> dict[str, bytes]:
    with sqlite3.connect(path) as connection:
        rows = dict(connection.execute("SELECT id, sealed FROM record").fetchall())
    connection.close()
    return rows


def everything(path: Path) -> bytes:
    return b"".join(p.read_bytes() for p in path.parent.iterdir())


# --- keeping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cipher", [Secret(CK), None])
async def test_what_was_kept_is_there_after_a_death(path: Path, cipher: Secret | None) -> None:
    """Design 8: ``kill -9`` loses nothing, so nothing waits for an orderly close."""
    kept = record(cipher_key=cipher, leaps=3, received=(7, 0xFFFF_FFFF))
    await opened(path).put(association(), kept)

    again = opened(path)

    assert said(again.get(association())) == said(kept)
    assert again.get(second_set()) is None
    again.close()


async def test_the_newer_record_replaces_the_older(path: Path) -> None:
    """One record for each association; both are sealed with a nonce of their own."""
    records = opened(path)
    await records.put(association(), record(leaps=1))
    (older,) = sealed_rows(path).values()
    await records.put(association(), record(leaps=1))
    (newer,) = sealed_rows(path).values()
    await records.put(association(), record(leaps=2))

    assert older[:12] != newer[:12]
    assert said(records.get(association())) == said(record(leaps=2))
    assert older not in everything(path)
    records.close()


@pytest.mark.parametrize(
    "other",
    [
        association(id="00000000000f"),
        *(
            association(sa_set=sa_set(**{name: value}))
            for name, value in {
                "role": Role.UE,
                "ue_address": "10.10.0.3",
                "pcscf_address": "10.10.0.4",
                "spi_uc": 1,
                "spi_us": 1,
                "spi_pc": 1,
                "spi_ps": 1,
                "port_uc": 1,
                "port_us": 1,
                "port_pc": 1,
                "port_ps": 1,
                "integrity_algorithm": "hmac-md5-96",
                "encryption_algorithm": "aes-cbc",
            }.items()
        ),
    ],
    ids=lambda a: f"{a.id} {a.sa_set}",
)
async def test_a_record_opens_for_its_own_set_only(
    path: Path, other: Association, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever can write the file cannot give a set the keys of another one."""
    records = opened(path)
    await records.put(association(), record())
    records._connection.execute("UPDATE record SET id = ?", (other.id,))

    assert records.get(other) is None
    assert other.id in caplog.text
    assert IK.hex() not in caplog.text
    records.close()


async def test_a_record_that_was_touched_does_not_open(path: Path) -> None:
    """Neither a changed bit nor a cut record is taken for keys."""
    records = opened(path)
    await records.put(association(), record())
    (sealed,) = sealed_rows(path).values()
    flipped = bytearray(sealed)
    flipped[20] ^= 1
    for wrong in (bytes(flipped), sealed[:-1], sealed[:5], b""):
        records._connection.execute("UPDATE record SET sealed = ?", (wrong,))
        assert records.get(association()) is None
    records.close()


# --- forgetting ----------------------------------------------------------------------------------


async def test_what_is_deleted_is_overwritten(path: Path) -> None:
    """No file of the directory holds the sealed bytes any longer."""
    records = opened(path)
    for number in range(100):
        await records.put(association(id=f"{number:012x}"), record())
    rows = sealed_rows(path)
    assert all(sealed in everything(path) for sealed in rows.values())

    gone = [f"{number:012x}" for number in range(0, 100, 3)]
    await records.delete(gone)

    left = everything(path)
    assert not [i for i in gone if rows[i] in left]
    assert set(sealed_rows(path)) == rows.keys() - set(gone)
    records.close()


async def test_a_start_keeps_only_what_lives(path: Path) -> None:
    """A death between record and row leaves a record of nobody."""
    records = opened(path)
    await records.put(association(), record())
    await records.put(second_set(), record())

    await records.retain([second_set().id])

    assert list(sealed_rows(path)) == [second_set().id]
    records.close()


async def test_a_record_goes_with_its_row(path: Path) -> None:
    """What the journal forgets has no keys any more; even a journal that refuses says so late."""
    records, journal = opened(path), MemoryJournal()
    both = JournalWithRecords(journal, records)
    for one in (association(), second_set()):
        await records.put(one, record())
        await both.record([Put(one)])
    assert len(sealed_rows(path)) == 2

    await both.record([Forget(association().id)])
    assert list(sealed_rows(path)) == list(journal.rows) == [second_set().id]

    journal.full = True
    with pytest.raises(JournalUnavailable):
        await both.record([Forget(second_set().id)])
    assert not sealed_rows(path)
    records.close()


@pytest.mark.parametrize("wanted", [False, True])
async def test_records_nobody_wants_or_can_open_are_removed(
    path: Path, tmp_path: Path, *, wanted: bool
) -> None:
    """With the setting off, or without the credential, no sealed key of an earlier life stays."""
    environment = credential(tmp_path)
    for _ in range(2):  # what the first life keeps the second finds
        records = open_records(path, environment, wanted=True)
        assert records is not None
        await records.put(association(), record())
        records.close()

    after = open_records(path, {} if wanted else environment, wanted=wanted)

    assert not list(path.parent.iterdir())
    assert (after is not None) is wanted
    if after is not None:
        await after.put(association(), record())
        assert not list(path.parent.iterdir())
        after.close()


# --- secrecy -------------------------------------------------------------------------------------


async def test_no_key_is_in_any_file(path: Path) -> None:
    """Neither the sealed keys nor the sealing one, as bytes or as text."""
    records = opened(path)
    await records.put(association(), record())

    content = everything(path).lower()
    for key in (IK, CK, SEALING):
        assert key not in content
        assert key.hex().encode() not in content
    assert path.stat().st_size > 0
    records.close()


async def test_memory_keeps_records_without_a_file(tmp_path: Path) -> None:
    """Without a credential nothing is written that nobody could open later."""
    records = SealedRecords.open(IN_MEMORY, key_for_this_life())
    await records.put(association(), record())

    assert said(records.get(association())) == said(record())
    assert not list(tmp_path.iterdir())
    assert not Path(IN_MEMORY.name).exists()
    records.close()


# --- what goes wrong -----------------------------------------------------------------------------


async def test_another_key_is_refused_at_once(path: Path) -> None:
    """Not on the day of the first loss: the operator hears of it at the start."""
    records = opened(path)
    await records.put(association(), record())
    records.close()

    with pytest.raises(RecordsUnusable, match="sealed with another key") as refusal:
        opened(path, SEALING[::-1])
    assert "credential" in refusal.value.hint
    assert said(opened(path).get(association())) == said(record())


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_file_is_refused_with_the_way_out(path: Path, content: bytes) -> None:
    """It is neither guessed at nor overwritten."""
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(RecordsUnusable) as refusal:
        opened(path)
    assert "remove the file" in refusal.value.hint
    assert path.read_bytes() == content


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The way out names the directory."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsUnusable) as refusal:
        opened(tmp_path / "file" / "sealed.sqlite")
    assert "directory" in refusal.value.hint


async def test_a_full_disk_is_a_typed_error_and_the_records_go_on(path: Path) -> None:
    """A full disk refuses this one, keeps the others, and works again with space."""
    records = opened(path)
    await records.put(association(), record())
    pages = records._connection.execute("PRAGMA page_count").fetchone()[0]
    records._connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(JournalUnavailable, match="full"):
        for number in range(2, 500):
            await records.put(association(id=f"{number:012x}"), record())
    assert said(records.get(association())) == said(record())

    records._connection.execute("PRAGMA max_page_count = 100000")
    await records.put(second_set(), record())
    assert said(records.get(second_set())) == said(record())
    records.close()


async def test_a_closed_file_is_a_typed_error() -> None:
    """Whatever the database says, callers hear it as one of their own errors."""
    records = SealedRecords.open(IN_MEMORY, key_for_this_life())
    records.close()

    for call in (
        records.put(association(), record()),
        records.delete([association().id]),
        records.retain([]),
    ):
        with pytest.raises(JournalUnavailable):
            await call
    with pytest.raises(JournalUnavailable):
        records.get(association())


# --- the start -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "mode", "words"),
    [(SEALING[::-1], 0o400, "sealed with another key"), (SEALING, 0o444, "read by others")],
    ids=["another key", "open to others"],
)
def test_a_start_without_the_right_key_ends_in_words(
    path: Path, tmp_path: Path, key: bytes, mode: int, words: str
) -> None:
    """Exit status 69, with the way out and no trace: trying again helps nobody."""
    opened(path).close()
    settings = tmp_path / "sad.toml"
    settings.write_text(
        f'socket_path = "{tmp_path}/sad.sock"\nstate_directory = "{path.parent}"\n'
        'on_kernel_loss = "rebuild"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "sad", "--config", str(settings)],
        env=os.environ | credential(tmp_path, key, mode),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 69, done.stderr
    assert f"cannot use the sealed records: {path.parent.parent}" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
