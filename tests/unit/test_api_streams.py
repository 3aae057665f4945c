"""List and Monitor over the socket: long lists, slow and departing readers."""

import asyncio
import gc
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sad.api.limits import Drop, Limits
from sad.api.server import Server
from sad.model.requests import Caller
from sad.model.views import WatchEvent, WatchKind
from tests.support import make
from tests.support.api import ASSOCIATIONS, SERVICE, Peer, message, serving, until
from tests.support.memory_backend import MemoryBackend

INFO = f"{SERVICE}.GetInfo"
LIST = message(f"{ASSOCIATIONS}.List", {}, more=True)
MONITOR = message(f"{ASSOCIATIONS}.Monitor", {}, more=True)


@pytest.fixture
async def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
async def server(tmp_path: Path, backend: MemoryBackend) -> AsyncIterator[Server]:
    async with serving(tmp_path / "s", backend) as server:
        yield server


@pytest.fixture
async def peer(tmp_path: Path, server: Server) -> AsyncIterator[Peer]:
    async with Peer.connected(tmp_path / "s") as peer:
        yield peer


async def test_100_000_associations_are_listed_while_others_are_served(
    tmp_path: Path, peer: Peer, server: Server, backend: MemoryBackend
) -> None:
    """Each once and in order; another connection gets its answers in between."""
    one = make.association()
    backend.associations = {str(n): one for n in range(100_000)}
    async with Peer.connected(tmp_path / "s") as other:
        peer.send(LIST)
        served_between, count, continues = 0, 0, True
        asking = asyncio.ensure_future(other.call(INFO))
        while continues:
            reply = await peer.reader.readuntil(b"\0")
            count += 1
            continues = reply.endswith(b',"continues":true}\0')
            if asking.done():
                served_between += 1
                asking = asyncio.ensure_future(other.call(INFO))
        await asking

    assert count == 100_000
    assert served_between > 100


async def test_calls_behind_a_list_are_answered_behind_it(
    peer: Peer, backend: MemoryBackend
) -> None:
    """A list waits for what is before it, and what follows waits for the list."""
    backend.fill(300)
    backend.gate.clear()
    get = message(f"{ASSOCIATIONS}.Get", {"id": "000000000007"})
    peer.send(get + LIST + message(INFO) + LIST)
    await until(lambda: backend.begun)
    backend.gate.set()

    assert (await peer.reply())["parameters"]["association"]["id"] == "000000000007"
    for expected in ("list", "info", "list"):
        if expected == "info":
            assert (await peer.reply())["parameters"]["product"] == "sad"
            continue
        replies = [await peer.reply() for _ in range(300)]
        assert [r.get("continues", False) for r in replies] == [True] * 299 + [False]


async def test_a_monitor_tells_what_is_and_what_becomes(
    peer: Peer, backend: MemoryBackend
) -> None:
    """Present ones, ready, then each change as it happens."""
    backend.fill(2)
    peer.send(MONITOR)
    told = [await peer.reply() for _ in range(3)]
    backend.put(make.association(id="new"))
    told.append(await peer.reply())
    backend.end("new")
    told.append(await peer.reply())
    backend.publish(WatchKind.RESYNC, None)
    told.append(await peer.reply())

    about = [
        (t["parameters"]["event"], (t["parameters"]["association"] or {}).get("id")) for t in told
    ]
    assert about == [
        ("present", "000000000000"),
        ("present", "000000000001"),
        ("ready", None),
        ("added", "new"),
        ("ended", "new"),
        ("resync", None),
    ]
    assert all(t["continues"] for t in told)
    assert told[4]["parameters"]["association"]["endReason"] == "released"


