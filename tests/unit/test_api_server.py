"""The socket: order, pipelining, oneway, departure, shutdown."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sad.api.limits import Drop, Limits
from sad.api.server import Server
from tests.support.api import (
    ASSOCIATIONS,
    SERVICE,
    Peer,
    install_parameters,
    message,
    serving,
    until,
)
from tests.support.memory_backend import MemoryBackend

INFO = f"{SERVICE}.GetInfo"
GET = f"{ASSOCIATIONS}.Get"


@pytest.fixture
async def backend() -> MemoryBackend:
    backend = MemoryBackend()
    backend.fill(300)
    return backend


@pytest.fixture
async def server(tmp_path: Path, backend: MemoryBackend) -> AsyncIterator[Server]:
    async with serving(tmp_path / "s", backend) as server:
        yield server


@pytest.fixture
async def peer(tmp_path: Path, server: Server) -> AsyncIterator[Peer]:
    async with Peer.connected(tmp_path / "s") as peer:
        yield peer


def get(number: int) -> bytes:
    return message(GET, {"id": f"{number:012}"})


async def test_replies_come_in_the_order_of_the_calls(peer: Peer, backend: MemoryBackend) -> None:
    """Slow ones, quick ones and wrong ones in one packet: each reply in its place."""
    backend.gate.clear()
    peer.send(
        get(1) + message(INFO) + get(2) + message("org.example.X.Y") + get(999) + message(INFO)
    )
    await until(lambda: len(backend.begun) == 3)
    backend.gate.set()

    replies = [await peer.reply() for _ in range(6)]

    assert replies[0]["parameters"]["association"]["id"] == "000000000001"
    assert replies[1]["parameters"]["product"] == "sad"
    assert replies[2]["parameters"]["association"]["id"] == "000000000002"
    assert replies[3]["error"] == f"{SERVICE}.InterfaceNotFound"
    assert replies[4]["error"] == f"{ASSOCIATIONS}.NoSuchAssociation"
    assert replies[5] == replies[1]


async def test_calls_of_one_packet_begin_before_any_ends(
    peer: Peer, backend: MemoryBackend
) -> None:
    """So that their work can share one journal transaction and one netlink send."""
    backend.gate.clear()
    peer.send(b"".join(get(n) for n in range(100)))

    await until(lambda: len(backend.begun) == 100)
    backend.gate.set()

    for n in range(100):
        assert (await peer.reply())["parameters"]["association"]["id"] == f"{n:012}"


async def test_a_quick_connection_does_not_wait_for_a_slow_one(
    tmp_path: Path, peer: Peer, backend: MemoryBackend
) -> None:
    """Order is per connection only."""
    backend.gate.clear()
    peer.send(get(1))
    await until(lambda: backend.begun)

    async with Peer.connected(tmp_path / "s") as other:
        assert "parameters" in await other.call(INFO)


async def test_many_more_calls_than_may_wait_are_all_answered(
    peer: Peer, backend: MemoryBackend
) -> None:
    """10 000 in one go, of which 256 at a time are begun: none is lost, none out of order."""
    peer.send(b"".join(get(n % 300) for n in range(10_000)))

    for n in range(10_000):
        assert (await peer.reply())["parameters"]["association"]["id"] == f"{n % 300:012}"


async def test_no_more_than_256_calls_of_a_connection_are_begun(
    peer: Peer, backend: MemoryBackend
) -> None:
    """The rest waits unread, in the client's own memory in the end."""
    backend.gate.clear()
    peer.send(b"".join(get(n % 300) for n in range(2000)) + message(INFO))
    await until(lambda: len(backend.begun) >= 256)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(backend.begun) == 256

    backend.gate.set()
    for _ in range(2000):
        await peer.reply()
    assert (await peer.reply())["parameters"]["product"] == "sad"


async def test_a_message_may_come_in_pieces(peer: Peer) -> None:
    """Byte by byte, with the next one's beginning behind it."""
    for byte in message(INFO) + message(INFO)[:5]:
        peer.send(bytes([byte]))
        await peer.writer.drain()
    assert "parameters" in await peer.reply()
    peer.send(message(INFO)[5:])

    assert "parameters" in await peer.reply()


