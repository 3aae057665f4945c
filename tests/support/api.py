"""The API on a real Unix socket, and a foreign end of it that can also misbehave."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from sad.api.authorization import AccessPolicy
from sad.api.backend import Backend
from sad.api.limits import Limits
from sad.api.listening import make_listening_socket, peer_of
from sad.api.methods import Methods
from sad.api.server import Server
from sad.model.requests import Caller
from tests.support import make
from tests.support.memory_backend import MemoryBackend

ASSOCIATIONS = "org.sipsad.Associations"
CONTROL = "org.sipsad.Control"
SERVICE = "org.varlink.service"

SIP_SERVER = Caller(uid=1000, gid=1000, pid=1)
POLICY = AccessPolicy(
    endpoint_uids=frozenset({1000, os.getuid()}), control_uids=frozenset({os.getuid()})
)


def install_parameters(**changes: Any) -> dict[str, Any]:
    """Parameters of a legal Install, by their names on the wire."""
    values: dict[str, Any] = {
        "ueAddress": make.UE_ADDRESS,
        "pcscfAddress": make.EDGE_ADDRESS,
        "spiUc": 25656,
        "spiUs": 25657,
        "portUc": 6301,
        "portUs": 6300,
        "integrityAlgorithm": "hmac-sha-1-96",
        "encryptionAlgorithm": "aes-cbc",
        "integrityKey": make.IK.hex(),
        "cipherKey": make.CK.hex(),
    }
    return {
        "endpoint": "access",
        "registration": {
            "privateIdentity": "001010000000001@ims.example",
            "publicIdentities": ["sip:+15550001@ims.example"],
        },
        "mechanism": "ipsec-3gpp",
        "ipsec3gpp": values | changes,
    }


@contextlib.asynccontextmanager
async def serving(
    path: Path,
    backend: Backend,
    *,
    policy: AccessPolicy = POLICY,
    limits: Limits | None = None,
    caller: Caller | None = SIP_SERVER,
) -> AsyncIterator[Server]:
    """Serve ``backend`` at ``path``; whoever connects is ``caller``, None: who he really is."""
    listening = make_listening_socket(path, 0o600)
    identify = peer_of if caller is None else lambda _socket: caller
    server = Server(listening.socket, Methods(backend, policy), limits, identify=identify)
    server.start()
    try:
        yield server
    finally:
        await server.close(grace_seconds=0)
        listening.close()


@contextlib.contextmanager
def serving_in_thread(
    path: Path, *, limits: Limits | None = None
) -> Iterator[tuple[MemoryBackend, Callable[[Callable[[], None]], None]]]:
    """Serve a memory backend from another thread, for clients that block.

    Yields the backend and a function that runs another one in the server's thread.
    """
    ready = threading.Event()
    made: list[tuple[MemoryBackend, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        backend = MemoryBackend(make.endpoint(uids=frozenset({os.getuid()})))
        async with serving(path, backend, limits=limits, caller=None):
            made.append((backend, asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    def run_there(function: Callable[[], None]) -> None:
        done = threading.Event()
        loop.call_soon_threadsafe(function)
        loop.call_soon_threadsafe(done.set)
        assert done.wait(10)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    backend, loop, stop = made[0]
    try:
        yield backend, run_there
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the event loop run until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition, not only one with an event
            await asyncio.sleep(0)


class Peer:
    """A client that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, path: Path) -> AsyncIterator["Peer"]:
        peer = cls(*await asyncio.open_unix_connection(path, limit=64 * 1024 * 1024))
        try:
            yield peer
        finally:
            await peer.leave()

    async def leave(self) -> None:
        """Close both directions."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def begin(self, method: str, parameters: object = None, **flags: bool) -> None:
        """Send a call and do not wait."""
        self.send(message(method, parameters, **flags))

    async def reply(self) -> dict[str, Any]:
        """Return the next reply."""
        async with asyncio.timeout(20):
            data = await self.reader.readuntil(b"\0")
        reply: dict[str, Any] = json.loads(data[:-1])
        return reply

    async def call(self, method: str, parameters: object = None, **flags: bool) -> dict[str, Any]:
        self.begin(method, parameters, **flags)
        return await self.reply()

    async def is_hung_up_on(self) -> bool:
        """Wait for the end of the connection; false if a message comes first."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


def message(method: str, parameters: object = None, **flags: bool) -> bytes:
    """A call as bytes."""
    call: dict[str, Any] = {"method": method, **flags}
    if parameters is not None:
        call["parameters"] = parameters
    return json.dumps(call).encode() + b"\0"