async def test_a_departed_monitor_leaves_nothing(
    tmp_path: Path, server: Server, backend: MemoryBackend
) -> None:
    """No descriptor, no subscription, no task: every generator is finalised."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    tasks = len(asyncio.all_tasks())
    for _ in range(5):
        async with Peer.connected(tmp_path / "s") as peer:
            peer.send(MONITOR)
            assert (await peer.reply())["parameters"]["event"] == "ready"
            assert len(backend.queues) == 1
        await until(lambda: not backend.queues)
    await until(lambda: server.statistics().connections == 0)
    gc.collect()

    assert backend.finalised == 5
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert len(asyncio.all_tasks()) == tasks
    assert server.statistics().dropped == ()


async def test_a_monitor_that_departs_with_calls_behind_it_is_noticed(
    tmp_path: Path, server: Server, backend: MemoryBackend
) -> None:
    """Calls behind a Monitor pause the reading; the hang-up is seen all the same."""
    async with Peer.connected(tmp_path / "s") as peer:
        peer.send(MONITOR + message(INFO) * 3)
        await peer.reply()

    await until(lambda: backend.finalised == 1)
    await until(lambda: server.statistics().connections == 0)


async def test_half_a_message_ends_a_monitor_with_resync(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """The rule for messages holds here, too; the stream ends with a final reply."""
    limits = Limits(message_seconds=0.05)
    async with (
        serving(tmp_path / "s", backend, limits=limits),
        Peer.connected(tmp_path / "s") as peer,
    ):
        peer.send(MONITOR + b"{")
        assert (await peer.reply())["parameters"]["event"] == "ready"

        assert await peer.reply() == {"parameters": {"event": "resync", "association": None}}
        assert await peer.is_hung_up_on()
    assert backend.finalised == 1


def stuff(path: Path, data: bytes) -> socket.socket:
    """Connect, send, and read nothing."""
    deaf = socket.socket(socket.AF_UNIX)
    deaf.connect(os.fspath(path))
    deaf.sendall(data)
    return deaf


async def drain(deaf: socket.socket) -> list[bytes]:
    """Read everything to the end of file, as messages."""
    deaf.setblocking(False)
    loop, data = asyncio.get_running_loop(), bytearray()
    while piece := await loop.sock_recv(deaf, 1 << 20):
        data += piece
    return bytes(data).split(b"\0")


async def test_a_list_nobody_reads_is_bounded_and_dropped(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """100 000 associations stay where they are: only what fits is produced."""
    backend.associations = dict.fromkeys(map(str, range(100_000)), make.association())
    limits = Limits(stall_seconds=0.1)
    async with serving(tmp_path / "s", backend, limits=limits) as server:
        largest = 0
        with stuff(tmp_path / "s", LIST):
            while not server.statistics().dropped:
                largest = max([largest, *(len(c._outbox) for c in server._connections)])
                await asyncio.sleep(0)

        assert 0 < largest < limits.output_bytes
        assert server.statistics().dropped == ((Drop.NOT_READING, 1),)


async def test_a_monitor_nobody_reads_is_dropped(tmp_path: Path, backend: MemoryBackend) -> None:
    """Its subscription ends when its patience does, and its connection after as long again."""
    backend.associations = dict.fromkeys(map(str, range(5000)), make.association())
    limits = Limits(stall_seconds=0.05)
    async with serving(tmp_path / "s", backend, limits=limits) as server:
        with stuff(tmp_path / "s", MONITOR):
            await until(lambda: backend.queues)
            await until(lambda: backend.finalised)
            await until(lambda: server.statistics().dropped)

        assert server.statistics().dropped == ((Drop.NOT_READING, 1),)
        assert server.statistics().connections == 0


async def test_a_monitor_that_wakes_up_late_reads_resync_last(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """All that had been said before comes first; the last reply says that more is missing."""
    backend.associations = dict.fromkeys(map(str, range(5000)), make.association())
    limits = Limits(stall_seconds=0.5)
    async with serving(tmp_path / "s", backend, limits=limits) as server:
        with stuff(tmp_path / "s", MONITOR) as late:
            await until(lambda: backend.finalised)
            late.shutdown(socket.SHUT_WR)
            *messages, end = await drain(late)

        replies = [json.loads(m) for m in messages]
        assert end == b""
        assert len(replies) < 5000
        assert {r["parameters"]["event"] for r in replies[:-1]} == {"present"}
        assert replies[-1] == {"parameters": {"event": "resync", "association": None}}
        assert server.statistics().dropped == ()


async def test_after_resync_the_connection_can_be_used_again(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """A late reader calls List or Monitor anew where it is."""
    backend.associations = dict.fromkeys(map(str, range(5000)), make.association())
    limits = Limits(stall_seconds=0.5)
    async with (
        serving(tmp_path / "s", backend, limits=limits),
        Peer.connected(tmp_path / "s") as peer,
    ):
        transport = peer.writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        peer.send(MONITOR)
        await until(lambda: backend.finalised)
        transport.resume_reading()
        while (last := await peer.reply()).get("continues"):
            pass

        assert last["parameters"]["event"] == "resync"
        assert "parameters" in await peer.call(INFO)


class Keeping(MemoryBackend):
    """Keeps its subscriptions, so that none ends only because nobody refers to it."""

    def subscribe(self, caller: Caller) -> AsyncIterator[WatchEvent]:
        self.kept = super().subscribe(caller)
        return self.kept


async def test_a_monitor_that_departs_in_the_middle_is_unsubscribed(tmp_path: Path) -> None:
    """While it waits for room its subscription is closed by hand, not by the garbage collector."""
    backend = Keeping()
    backend.associations = dict.fromkeys(map(str, range(5000)), make.association())
    async with serving(tmp_path / "s", backend) as server:
        with stuff(tmp_path / "s", MONITOR):
            await until(lambda: any(c._calls._room for c in server._connections))

        await until(lambda: backend.finalised == 1)
        assert backend.queues == []


async def test_a_slow_reader_delays_no_other(tmp_path: Path, backend: MemoryBackend) -> None:
    """While one Monitor is stuck, another one is told everything."""
    backend.associations = dict.fromkeys(map(str, range(5000)), make.association())
    async with serving(tmp_path / "s", backend), Peer.connected(tmp_path / "s") as peer:
        with stuff(tmp_path / "s", MONITOR):
            await until(lambda: backend.queues)
            peer.send(MONITOR)
            while (await peer.reply())["parameters"]["event"] != "ready":
                pass
            for number in range(100):
                backend.put(make.association(id=f"new-{number}"))
                told = await peer.reply()
                assert told["parameters"]["association"]["id"] == f"new-{number}"
