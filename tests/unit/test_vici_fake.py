"""The fake charon keeps the contract of the real one (:mod:`tests.ike.contract`)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ike.contract import CharonContract, charon
from tests.ike.fake_charon import FakeCharon

__all__ = ["charon"]


class FakeWorld:
    """The contract's view of it."""

    def __init__(self, fake: FakeCharon) -> None:
        self.fake = fake
        self.socket = str(fake.socket)

    async def start(self) -> None:
        await self.fake.start()

    async def kill(self) -> None:
        await self.fake.kill()

    async def hang(self) -> None:
        self.fake.hang()

    async def go_on(self) -> None:
        self.fake.go_on()

    async def peer_initiates(self, child: str, fault: str | None = None) -> bool:
        return self.fake.peer_initiates(child, fault)

    async def peer_deletes(self, child: str) -> None:
        self.fake.peer_deletes(child)

    async def peer_rekeys(self, child: str) -> None:
        self.fake.peer_rekeys(child)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FakeWorld]:
    fake = FakeCharon(tmp_path / "charon.vici")
    await fake.start()
    yield FakeWorld(fake)
    await fake.kill()


class TestFakeCharon(CharonContract):
    """The promises of every charon."""
