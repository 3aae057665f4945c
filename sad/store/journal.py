"""The journal in SQLite: intent before the kernel, result after it.

It lives in /run and describes this boot's kernel, so it needs no fsync: it must survive the
death of the process, not of the machine. All writes of one loop turn share one transaction.
"""

import importlib.resources
import sqlite3
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import structs

from sad.model.association import Association
from sad.model.journal import JournalWrite, Put
from sad.store.batches import Batches, Statement
from sad.store.reboot import enter_boot

#: Each script brings a journal from the version of its place to the next: a journal of an older
#: version of sad is brought up to date when it is opened, in one transaction.
MIGRATIONS: Final = ("schema.sql", "schema2.sql", "schema3.sql")
SCHEMA_VERSION: Final = len(MIGRATIONS)

#: Not REPLACE, which deletes and inserts: the row and its index stay where they are.
_PUT: Final = (
    "INSERT INTO association VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body"
)
_FORGET: Final = "DELETE FROM association WHERE id = ?"

_REBUILD_HINT: Final = (
    "set journal_on_corrupt = 'rebuild': what can be read and what the kernel confirms is kept, "
    "everything else of ours is ended; or move the file away, which ends all of it"
)


class JournalUnreadable(Exception):
    """The journal file cannot be used; ``hint`` is the way out.

    ``damaged`` is false if the file itself may be whole: a full disk, a lock, a permission.
    ``newer``: written by a later version of sad, so what its rows mean is not known.
    """

    def __init__(
        self, reason: str, hint: str, *, damaged: bool = True, newer: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.damaged = damaged
        self.newer = newer


class Journal:
    """The association rows of this boot. Open with :meth:`open`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Association)
        self._batches = Batches(connection, path)

    @classmethod
    def open(cls, path: Path, boot_id: str, *, began: float | None = None) -> "Journal":
        """Open or create. A journal of an earlier boot is emptied: its kernel is gone.

        Unless ``began`` says when this boot began: then its rows are carried over
        (:mod:`sad.store.reboot`).

        Raises JournalUnreadable for a file that is corrupt, of a newer schema, or not writable.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise JournalUnreadable(
                f"{path}: {error}",
                "check that the directory exists and belongs to sad's user",
                damaged=False,
            ) from error
        try:
            cls._prepare(connection, path, boot_id, began)
        except sqlite3.OperationalError as error:
            connection.close()
            raise JournalUnreadable(
                f"{path}: {error}",
                "check free space and permissions of its directory",
                damaged=False,
            ) from error
        except sqlite3.DatabaseError as error:
            connection.close()
            raise JournalUnreadable(f"{path} is corrupt: {error}", _REBUILD_HINT) from error
        except JournalUnreadable:
            connection.close()
            raise
        return cls(connection, path)

    @staticmethod
    def _prepare(
        connection: sqlite3.Connection, path: Path, boot_id: str, began: float | None
    ) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise JournalUnreadable(
                f"{path} has schema {version}, this version knows up to {SCHEMA_VERSION}",
                "start the newer version of sad, or move the file away: the associations it "
                "knew are then ended",
                newer=True,
            )
        scripts = importlib.resources.files("sad.store")
        for number, name in enumerate(MIGRATIONS[version:], start=version + 1):
            script = scripts.joinpath(name).read_text()
            connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
        check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if check != "ok":
            raise sqlite3.DatabaseError(check)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            enter_boot(connection, boot_id, began)

    def load(self) -> list[Association]:
        """Return every row. Raises JournalUnreadable for a row this version cannot read."""
        try:
            rows = self._connection.execute("SELECT body FROM association")
            shared = _Shared()
            return [shared.of(self._decoder.decode(body)) for (body,) in rows]
        except (sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
            raise JournalUnreadable(
                f"{self._path}: a row is unreadable: {error}", _REBUILD_HINT
            ) from error

    def begin_with(self, associations: Sequence[Association]) -> None:
        """Record at once what a new journal begins with. Raises JournalUnreadable."""
        try:
            self._batches.execute([self._statement(Put(a)) for a in associations])
        except sqlite3.Error as error:
            raise JournalUnreadable(
                f"{self._path}: {error}",
                "check free space and permissions of its directory",
                damaged=False,
            ) from error

    def note_began(self, began: float) -> None:
        """Note anew when this boot began: the real-time clock was set.

        Else the next boot would move every deadline by the step. A journal that was opened
        without such an instant keeps none. Raises JournalUnavailable.
        """
        try:
            self._connection.execute(
                "UPDATE meta SET value = ? WHERE key = 'began'", (repr(began),)
            )
        except sqlite3.Error as error:
            raise self._batches.unavailable(error) from error

    def record(self, writes: Sequence[JournalWrite]) -> Awaitable[None]:
        """Record; when that is done the writes survive the death of this process.

        Raises JournalUnavailable, at once or in its place, and records nothing of this call.
        """
        try:
            statements = [self._statement(write) for write in writes]
        except Exception as error:
            raise self._batches.unavailable(error) from error
        return self._batches.write(statements)

    def _statement(self, write: JournalWrite) -> Statement:
        if isinstance(write, Put):
            association = write.association
            return _PUT, (association.id, self._encoder.encode(association))
        return _FORGET, (write.association_id,)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class _Shared:
    """What many associations hold alike, held once: texts of an endpoint, and ports."""

    def __init__(self) -> None:
        self._ports: dict[int, int] = {}

    def of(self, association: Association) -> Association:
        """Return an association that has just been read, with what others hold, too."""
        sa_set = association.ipsec_3gpp
        if sa_set is not None:
            port = self._ports.setdefault
            sa_set = structs.replace(
                sa_set,
                pcscf_address=sys.intern(sa_set.pcscf_address),
                integrity_algorithm=sys.intern(sa_set.integrity_algorithm),
                encryption_algorithm=sys.intern(sa_set.encryption_algorithm),
                port_uc=port(sa_set.port_uc, sa_set.port_uc),
                port_us=port(sa_set.port_us, sa_set.port_us),
                port_pc=port(sa_set.port_pc, sa_set.port_pc),
                port_ps=port(sa_set.port_ps, sa_set.port_ps),
            )
        return structs.replace(
            association,
            endpoint=sys.intern(association.endpoint),
            mechanism=sys.intern(association.mechanism),
            ipsec_3gpp=sa_set,
        )


def move_aside(path: Path) -> Path:
    """Rename an unreadable journal (with its WAL) so that a new one can be made."""
    number = 1
    while (target := path.with_name(f"{path.name}.unreadable-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.rename(target.with_name(target.name + suffix))
    if path.exists():
        path.rename(target)
    return target