async def test_oneway_is_done_and_not_answered(peer: Peer, backend: MemoryBackend) -> None:
    """Calls that work, that fail, that stream: no reply; the next call's comes first."""
    peer.begin(f"{ASSOCIATIONS}.Release", {"id": "000000000007"}, oneway=True)
    peer.begin(f"{ASSOCIATIONS}.Release", {"id": "nonsense"}, oneway=True)
    peer.begin(f"{ASSOCIATIONS}.Release", {"wrong": 1}, oneway=True)
    peer.begin(f"{ASSOCIATIONS}.Monitor", oneway=True, more=True)
    peer.begin("org.example.X.Y", oneway=True)
    peer.begin(INFO, oneway=True)

    reply = await peer.call(GET, {"id": "000000000008"})

    assert reply["parameters"]["association"]["id"] == "000000000008"
    await until(lambda: "000000000007" not in backend.associations)
    assert backend.queues == []


async def test_more_on_a_method_with_one_answer_changes_nothing(peer: Peer) -> None:
    """One reply, and it does not continue."""
    reply = await peer.call(INFO, more=True)

    assert "continues" not in reply


async def test_upgrade_is_refused_and_the_connection_stays(peer: Peer) -> None:
    """InvalidParameter, then business as usual."""
    reply = await peer.call(INFO, upgrade=True)

    assert reply["parameters"] == {"parameter": "upgrade"}
    assert "parameters" in await peer.call(INFO)


async def test_a_client_that_leaves_takes_its_calls_with_it(
    peer: Peer, backend: MemoryBackend, server: Server
) -> None:
    """Design section 3: an Install whose client left is cancelled, so that it is rolled back."""
    backend.gate.clear()
    peer.begin(f"{ASSOCIATIONS}.Install", install_parameters())
    peer.send(get(1))
    await until(lambda: len(backend.begun) == 2)

    await peer.leave()

    await until(lambda: server.statistics().connections == 0)
    assert backend.cancelled == backend.begun
    assert server.statistics().dropped == ()


async def test_departure_is_noticed_while_nothing_is_read(
    peer: Peer, backend: MemoryBackend, server: Server
) -> None:
    """With 256 calls begun and more unread, reading is paused; a hang-up is seen all the same."""
    backend.gate.clear()
    peer.send(b"".join(get(n % 300) for n in range(600)))
    await until(lambda: len(backend.begun) == 256)

    await peer.leave()

    await until(lambda: server.statistics().connections == 0)
    assert len(backend.cancelled) == 256


async def test_oneway_survives_the_departure_of_its_client(
    peer: Peer, backend: MemoryBackend, server: Server
) -> None:
    """Whoever wants no answer may leave at once; even what was not yet begun is done."""
    backend.gate.clear()
    for number in range(300):
        peer.begin(f"{ASSOCIATIONS}.Release", {"id": f"{number:012}"}, oneway=True)
    peer.send(get(1))
    await peer.leave()
    await until(lambda: len(backend.begun) == 256)

    backend.gate.set()

    await until(lambda: server.statistics().connections == 0)
    assert backend.associations == {}
    assert backend.cancelled == []


