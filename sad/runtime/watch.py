"""Events to Monitor subscribers. A slow subscriber costs bounded memory, never anyone's time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from sad.model.association import Association
from sad.model.views import WatchEvent, WatchKind

#: Events kept for one subscriber; then it must start anew (RESYNC).
QUEUE_LENGTH: Final = 4096


class _Subscriber:
    def __init__(self) -> None:
        self.queue: deque[WatchEvent] = deque()
        self.wake = asyncio.Event()

    def put(self, event: WatchEvent) -> None:
        if len(self.queue) >= QUEUE_LENGTH:
            self.queue.clear()
            event = WatchEvent(WatchKind.RESYNC, None)
        self.queue.append(event)
        self.wake.set()


class Watch:
    """Fan-out of :class:`WatchEvent`."""

    def __init__(self) -> None:
        self._subscribers: set[_Subscriber] = set()

    def __len__(self) -> int:
        return len(self._subscribers)

    def publish(self, kind: WatchKind, association: Association) -> None:
        """Tell every subscriber; never waits."""
        if self._subscribers:
            event = WatchEvent(kind, association)
            for subscriber in self._subscribers:
                subscriber.put(event)

    async def subscribe(
        self, present: Callable[[], Iterable[Association]]
    ) -> AsyncIterator[WatchEvent]:
        """Yield what ``present()`` gives, READY, then changes for ever; closing it unsubscribes.

        ``present`` is asked after the subscription stands, and notes what is there when it is
        asked: nothing falls between the two.
        """
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        try:
            for association in present():
                yield WatchEvent(WatchKind.PRESENT, association)
            yield WatchEvent(WatchKind.READY, None)
            while True:
                while subscriber.queue:
                    yield subscriber.queue.popleft()
                subscriber.wake.clear()
                if not subscriber.queue:
                    await subscriber.wake.wait()
        finally:
            self._subscribers.discard(subscriber)
