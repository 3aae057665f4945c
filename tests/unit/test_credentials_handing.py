"""Credential sets over a real socket: sealed descriptors, for whose they are, none left open."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sad.api.edges import Outbox
from sad.api.passing import Passed
from sad.api.server import Server
from sad.model.requests import Caller
from sip_hooks.client import CallError, Client
from tests.support import make
from tests.support.api import (
    ASSOCIATIONS,
    CONTROL,
    POLICY,
    Peer,
    install_parameters,
    serving,
    until,
)
from tests.support.credential_maker import key_pem
from tests.support.credential_world import World, edge
from tests.support.descriptors import open_descriptors
from tests.support.memory_backend import MemoryBackend

METHOD = f"{ASSOCIATIONS}.GetCredential"
WANTED = {"endpoint": "access"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.load()
    yield world
    world.keeper.close()


@pytest.fixture
def backend(world: World) -> MemoryBackend:
    backend = MemoryBackend()
    backend.keeper = world.keeper
    return backend


@pytest.fixture
async def server(tmp_path: Path, backend: MemoryBackend) -> AsyncIterator[Server]:
    async with serving(tmp_path / "s", backend) as server:
        yield server


async def asked(path: Path, **parameters: Any) -> tuple[dict[str, Any], list[int]]:
    """Ask from another thread, as a SIP server would."""
    with Client(str(path), timeout=20) as client:
        return await asyncio.to_thread(
            client.call_for_descriptors, METHOD, {**WANTED, **parameters}
        )


def close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


async def test_the_set_comes_as_descriptors_in_the_order_of_its_indexes(
    tmp_path: Path, world: World, server: Server
) -> None:
    """Certificate, key and trust anchors; in the JSON there is nothing of them."""
    reply, descriptors = await asked(tmp_path / "s")
    texts = {
        name: (world.source / f"{name}.pem").read_bytes() for name in ("certificate", "key", "ca")
    }
    got = {name: os.read(descriptors[reply[f"{name}Index"]], 65536) for name in texts}
    inherited = [os.get_inheritable(descriptor) for descriptor in descriptors]
    close(descriptors)
    assert got == texts
    assert len(descriptors) == 3
    assert not any(inherited)
    assert reply["generation"] == world.generation()
    assert "PRIVATE" not in str(reply)


async def test_who_has_the_generation_is_told_so_without_descriptors(
    tmp_path: Path, world: World, server: Server
) -> None:
    """Null indexes, and a connection that goes on as before."""
    reply, descriptors = await asked(tmp_path / "s", knownGeneration=world.generation())
    assert descriptors == []
    assert reply["keyIndex"] is None


@pytest.mark.parametrize("uid", [0, 4711])
async def test_only_the_endpoints_users_get_it(
    tmp_path: Path, backend: MemoryBackend, uid: int
) -> None:
    """Design 5: not even root, who may look and control."""
    backend.endpoints = {"access": make.endpoint(uids=frozenset({1000}))}
    caller = Caller(uid=uid, gid=uid, pid=1)
    async with serving(tmp_path / "s", backend, policy=POLICY, caller=caller):
        with pytest.raises(CallError, match="NotPermitted"):
            await asked(tmp_path / "s")


async def test_every_operator_may_list_what_there_is(
    tmp_path: Path, world: World, server: Server
) -> None:
    """Names and dates, and why a replacement was refused; no key."""
    await world.load(edge(), key_pem("ec other"))
    async with Peer.connected(tmp_path / "s") as peer:
        (shown,) = (await peer.call(f"{CONTROL}.ListCredentials"))["parameters"]["credentials"]
    assert shown["state"] == "valid"
    assert shown["certificate"]["alternativeNames"] == [
        "URI:sip:sip.example.org",
        "DNS:sip.example.org",
    ]
    assert [r["reason"] for r in shown["refusals"]] == ["key-mismatch"]


async def test_replies_before_and_after_are_not_mixed_up(
    tmp_path: Path, world: World, server: Server
) -> None:
    """Descriptors come with the first byte of their own reply, whatever is pipelined around it."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(str(tmp_path / "s"))
        info = b'{"method":"org.varlink.service.GetInfo"}\0'
        ask = b'{"method":"%s","parameters":{"endpoint":"access"}}\0' % METHOD.encode()
        raw.sendall((info + ask) * 3 + info)

        def receive() -> tuple[list[bytes], list[int]]:
            """Messages, and for each descriptor in which of them it came.

            A receive ends behind the piece that has some; plain ones before may come along.
            """
            text, places = b"", list[int]()
            while text.count(b"\0") < 7:
                data, came, _, _ = socket.recv_fds(raw, 4096, 16)
                assert data
                text += data
                places += [text.count(b"\0") - 1] * len(came)
                close(came)
            return text.split(b"\0")[:-1], places

        messages, places = await asyncio.to_thread(receive)
    assert places == [1, 1, 1, 3, 3, 3, 5, 5, 5]
    assert [b"generation" in message for message in messages] == [False, True] * 3 + [False]