async def test_closing_only_the_writing_side_is_not_leaving(
    peer: Peer, backend: MemoryBackend, server: Server
) -> None:
    """``printf ... | socat``: end of file comes before the answer, and the answer still comes."""
    backend.gate.clear()
    peer.send(get(1) + get(2))
    peer.writer.write_eof()
    await until(lambda: len(backend.begun) == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    backend.gate.set()

    for n in (1, 2):
        assert (await peer.reply())["parameters"]["association"]["id"] == f"{n:012}"
    assert await peer.is_hung_up_on()
    assert backend.cancelled == []


async def test_leaving_after_closing_the_writing_side_is_leaving(
    peer: Peer, backend: MemoryBackend, server: Server
) -> None:
    """The second half of the departure is noticed although the first was end of file."""
    backend.gate.clear()
    peer.send(get(1))
    peer.writer.write_eof()
    await until(lambda: backend.begun)
    assert server.statistics().connections == 1

    await peer.leave()

    await until(lambda: server.statistics().connections == 0)
    assert backend.cancelled == backend.begun


async def test_a_call_cancelled_inside_the_daemon_closes_its_connection(
    peer: Peer, backend: MemoryBackend, server: Server
) -> None:
    """Without its reply the next one would be taken for it."""
    backend.failure = asyncio.CancelledError()
    peer.send(get(1))
    peer.send(message(INFO))

    assert await peer.is_hung_up_on()
    assert server.statistics().dropped == ((Drop.UNANSWERED, 1),)


async def test_closing_answers_what_has_begun(tmp_path: Path, backend: MemoryBackend) -> None:
    """Within the grace; a Monitor gets its last words at once."""
    backend.gate.clear()
    async with (
        serving(tmp_path / "s", backend) as server,
        Peer.connected(tmp_path / "s") as caller,
        Peer.connected(tmp_path / "s") as fan,
    ):
        caller.send(get(1))
        fan.begin(f"{ASSOCIATIONS}.Monitor", more=True)
        while (await fan.reply())["parameters"]["event"] != "ready":
            pass
        assert backend.begun

        closing = asyncio.ensure_future(server.close(grace_seconds=10))
        last_words = await fan.reply()
        backend.gate.set()
        answer = await caller.reply()
        await closing

    assert last_words == {"parameters": {"event": "resync", "association": None}}
    assert answer["parameters"]["association"]["id"] == "000000000001"
    assert backend.cancelled == []
    assert backend.finalised == 1


async def test_closing_does_not_wait_for_ever(tmp_path: Path, backend: MemoryBackend) -> None:
    """After the grace everything is cancelled, oneway calls too, and nothing is left."""
    backend.gate.clear()
    async with (
        serving(tmp_path / "s", backend) as server,
        Peer.connected(tmp_path / "s") as peer,
    ):
        peer.send(get(1))
        peer.begin(f"{ASSOCIATIONS}.Release", {"id": "000000000007"}, oneway=True)
        await until(lambda: len(backend.begun) == 2)

        await server.close(grace_seconds=0.01)

        assert await peer.is_hung_up_on()
        async with Peer.connected(tmp_path / "s"):
            for _ in range(20):
                await asyncio.sleep(0)
            assert server.statistics().accepted == 1
    assert sorted(backend.cancelled) == sorted(backend.begun)
    assert server.statistics().connections == 0


async def test_a_closed_server_leaves_no_descriptor(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """What was opened for connections, watches and the listening socket is closed."""
    before = set(Path("/proc/self/fd").iterdir())
    async with (
        serving(tmp_path / "s", backend),
        Peer.connected(tmp_path / "s") as peer,
    ):
        await peer.call(INFO)
        peer.begin(f"{ASSOCIATIONS}.Monitor", more=True)
        await peer.reply()

    assert set(Path("/proc/self/fd").iterdir()) == before


async def test_a_client_may_send_before_it_is_accepted_and_read_late(
    tmp_path: Path, server: Server
) -> None:
    """A blocking client knows nothing of event loops."""

    def blocking() -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.fspath(tmp_path / "s"))
            s.sendall(message(INFO))
            s.shutdown(socket.SHUT_WR)
            data = b""
            while piece := s.recv(10):
                data += piece
        reply: dict[str, object] = json.loads(data[:-1])
        return reply

    assert "parameters" in await asyncio.to_thread(blocking)


async def test_statistics_count(tmp_path: Path, backend: MemoryBackend) -> None:
    """Connections now, accepted, refused, dropped for what."""
    limits = Limits(connections_per_uid=2)
    async with (
        serving(tmp_path / "s", backend, limits=limits) as server,
        Peer.connected(tmp_path / "s") as one,
        Peer.connected(tmp_path / "s") as two,
    ):
        await one.call(INFO)
        await two.call(INFO)
        async with Peer.connected(tmp_path / "s") as three:
            await three.reply()
        two.send(b"nonsense\0")
        await two.is_hung_up_on()
        found = server.statistics()

    assert (found.connections, found.accepted, found.refused) == (1, 2, 1)
    assert found.dropped == ((Drop.MALFORMED_MESSAGE, 1),)
