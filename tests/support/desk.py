"""The API's methods without a socket: callers, and a desk where they call."""

import inspect
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from sad.api.authorization import AccessPolicy
from sad.api.framing import Call
from sad.api.methods import Methods
from sad.api.streams import Stream
from sad.model.requests import Caller
from tests.support.memory_backend import MemoryBackend

SIP_SERVER = Caller(uid=1000, gid=1000, pid=1)
OPERATOR = Caller(uid=2000, gid=2000, pid=1)
STRANGER = Caller(uid=3000, gid=3000, pid=1)
POLICY = AccessPolicy(endpoint_uids=frozenset({1000}), control_uids=frozenset({2000}))


class Desk:
    """Calls methods of one memory backend and decodes the replies."""

    def __init__(self) -> None:
        self.backend = MemoryBackend()
        self.methods = Methods(self.backend, POLICY)

    async def replies(
        self, caller: Caller, method: str, parameters: object = None, *, more: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        raw = msgspec.Raw(json.dumps(parameters or {}).encode())
        begun = self.methods.begin(caller, Call(method=method, parameters=raw, more=more))
        if isinstance(begun, Stream):
            async for part in begun.replies:
                for message in part.split(b"\0")[:-1]:
                    yield json.loads(message)
        else:
            data = await begun if inspect.isawaitable(begun) else begun
            assert isinstance(data, bytes)
            yield json.loads(data[:-1])

    async def call(self, caller: Caller, method: str, parameters: object = None) -> dict[str, Any]:
        (reply,) = [r async for r in self.replies(caller, method, parameters)]
        return reply