async def test_no_descriptor_is_left_open_whatever_callers_do(
    tmp_path: Path, world: World, server: Server, backend: MemoryBackend
) -> None:
    """Answered, oneway, hung up before the answer, never read, behind a call that waits."""
    gathered = open_descriptors()
    _, descriptors = await asked(tmp_path / "s")
    close(descriptors)

    async with Peer.connected(tmp_path / "s") as peer:
        peer.begin(METHOD, WANTED, oneway=True)
        await peer.call("org.varlink.service.GetInfo")

    async with Peer.connected(tmp_path / "s") as peer:
        peer.begin(METHOD, WANTED)  # nobody reads

    backend.gate.clear()
    async with Peer.connected(tmp_path / "s") as peer:
        peer.begin(f"{ASSOCIATIONS}.Install", install_parameters())
        peer.begin(METHOD, WANTED)  # its reply waits for the one before
        peer.begin(METHOD, WANTED)
        await until(lambda: "sad-key" in " ".join(open_descriptors() - gathered))
        waiting = [d for d in open_descriptors() - gathered if "memfd:sad" in d]
        assert len(waiting) == 3  # of the second call nothing is begun meanwhile
    await until(lambda: not server._connections)
    backend.gate.set()
    assert open_descriptors() <= gathered


async def test_a_client_that_does_not_read_costs_three_descriptors(
    tmp_path: Path, world: World, server: Server
) -> None:
    """However many calls it pipelines: the next one begins when the last is sent."""
    before = open_descriptors()
    with socket.socket(socket.AF_UNIX) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        raw.connect(str(tmp_path / "s"))
        raw.setblocking(False)
        ask = b'{"method":"%s","parameters":{"endpoint":"access"}}\0' % METHOD.encode()
        raw.send(ask * 250)
        most = 0
        for _ in range(500):
            await asyncio.sleep(0)
            mine = [d for d in open_descriptors() - before if "memfd:sad" in d]
            most = max(most, len(mine))
    assert most <= 3
    await until(lambda: not server._connections)
    assert not [d for d in open_descriptors() - before if "memfd:sad" in d]


async def test_the_outbox_sends_descriptors_with_their_own_first_byte() -> None:
    """Also when the socket takes a message in pieces; after the end they are closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)

        def outbox_send() -> None:
            outbox.send()

        outbox = Outbox(
            asyncio.get_running_loop(),
            ours,
            outbox_send,
            high_water=1 << 20,
            limit=1 << 20,
        )
        first, second = os.open("/dev/null", os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)
        outbox.put(b"a" * 10_000)
        outbox.put(Passed(b"b" * 10_000, (first,)))
        outbox.put(Passed(b"c" * 10_000, (second,)))
        outbox.put(b"d" * 10_000)
        outbox.send()
        got, places = b"", list[bytes]()  # the kernel lets what was before come along
        while len(got) < 40_000:
            data, came, _, _ = await asyncio.to_thread(socket.recv_fds, theirs, 65536, 4)
            places += [data[-1:]] * len(came)
            close(came)
            got += data
        assert got == b"".join(letter * 10_000 for letter in (b"a", b"b", b"c", b"d"))
        assert places == [b"b", b"c"]
        assert not outbox.passing

        third = os.open("/dev/null", os.O_RDONLY)
        outbox.close()
        outbox.put(Passed(b"e", (third,)))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(third)
