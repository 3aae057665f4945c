"""Where a test's events go, and how it waits for them."""

import asyncio

from netlink.model import KernelEvent


class EventSink:
    """Collects events; give :meth:`take` to whoever delivers them."""

    def __init__(self) -> None:
        self.events: list[KernelEvent] = []
        self._news = asyncio.Event()

    def take(self, event: KernelEvent) -> None:
        self.events.append(event)
        self._news.set()

    async def wait_for_count(self, count: int, patience: float = 20) -> list[KernelEvent]:
        """Return every event once there are that many."""
        async with asyncio.timeout(patience):
            while len(self.events) < count:
                await self._wait()
        return self.events

    async def wait_for(self, event: KernelEvent, patience: float = 20) -> None:
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
