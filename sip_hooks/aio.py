"""Client of the daemon's socket for programs with an event loop, own user agents for instance.

The counterpart of :mod:`sip_hooks.client`, whose exceptions it raises with the same meaning; hooks
inside SIP servers use that one. Standard library only. A user agent at work::

    async with AsyncClient() as sad:
        mine = await sad.install("phone", "ue@ims.example", parameters, role="ue", seconds=600)
        await sad.confirm(mine.id, 600)
        async for event in sad.monitor():
            ...

Calls of one client go over one connection, one at a time; ``list`` and ``monitor`` have a
connection each. A call that is cancelled closes its connection, so that no late answer is taken
for another's; the daemon takes back what it had installed for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from sip_hooks.client import DEFAULT_PATH, BadReply, CallError, TimedOut, Unreachable
from sip_hooks.models import Association, Event, Flow, SaCounters

if TYPE_CHECKING:
    from typing import Self

_INTERFACE = "org.sipsad.Associations"
_REPLY_BYTES = 1024 * 1024


class _Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, path: str) -> Self:
        """Raises Unreachable."""
        try:
            return cls(*await asyncio.open_unix_connection(path, limit=_REPLY_BYTES))
        except OSError as error:
            reason = error.strerror or str(error)
            raise Unreachable(path, reason, may_have_run=False) from error

    async def send(self, call: Mapping[str, Any]) -> None:
        """Raises OSError."""
        self._writer.write(json.dumps(call, separators=(",", ":")).encode("ascii") + b"\0")
        await self._writer.drain()

    async def receive(self) -> dict[str, Any]:
        """Raises BadReply, OSError, asyncio.IncompleteReadError."""
        try:
            message = await self._reader.readuntil(b"\0")
        except asyncio.LimitOverrunError as error:
            raise BadReply("a reply is longer than 1 MiB") from error
        try:
            reply = json.loads(message[:-1])
        except (ValueError, RecursionError):  # of whose text nothing is repeated
            reply = None
        if not isinstance(reply, dict) or not isinstance(reply.get("parameters", {}), dict):
            raise BadReply("the answer is no reply of Varlink")
        return reply

    @property
    def ended(self) -> bool:
        """Whether the daemon has closed it."""
        return self._reader.at_eof()

    def close(self) -> None:
        self._writer.close()


class AsyncClient:
    """Calls the daemon's methods. ``timeout`` bounds a whole call, in seconds."""

    def __init__(self, path: str = DEFAULT_PATH, timeout: float = 5.0) -> None:
        self.path = path
        self.timeout = timeout
        self._line: _Line | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._line is not None:
            self._line.close()
            self._line = None

    async def call(
        self, method: str, parameters: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Call a method by its full name and return the parameters of its reply.

        Raises :class:`CallError`, :class:`Unreachable`, :class:`TimedOut`, :class:`BadReply`.
        """
        async with self._turn:
            try:
                reply = await asyncio.wait_for(self._exchange(method, parameters), self.timeout)
            except asyncio.TimeoutError as error:
                self.close()
                raise TimedOut(self.path, self.timeout) from error
            except BaseException:
                self.close()
                raise
        return _result(reply)

    async def stream(
        self, method: str, parameters: Mapping[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Call a method with ``more`` and yield the parameters of each reply."""
        line = await _Line.open(self.path)
        try:
            await line.send({"method": method, "parameters": parameters or {}, "more": True})
            while True:
                reply = await line.receive()
                yield _result(reply)
                if not reply.get("continues"):
                    return
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Unreachable(self.path, "the connection broke", may_have_run=True) from error
        finally:
            line.close()

    async def _exchange(self, method: str, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
        line, self._line = self._line, None
        call = {"method": method, "parameters": parameters or {}}
        if line is not None and line.ended:  # the daemon has closed it since
            line.close()
            line = None
        if line is None:
            line = await _Line.open(self.path)
        self._line = line
        try:
            await line.send(call)
            reply = await line.receive()
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Unreachable(self.path, "the connection broke", may_have_run=True) from error
        if reply.get("continues"):
            raise BadReply("one reply was expected, and there are more")
        return reply

    # --- org.sipsad.Associations, with values of sip_hooks.models ------------------------------

    async def install(
        self,
        endpoint: str,
        private_identity: str,
        parameters: Mapping[str, Any],
        *,
        mechanism: str = "ipsec-3gpp",
        field: str = "ipsec3gpp",
        role: str = "edge",
        public_identities: tuple[str, ...] = (),
        seconds: int | None = None,
    ) -> Association:
        """Install what was negotiated: ``parameters`` stand in ``field`` of ``Install``."""
        wanted: dict[str, Any] = {
            "endpoint": endpoint,
            "role": role,
            "registration": {
                "privateIdentity": private_identity,
                "publicIdentities": list(public_identities),
            },
            "mechanism": mechanism,
            field: dict(parameters),
            "lifetimeSeconds": seconds,
        }
        return await self._one("Install", wanted)

    async def confirm(
        self,
        association_id: str,
        expires_seconds: int,
        note: str | None = None,
        *,
        private_identity: str | None = None,
    ) -> Association:
        """Tell that the registration was accepted, and whose: over TLS others may be named."""
        wanted = {
            "id": association_id,
            "expiresSeconds": expires_seconds,
            "privateIdentity": private_identity,
            "note": note,
        }
        return await self._one("Confirm", wanted)

    async def take_into_use(self, association_id: str) -> Association:
        """Tell of the first request on a set."""
        return await self._one("TakeIntoUse", {"id": association_id})

    async def release(
        self, association_id: str, *, linger_seconds: int = 0, whole_registration: bool = False
    ) -> tuple[Association, ...]:
        """End an association."""
        wanted = {
            "id": association_id,
            "lingerSeconds": linger_seconds,
            "wholeRegistration": whole_registration,
        }
        reply = await self.call(f"{_INTERFACE}.Release", wanted)
        return tuple(map(Association.of, reply["associations"]))

    async def find(self, flow: Flow) -> tuple[Association, Association]:
        """Return the association that protects a flow, and the one that carries what is sent."""
        reply = await self.call(f"{_INTERFACE}.Find", {"flow": flow.parameters()})
        return Association.of(reply["association"]), Association.of(reply["outbound"])

    async def get(self, association_id: str) -> tuple[Association, tuple[SaCounters, ...]]:
        """Return one association with its counters."""
        reply = await self.call(f"{_INTERFACE}.Get", {"id": association_id})
        counters = tuple(map(SaCounters.of, reply["counters"]))
        return Association.of(reply["association"]), counters

    async def list(self, **filters: Any) -> AsyncIterator[Association]:
        """Yield associations; filters are those of ``List`` by their names there."""
        async for reply in self.stream(f"{_INTERFACE}.List", filters):
            if reply.get("association"):
                yield Association.of(reply["association"])

    async def monitor(self) -> AsyncIterator[Event]:
        """Yield changes; after ``resync`` it ends, and the list must be taken anew."""
        async for reply in self.stream(f"{_INTERFACE}.Monitor"):
            yield Event.of(reply)

    async def _one(self, method: str, parameters: Mapping[str, Any]) -> Association:
        reply = await self.call(f"{_INTERFACE}.{method}", parameters)
        return Association.of(reply["association"])


def _result(reply: Mapping[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = reply.get("parameters", {})
    error = reply.get("error")
    if error is not None:
        raise CallError(str(error), parameters)
    return parameters
