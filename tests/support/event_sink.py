"""Where a test's events go, and how it waits for them."""

import asyncio
from typing import Generic

from typing_extensions import TypeVar

from netlink.model import KernelEvent

E = TypeVar("E", default=KernelEvent)


class EventSink(Generic[E]):
    """Collects events; give :meth:`take` to whoever delivers them."""

    def __init__(self) -> None:
        self.events: list[E] = []
        self._news = asyncio.Event()

    def take(self, event: E) -> None:
        self.events.append(event)
        self._news.set()

    async def wait_for_count(self, count: int, patience: float = 20) -> list[E]:
        """Return every event once there are that many."""
        async with asyncio.timeout(patience):
            while len(self.events) < count:
                await self._wait()
        return self.events

    async def wait_for(self, event: E, patience: float = 20) -> None:
        """Wait until this event has come; on failure say what came instead."""
        try:
            async with asyncio.timeout(patience):
                while event not in self.events:
                    await self._wait()
        except TimeoutError as error:
            error.add_note(f"waited for {event}; came: {self.events[-10:]}")
            raise

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()
