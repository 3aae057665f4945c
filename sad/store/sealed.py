"""Sealed records: what lost SAs are made again from. The only place where keys outlive Install.

AES-256-GCM under a key of this file, derived from the sealing key. Each record is bound to its
association by associated data: the id and every parameter of the SA set, so that no record opens
for another one. Beside the journal and not in it, which holds no keys (design 8). A deleted
record is overwritten, and no log of the database keeps a copy.
"""

import logging
import os
import sqlite3
import struct
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from netlink.secret import Secret
from sad.model.association import Association
from sad.model.journal import Forget, JournalWrite
from sad.model.key_record import KeyRecord
from sad.store.batches import Batches
from sad.store.sealing_key import (
    CREDENTIAL,
    KEY_BYTES,
    RecordsUnusable,
    find_sealing_key,
    key_for_this_life,
)

log = logging.getLogger(__name__)

IN_MEMORY: Final = Path(":memory:")

_FORMAT: Final = b"sad sealed record 1"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (id TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
"""
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12  # random: safe for 2^32 records of one file
_BODY: Final = struct.Struct(">IIIB")  # leaps, received (client, server), length of IK


class SealedRecords:
    """The records of one file, or of memory. Open with :meth:`open`."""

    def __init__(self, connection: sqlite3.Connection, cipher: AESGCM, path: Path) -> None:
        self._connection = connection
        self._cipher = cipher
        self._path = path
        self._batches = Batches(connection, path, "sealed records: ")

    @classmethod
    def open(cls, path: Path, key: Secret) -> "SealedRecords":
        """Open or create; the key is not wiped. Raises RecordsUnusable, for another key too."""
        try:
            if path != IN_MEMORY:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise RecordsUnusable(
                f"{path}: {error}",
                "check that the directory exists and belongs to sad's user",
                passing=True,
            ) from error
        try:
            return cls(connection, _prepare(connection, path, key), path)
        except sqlite3.OperationalError as error:
            connection.close()
            raise RecordsUnusable(
                f"{path}: {error}",
                "check free space and permissions of its directory",
                passing=True,
            ) from error
        except sqlite3.Error as error:
            connection.close()
            raise RecordsUnusable(
                f"{path}: {error}",
                "remove the file: a set that it knew ends if the kernel loses it",
            ) from error
        except RecordsUnusable:
            connection.close()
            raise

    @property
    def lasting(self) -> bool:
        """Whether they outlive this process."""
        return self._path != IN_MEMORY

    async def put(self, association: Association, record: KeyRecord) -> None:
        """Keep a record; on return it survives the death of this process.

        Raises JournalUnavailable and keeps nothing of this call.
        """
        body = bytearray(_body_of(record))
        nonce = os.urandom(_NONCE_BYTES)
        try:
            sealed = nonce + self._cipher.encrypt(nonce, body, _bound_to(association))
        finally:
            body[:] = bytes(len(body))
        await self._batches.write(
            [("REPLACE INTO record VALUES (?, ?)", (association.id, sealed))]
        )

    def get(self, association: Association) -> KeyRecord | None:
        """Return the record of an association, None if there is none that opens for it.

        Raises JournalUnavailable. The caller wipes it.
        """
        try:
            row = self._connection.execute(
                "SELECT sealed FROM record WHERE id = ?", (association.id,)
            ).fetchone()
        except sqlite3.Error as error:
            raise self._batches.unavailable(error) from error
        if row is None:
            return None
        nonce, sealed = row[0][:_NONCE_BYTES], row[0][_NONCE_BYTES:]
        try:
            return _record_of(self._cipher.decrypt(nonce, sealed, _bound_to(association)))
        except (InvalidTag, ValueError):
            log.error("the sealed record of association %s does not open", association.id)  # noqa: TRY400 - no trace
            return None

    async def delete(self, association_ids: Collection[str]) -> None:
        """Delete records; unknown ids are ignored. Raises JournalUnavailable."""
        if association_ids:
            await self._batches.write(
                [("DELETE FROM record WHERE id = ?", (i,)) for i in association_ids]
            )

    async def retain(self, association_ids: Iterable[str]) -> None:
        """Delete every record but these. Raises JournalUnavailable."""
        try:
            rows = self._connection.execute("SELECT id FROM record").fetchall()
        except sqlite3.Error as error:
            raise self._batches.unavailable(error) from error
        await self.delete({row[0] for row in rows} - set(association_ids))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class RecordingPort(Protocol):
    """A journal."""

    def record(self, writes: Sequence[JournalWrite]) -> Awaitable[None]:
        """Record durably, or raise JournalUnavailable and record nothing."""


class JournalWithRecords:
    """A journal that forgets the sealed record of an association together with its row."""

    def __init__(self, journal: RecordingPort, records: SealedRecords) -> None:
        self._journal = journal
        self._records = records

    async def record(self, writes: Sequence[JournalWrite]) -> None:
        """Record, and delete the records of what is forgotten even if the journal refuses."""
        try:
            await self._journal.record(writes)
        finally:
            await self._records.delete([w.association_id for w in writes if isinstance(w, Forget)])


def open_records(
    path: Path, environment: Mapping[str, str], *, wanted: bool
) -> SealedRecords | None:
    """Open the records of a daemon, or leave none behind if they are not wanted.

    Without a credential they are in memory, under a key of this life: what an earlier one left
    can be opened by nobody and is removed. Raises RecordsUnusable, OSError.
    """
    key = find_sealing_key(environment) if wanted else None
    if key is None:
        for suffix in ("", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    if not wanted:
        return None
    if key is None:
        log.info("no credential %s: lost sets are rebuilt as long as sad runs", CREDENTIAL)
        path, key = IN_MEMORY, key_for_this_life()
    try:
        return SealedRecords.open(path, key)
    finally:
        key.wipe()


def _prepare(connection: sqlite3.Connection, path: Path, key: Secret) -> AESGCM:
    """Make the file ready and return the cipher of its records."""
    # No write-ahead log: it would keep what is deleted. With fsync, which costs nothing below
    # /run: numbers that were leapt over must not be used after a loss of power.
    for pragma in ("journal_mode = TRUNCATE", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if check != "ok":
        raise sqlite3.DatabaseError(check)
    connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    salt = meta.get("salt") or os.urandom(_SALT_BYTES)
    # A key for each file: how many records a sealing key seals in all the years does not matter.
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=_FORMAT)
    cipher = AESGCM(derived.derive(key.reveal()))
    if "proof" not in meta:
        nonce = os.urandom(_NONCE_BYTES)
        proof = nonce + cipher.encrypt(nonce, b"", _FORMAT)
        connection.execute("REPLACE INTO meta VALUES ('salt', ?), ('proof', ?)", (salt, proof))
        return cipher
    try:
        cipher.decrypt(meta["proof"][:_NONCE_BYTES], meta["proof"][_NONCE_BYTES:], _FORMAT)
    except (InvalidTag, ValueError) as error:
        raise RecordsUnusable(
            f"{path} was sealed with another key",
            "give sad that credential again, or remove the file: a set that it knew ends if the "
            "kernel loses it",
        ) from error
    return cipher


def _bound_to(association: Association) -> bytes:
    return b"\0".join((_FORMAT, association.id.encode(), msgspec.json.encode(association.xfrm)))


def _body_of(record: KeyRecord) -> bytes:
    integrity = record.integrity_key.reveal()
    cipher = b"" if record.cipher_key is None else record.cipher_key.reveal()
    return _BODY.pack(record.leaps, *record.received, len(integrity)) + integrity + cipher


def _record_of(body: bytes) -> KeyRecord:
    leaps, client, server, size = _BODY.unpack_from(body)
    keys = body[_BODY.size :]
    cipher = keys[size:]
    return KeyRecord(
        integrity_key=Secret(keys[:size]),
        cipher_key=Secret(cipher) if cipher else None,
        leaps=leaps,
        received=(client, server),
    )
