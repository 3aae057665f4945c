"""The commands of charon that ``sad`` uses.

Quick ones share one connection, one after another, which is made when it is needed. Those that
take their time (initiate, terminate) have one each: a peer that does not answer delays nobody.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from sad.vici import values
from sad.vici.codec import Message
from sad.vici.connection import Connection, failure_of
from sad.vici.errors import Abandoned, Unavailable
from sad.vici.values import IkeSa, LoadedConnection, Version

#: The first with every field of list-sas and every event that is used here.
OLDEST: Final = (5, 9)
_MILLISECONDS: Final = 1000

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long charon may take, in seconds: to take a connection, and to answer a command."""

    connect: float = 2.0
    command: float = 5.0


class Charon:
    """Commands to the charon that serves a socket. All raise Unavailable and CommandFailed."""

    def __init__(self, path: str, patience: Patience) -> None:
        self.path = path
        self.patience = patience
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close the shared connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def version(self) -> Version:
        """Return which charon it is; raise Unavailable if it is too old."""
        version = values.read_version(await self._call("version"))
        if version.numbers < OLDEST:
            raise Unavailable(
                f"strongSwan {version.version} is too old",
                f"install {'.'.join(map(str, OLDEST))} or later (Debian 12 has 5.9.8)",
            )
        return version

    async def list_sas(self, connection: str | None = None) -> tuple[IkeSa, ...]:
        """Return every IKE SA with its children, or those of one connection."""
        # Not with noblock: an IKE SA that is being worked on would be left out, as if it had gone.
        wanted = {} if connection is None else {"ike": connection}
        return await self._list("list-sas", "list-sa", wanted, values.read_ike_sas)

    async def list_connections(self) -> tuple[LoadedConnection, ...]:
        """Return the connections that are loaded."""
        return await self._list("list-conns", "list-conn", None, values.read_connections)

    async def load_connection(self, name: str, connection: Message) -> None:
        """Load or replace a connection; its live SAs stay as they are."""
        await self._call("load-conn", {name: connection})

    async def unload_connection(self, name: str) -> None:
        """Forget a connection; its live SAs stay."""
        await self._call("unload-conn", {"name": name})

    async def load_secret(
        self, secret_id: str, kind: str, data: bytes, owners: Sequence[str]
    ) -> None:
        """Load or replace a shared secret; its owners are IKE identities."""
        message = {"id": secret_id, "type": kind, "data": data, "owners": list(owners)}
        await self._call("load-shared", message)

    async def unload_secret(self, secret_id: str) -> None:
        """Forget a shared secret."""
        await self._call("unload-shared", {"id": secret_id})

    async def list_secrets(self) -> tuple[str, ...]:
        """Return the ids of the shared secrets that are loaded."""
        return values.read_names(await self._call("get-shared"), "keys")

    async def load_private_key(self, data: bytes) -> str:
        """Load a private key (DER or PEM); return its id, by which it is unloaded."""
        answer = await self._call("load-key", {"type": "any", "data": data})
        return values.read_text(answer, "id")

    async def initiate(self, child: str, ike: str, seconds: float) -> tuple[str, ...]:
        """Have a child set up; return charon's words on the way.

        Raises CommandFailed with those words if it is not up after ``seconds``.
        """
        message = {
            "child": child,
            "ike": ike,
            "timeout": int(seconds * _MILLISECONDS),
            "loglevel": 1,
        }
        told, answer = await self._alone("initiate", "control-log", message, seconds)
        log = tuple(values.read_log_line(line).text for line in told)
        failed = failure_of("initiate", answer, log)
        if failed is not None:
            raise failed
        return log

    async def terminate(self, selection: Mapping[str, object], seconds: float) -> None:
        """End SAs: ``child``, ``child-id``, ``ike``, ``ike-id``, with ``force`` for an IKE SA.

        Raises CommandFailed if there are none, or if they are still there after ``seconds``.
        """
        message = {**selection, "timeout": int(seconds * _MILLISECONDS), "loglevel": -1}
        _, answer = await self._alone("terminate", "control-log", message, seconds)
        failed = failure_of("terminate", answer)
        if failed is not None:
            raise failed

    async def rekey(self, child_id: int) -> None:
        """Have a child get new keys; returns when that has begun."""
        await self._call("rekey", {"child-id": child_id})

    # --- connections -----------------------------------------------------------------------------

    async def _call(self, command: str, message: Message | None = None) -> Message:
        return await self._on_shared(lambda c: c.call(command, message, self.patience.command))

    async def _list(
        self,
        command: str,
        event: str,
        message: Message | None,
        read: Callable[[Message], tuple[Value, ...]],
    ) -> tuple[Value, ...]:
        told, answer = await self._on_shared(
            lambda c: c.stream(command, event, message, self.patience.command)
        )
        failed = failure_of(command, answer)
        if failed is not None:
            raise failed
        return tuple(value for part in told for value in read(part))

    async def _on_shared(self, run: Callable[[Connection], Awaitable[Value]]) -> Value:
        while True:
            connection = await self._shared()
            try:
                return await run(connection)
            except Abandoned:
                continue  # a caller that hung up takes nobody with it

    async def _shared(self) -> Connection:
        if self._usable() is None:
            self.close()
            opened = await Connection.open(self.path, self.patience.connect)
            if self._usable() is None:
                self._connection = opened
            else:
                opened.close()  # somebody else was quicker
        assert self._connection is not None
        return self._connection

    def _usable(self) -> Connection | None:
        connection = self._connection
        return None if connection is None or connection.closed else connection

    async def _alone(
        self, command: str, event: str, message: Message, seconds: float
    ) -> tuple[list[Message], Message]:
        connection = await Connection.open(self.path, self.patience.connect)
        try:
            patience = seconds + self.patience.command
            return await connection.stream(command, event, message, patience)
        finally:
            connection.close()
