"""How many connections there may be, and what one too many is told."""

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sad.api.limits import Limits
from sad.model.requests import Caller
from tests.support.api import (
    ASSOCIATIONS,
    CONTROL,
    SERVICE,
    SIP_SERVER,
    Peer,
    serving,
    until,
)
from tests.support.memory_backend import MemoryBackend

INFO = f"{SERVICE}.GetInfo"


@pytest.fixture
async def backend() -> MemoryBackend:
    backend = MemoryBackend()
    backend.fill(3)
    return backend


async def test_connections_of_one_user_are_counted(
    tmp_path: Path, backend: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """One too many is told Busy in answer to its call; when one leaves, there is room again."""
    limits = Limits(connections=10, connections_per_uid=2)
    async with (
        serving(tmp_path / "s", backend, limits=limits) as server,
        Peer.connected(tmp_path / "s") as one,
        Peer.connected(tmp_path / "s") as two,
    ):
        await one.call(INFO)
        await two.call(INFO)
        for _ in range(3):
            async with Peer.connected(tmp_path / "s") as three:
                refusal = await three.call(INFO)
                assert refusal["error"] == f"{ASSOCIATIONS}.Busy"
                assert refusal["parameters"]["retryAfterMilliseconds"] > 0
                assert f"uid {SIP_SERVER.uid}" in refusal["parameters"]["reason"]
                assert await three.is_hung_up_on()
        await two.leave()
        await until(lambda: server.statistics().connections == 1)
        async with Peer.connected(tmp_path / "s") as three:
            assert "error" not in await three.call(INFO)
        await one.leave()
        await until(lambda: server.statistics().connections == 0)
        assert not server._of_uid  # nor is anything kept of users who have left
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1


async def test_one_user_cannot_take_all_connections(tmp_path: Path) -> None:
    """Limits are per uid and over all; each has its own words."""
    callers: list[Caller] = []
    limits = Limits(connections=3, connections_per_uid=2)
    async with (
        serving(tmp_path / "s", MemoryBackend(), limits=limits, caller=None) as server,
        AsyncExitStack() as stack,
    ):
        server._identify = lambda _socket: callers[-1]

        async def connect(uid: int) -> dict[str, Any]:
            callers.append(Caller(uid=uid, gid=uid, pid=1))
            peer = await stack.enter_async_context(Peer.connected(tmp_path / "s"))
            return await peer.call(INFO)

        replies = [await connect(uid) for uid in (1, 1, 1, 2, 3)]

    reasons = [r["parameters"].get("reason") for r in replies]
    assert [reason is None for reason in reasons] == [True, True, False, True, False]
    assert "uid 1" in reasons[2]
    assert "all 3 connections" in reasons[4]


async def test_refused_connections_do_not_pile_up(tmp_path: Path, backend: MemoryBackend) -> None:
    """Silent ones are closed for newer ones, and all of them with the server."""
    limits = Limits(connections=1)
    async with (
        serving(tmp_path / "s", backend, limits=limits) as server,
        AsyncExitStack() as stack,
    ):
        first = await stack.enter_async_context(Peer.connected(tmp_path / "s"))
        await first.call(INFO)
        silent = [
            await stack.enter_async_context(Peer.connected(tmp_path / "s")) for _ in range(80)
        ]
        for peer in silent:
            assert (await peer.reply())["error"] == f"{ASSOCIATIONS}.Busy"

        assert len(server._refused) <= 32
        assert server.statistics().refused == 80
        assert "parameters" in await first.call(f"{CONTROL}.GetStatus")


async def test_without_descriptors_accepting_rests(
    tmp_path: Path, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMFILE does not spin the event loop: the listener is left alone, then tried again."""
    monkeypatch.setattr("sad.api.server._PAUSE_SECONDS", 0.05)
    async with serving(tmp_path / "s", backend) as server:
        loop, listening, failures = asyncio.get_running_loop(), server._listening, []
        begun = loop.time()

        class Exhausted:
            def accept(self) -> None:
                failures.append(loop.time())
                if loop.time() > begun + 0.3:
                    server._listening = listening
                raise OSError(24, "Too many open files")

            def fileno(self) -> int:
                return listening.fileno()

        server._listening = Exhausted()  # type: ignore[assignment]  # has what accept needs
        async with Peer.connected(tmp_path / "s") as peer:
            assert "parameters" in await peer.call(INFO)
        assert 1 < len(failures) <= 8
