"""Hostile and broken clients: each is bounded, told or dropped, and hurts nobody else."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from sad.api.framing import MESSAGE_BYTES
from sad.api.limits import Drop, Limits
from sad.api.server import Server
from tests.support.api import (
    ASSOCIATIONS,
    SERVICE,
    Peer,
    message,
    serving,
    until,
)
from tests.support.memory_backend import MemoryBackend

INFO = f"{SERVICE}.GetInfo"
GET = f"{ASSOCIATIONS}.Get"
IMPATIENT = Limits(message_seconds=0.05, stall_seconds=0.05)


@pytest.fixture
async def backend() -> MemoryBackend:
    backend = MemoryBackend()
    backend.fill(3)
    return backend


@pytest.fixture
async def server(tmp_path: Path, backend: MemoryBackend) -> AsyncIterator[Server]:
    async with serving(tmp_path / "s", backend) as server:
        yield server


@pytest.fixture
async def peer(tmp_path: Path, server: Server) -> AsyncIterator[Peer]:
    async with Peer.connected(tmp_path / "s") as peer:
        yield peer


async def test_a_message_of_8_mb_is_refused_at_once(
    tmp_path: Path, peer: Peer, server: Server
) -> None:
    """After 64 KiB the connection is closed; others are served meanwhile and after."""
    async with Peer.connected(tmp_path / "s") as other:
        await other.call(INFO)
        begun = time.monotonic()
        peer.send(b'{"method":"' + b"x" * 8_000_000)

        assert await peer.is_hung_up_on()
        assert time.monotonic() - begun < 20
        assert "parameters" in await other.call(INFO)
    assert server.statistics().dropped == ((Drop.MESSAGE_TOO_LONG, 1),)


async def test_calls_before_an_overlong_message_are_answered(peer: Peer) -> None:
    """They were complete; then the connection ends."""
    peer.send(message(INFO) + message(GET, {"id": "000000000001"}) + b"x" * (MESSAGE_BYTES + 1))

    assert "parameters" in await peer.reply()
    assert (await peer.reply())["parameters"]["association"]["id"] == "000000000001"
    assert await peer.is_hung_up_on()


@pytest.mark.parametrize(
    "text",
    [
        b"\0",
        b"nonsense\0",
        b'{"method":"\xff\xfe"}\0',
        b'{"method":"a.B","parameters":' + b"[" * 60_000 + b"\0",
        b'{"method":"a.B","parameters":' + b"[" * 30_000 + b"]" * 30_000 + b"}\0",
        b"GET / HTTP/1.1\r\n\r\n\0",
    ],
    ids=["empty", "text", "utf8", "deep", "balanced", "http"],
)
async def test_what_is_not_json_ends_its_connection_only(
    tmp_path: Path, peer: Peer, server: Server, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What came before it is answered, what comes after is not; the daemon goes on."""
    peer.send(message(INFO) + text + message(INFO))

    assert "parameters" in await peer.reply()
    assert await peer.is_hung_up_on()
    async with Peer.connected(tmp_path / "s") as other:
        assert "parameters" in await other.call(INFO)
    assert server.statistics().dropped == ((Drop.MALFORMED_MESSAGE, 1),)
    assert not [r for r in caplog.records if r.levelno > logging.INFO]


async def test_60_000_deep_parameters_end_their_connection_only(
    tmp_path: Path, peer: Peer
) -> None:
    """No recursion error reaches the event loop."""
    peer.send(b'{"method":"' + INFO.encode() + b'","parameters":' + b"[" * 60_000 + b"\0")

    assert await peer.is_hung_up_on()
    async with Peer.connected(tmp_path / "s") as other:
        assert "parameters" in await other.call(INFO)


async def test_a_wrong_envelope_is_told_and_ends_the_connection(peer: Peer) -> None:
    """Whether such a call wants a reply cannot be known, so no reply may follow."""
    peer.send(b'{"method":"a.B","oneWay":true}\0' + message(INFO))

    assert await peer.reply() == {
        "error": f"{SERVICE}.InvalidParameter",
        "parameters": {"parameter": "oneWay"},
    }
    assert await peer.is_hung_up_on()


async def test_invalid_utf8_in_parameters_is_told_and_the_connection_stays(peer: Peer) -> None:
    """The message around them was sound, so the calls stay in step."""
    peer.send(b'{"method":"' + GET.encode() + b'","parameters":{"id":"\xff"}}\0' + message(INFO))

    assert (await peer.reply())["parameters"] == {"parameter": "parameters"}
    assert "parameters" in await peer.reply()


async def test_half_a_message_has_to_end(tmp_path: Path, backend: MemoryBackend) -> None:
    """Also if a byte comes now and then; a client with nothing begun may be silent for ever."""
    async with (
        serving(tmp_path / "s", backend, limits=IMPATIENT) as server,
        Peer.connected(tmp_path / "s") as idle,
        Peer.connected(tmp_path / "s") as half,
        Peer.connected(tmp_path / "s") as slow,
    ):
        await idle.call(INFO)
        half.send(message(INFO) + b'{"method"')
        assert "parameters" in await half.reply()
        slow.send(b" ")
        hung_up = asyncio.ensure_future(slow.is_hung_up_on())
        while not hung_up.done():  # each byte is taken before the next: never half the limit apart
            slow.send(b" ")
            await asyncio.wait({hung_up}, timeout=IMPATIENT.message_seconds / 4)

        assert await half.is_hung_up_on()
        assert hung_up.result()
        assert server.statistics().dropped == ((Drop.HALF_A_MESSAGE, 2),)
        assert "parameters" in await idle.call(INFO)


