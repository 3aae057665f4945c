"""All writes of one turn of the loop in one transaction: what journal and sealed records share."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from sad.model.errors import JournalUnavailable

Statement: TypeAlias = tuple[str, tuple[str | bytes, ...]]


class Batches:
    """Writes into one SQLite file. ``what`` stands before the reason of a refusal."""

    def __init__(self, connection: sqlite3.Connection, path: Path, what: str = "") -> None:
        self._connection = connection
        self._path = path
        self._what = what
        self._loop: asyncio.AbstractEventLoop
        self._pending: list[tuple[Sequence[Statement], asyncio.Future[None]]] = []

    def write(self, statements: Sequence[Statement]) -> asyncio.Future[None]:
        """Write; when that is done it survives the death of this process.

        Else JournalUnavailable, with nothing written of this turn of the loop. A future and no
        coroutine: each registration awaits three.
        """
        if not self._pending:  # once a turn: it asks the kernel whether the process has forked
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._flush)
        future: asyncio.Future[None] = self._loop.create_future()
        self._pending.append((statements, future))
        return future

    def execute(self, statements: Sequence[Statement]) -> None:
        """Write at once, all or nothing. Raises sqlite3.Error."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for sql, values in statements:
                execute(sql, values)
            execute("COMMIT")
        except Exception:
            with contextlib.suppress(sqlite3.Error):  # a full disk may have rolled back itself
                execute("ROLLBACK")
            raise

    def unavailable(self, cause: Exception) -> JournalUnavailable:
        """Return the refusal of whoever wanted to write or read."""
        words = str(cause) if isinstance(cause, sqlite3.Error) else type(cause).__name__
        return JournalUnavailable(
            reason=f"{self._what}{words}",
            hint=f"check free space and permissions of {self._path.parent}",
        )

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        error: JournalUnavailable | None = None
        try:
            self.execute([s for statements, _ in pending for s in statements])
        except Exception as cause:  # noqa: BLE001 - none of the callers may wait for ever
            error = self.unavailable(cause)
        for _, future in pending:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
