"""The two edges of a connection that asyncio's own streams lack: a bounded outbox, and hang-ups.

Counterpart: :mod:`sad.api.connection`, the only user.
"""

import asyncio
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from sad.api.passing import Passed, Reply

_NO_EVENTS: Final = 0


class HangupWatch:
    """Notices that a client is gone while nothing is read from it.

    A paused reader, or one whose client only closed its writing side, sees no end of file. epoll
    reports EPOLLHUP whether asked or not, so descriptors are registered for nothing else in an
    epoll of their own, and that one is a reader of the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._on_ready)

    def add(self, connection: socket.socket, callback: Callable[[], None]) -> None:
        """Call back, once, when the other end is closed."""
        self._callbacks[connection.fileno()] = callback
        self._epoll.register(connection, _NO_EVENTS)

    def remove(self, connection: socket.socket) -> None:
        """Stop watching; no matter whether it was watched."""
        if self._callbacks.pop(connection.fileno(), None) is not None:
            self._epoll.unregister(connection)

    def close(self) -> None:
        """Stop watching anything."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._callbacks.clear()

    def _on_ready(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            callback = self._callbacks.pop(descriptor, None)
            if callback is not None:  # else an earlier callback of this round closed it
                self._epoll.unregister(descriptor)
                callback()


class Outbox:
    """Replies that wait for the client to take them, in bounded memory.

    At ``high_water`` bytes the owner should produce no more (:attr:`full`); what is put beyond
    ``limit`` bytes is lost and :attr:`overrun` says so.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        on_progress: Callable[[], None],
        *,
        high_water: int,
        limit: int,
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._on_progress = on_progress
        self._high_water = high_water
        self._limit = limit
        self._buffer = bytearray()
        self._passing: deque[tuple[int, Passed]] = deque()  # where in the buffer each begins
        self._closed = False
        self.overrun = False
        self.waiting = False
        """The client's socket takes no more."""
        self.progress_at = 0.0
        """While waiting: when the client last took something, by the loop's clock."""

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def full(self) -> bool:
        """Whether to produce no more until the client has taken some."""
        return len(self._buffer) >= self._high_water

    @property
    def passing(self) -> bool:
        """Whether descriptors wait to be sent."""
        return bool(self._passing)

    @property
    def open(self) -> bool:
        """Whether it is neither :attr:`full` nor :attr:`passing`."""
        return len(self._buffer) < self._high_water and not self._passing

    def put(self, reply: Reply) -> None:
        """Append whole messages; after :meth:`close` they go nowhere."""
        overrun = len(self._buffer) > self._limit
        if self._closed or overrun:
            self.overrun |= overrun and not self._closed
            if isinstance(reply, Passed):
                reply.close()
        elif isinstance(reply, Passed):
            self._passing.append((len(self._buffer), reply))
            self._buffer += reply.data
        else:
            self._buffer += reply

    def send(self) -> None:
        """Send what the socket takes; an OSError says that the client is gone."""
        if self._buffer and not self.waiting:
            try:
                if self._passing:
                    self._send_passing()
                del self._buffer[: self._connection.send(self._buffer)]
            except (BlockingIOError, InterruptedError):
                pass  # the socket takes no more
            if self._buffer:
                self.waiting = True
                self.progress_at = self._loop.time()
                self._loop.add_writer(self._connection, self._on_writable)

    def close(self) -> None:
        """Forget everything, now and later."""
        if self.waiting:
            self._loop.remove_writer(self._connection)
            self.waiting = False
        self._buffer.clear()
        while self._passing:
            self._passing.popleft()[1].close()
        self._closed = True

    def _send_passing(self) -> None:
        """Send up to the last reply with descriptors, each of them with its own first byte."""
        while self._passing:
            start, passed = self._passing[0]
            if start:
                self._forget(self._connection.send(bytes(self._buffer[:start])))
            else:
                sent = self._connection.sendmsg([passed.data], passed.rights)
                self._passing.popleft()
                passed.close()
                self._forget(sent)

    def _forget(self, sent: int) -> None:
        del self._buffer[:sent]
        self._passing = deque((start - sent, passed) for start, passed in self._passing)

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._connection)
        self.waiting = False
        self._on_progress()  # whose next send() goes on, or meets the error