async def test_half_a_message_does_not_take_the_answer_before_it(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """The connection ends, but what had begun is answered."""
    backend.gate.clear()
    async with (
        serving(tmp_path / "s", backend, limits=IMPATIENT) as server,
        Peer.connected(tmp_path / "s") as peer,
    ):
        peer.send(message(GET, {"id": "000000000001"}) + b"{")
        loop = asyncio.get_running_loop()
        late = loop.create_future()
        loop.call_later(3 * IMPATIENT.message_seconds, late.set_result, None)
        await late
        backend.gate.set()

        assert (await peer.reply())["parameters"]["association"]["id"] == "000000000001"
        assert await peer.is_hung_up_on()
        assert server.statistics().dropped == ((Drop.HALF_A_MESSAGE, 1),)


async def test_half_a_message_behind_waiting_calls_has_to_end(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """While calls wait nothing is read and no time runs; then the limit holds from there on."""
    backend.gate.clear()
    async with (
        serving(tmp_path / "s", backend, limits=IMPATIENT) as server,
        Peer.connected(tmp_path / "s") as peer,
    ):
        peer.send(message(GET, {"id": "000000000001"}) * 300 + b"{")
        await until(lambda: len(backend.begun) == 256)
        loop = asyncio.get_running_loop()
        late = loop.create_future()
        loop.call_later(3 * IMPATIENT.message_seconds, late.set_result, None)
        await late
        assert server.statistics().dropped == ()
        backend.gate.set()

        for _ in range(300):
            assert "parameters" in await peer.reply()
        assert await peer.is_hung_up_on()
        assert server.statistics().dropped == ((Drop.HALF_A_MESSAGE, 1),)


class Deaf:
    """A client with a small receive buffer that only sends."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.fspath(path))
        self.socket.setblocking(False)

    def send(self, data: bytes) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


async def test_a_client_that_never_reads_is_bounded_and_dropped(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """It is read no further once a quarter of the limit waits, and dropped after its patience."""
    limits = Limits(stall_seconds=0.3)
    call = message(f"{SERVICE}.GetInterfaceDescription", {"interface": ASSOCIATIONS})
    async with serving(tmp_path / "s", backend, limits=limits) as server:
        with Deaf(tmp_path / "s") as deaf:
            largest = refused = 0
            while not server.statistics().dropped:
                with suppress(BrokenPipeError):
                    refused += deaf.send(call * 10) == 0
                largest = max([largest, *(len(c._outbox) for c in server._connections)])
                await asyncio.sleep(0)

        assert refused
        assert largest < limits.output_bytes
        assert server.statistics().dropped == ((Drop.NOT_READING, 1),)


async def test_replies_that_exist_already_are_bounded_too(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """Calls begun before the client stopped reading cannot pile up more than the limit."""
    backend.fill(3000)  # one Release answers with about 2 MB
    backend.gate.clear()
    async with serving(tmp_path / "s", backend) as server:
        with Deaf(tmp_path / "s") as deaf:
            call = message(f"{ASSOCIATIONS}.Release", {"privateIdentity": "x"})
            everything = message(
                f"{ASSOCIATIONS}.Release", {"privateIdentity": "001010000000001@ims.example"}
            )
            deaf.send(everything + call * 20)
            await until(lambda: len(backend.begun) == 21)
            backend.gate.set()

            await until(lambda: server.statistics().dropped)

        assert server.statistics().dropped == ((Drop.NOT_READING, 1),)


async def test_a_large_reply_reaches_a_client_that_reads(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """The limit is on what is left lying, not on the size of one answer."""
    backend.fill(3000)
    async with (
        serving(tmp_path / "s", backend) as server,
        Peer.connected(tmp_path / "s") as peer,
    ):
        reply = await peer.call(
            f"{ASSOCIATIONS}.Release", {"privateIdentity": "001010000000001@ims.example"}
        )
        assert len(reply["parameters"]["associations"]) == 3000
        assert "parameters" in await peer.call(INFO)
        assert server.statistics().dropped == ()


async def test_large_replies_to_many_calls_reach_a_client_that_reads(
    peer: Peer, server: Server
) -> None:
    """500 calls in one packet with 3 MB of replies: they are begun as replies are taken."""
    describe = message(f"{SERVICE}.GetInterfaceDescription", {"interface": ASSOCIATIONS})
    peer.send(describe * 500)

    for _ in range(500):
        assert "description" in (await peer.reply())["parameters"]
    assert server.statistics().dropped == ()


@pytest.mark.parametrize("count", [1, 4, 5, 200])
async def test_descriptors_are_refused_and_closed(peer: Peer, server: Server, count: int) -> None:
    """No method takes one: the connection ends, and none stays open here."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader, writer = os.pipe()
    sender: socket.socket = peer.writer.get_extra_info("socket")
    with socket.socket(fileno=os.dup(sender.fileno())) as raw:
        socket.send_fds(raw, [message(INFO)], [writer] * count)
    os.close(writer)

    assert await peer.is_hung_up_on()
    assert os.read(reader, 1) == b""  # every copy of the writing end is closed
    os.close(reader)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert server.statistics().dropped == ((Drop.DESCRIPTORS, 1),)
