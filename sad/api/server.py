"""Accepts connections on a listening Unix socket, identifies and counts their owners.

The counterpart of :mod:`sad.api.connection`, which serves each of them, and of
:mod:`sad.api.listening`, which makes the socket.
"""

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sad.api import connection
from sad.api.connection import Connection
from sad.api.edges import HangupWatch
from sad.api.limits import Drop, Limits
from sad.api.listening import peer_of
from sad.model.requests import Caller

_log: Final = logging.getLogger(__name__)

_ACCEPTED_AT_ONCE: Final = 64
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS: Final = 1.0
"""How long nothing is accepted when the system has no descriptor left."""

_LOG_REFUSALS_SECONDS: Final = 60.0
"""Not more than one line about refused connections in so long: a client can cause them at will."""

_REFUSED_KEPT: Final = 32
_REFUSED_SECONDS: Final = 1.0
"""So many refused connections stay open so long, for their clients to read why."""


class Dispatcher(connection.Dispatcher, Protocol):
    """What the server serves: :class:`sad.api.methods.Methods`."""

    def refuse_connection(self, reason: str) -> bytes:
        """Return what a connection that is one too many is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """Connections now, and since the start: accepted, refused for their number, dropped."""

    connections: int
    accepted: int
    refused: int
    dropped: tuple[tuple[Drop, int], ...]


class Server:
    """Serves ``dispatcher`` on ``listening``, which stays the owner's to close.

    Made inside the running event loop. ``identify`` says who connected.
    """

    def __init__(
        self,
        listening: socket.socket,
        dispatcher: Dispatcher,
        limits: Limits | None = None,
        *,
        identify: Callable[[socket.socket], Caller] = peer_of,
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._dispatcher = dispatcher
        self._limits = limits or Limits()
        self._identify = identify
        self._loop = asyncio.get_running_loop()
        self._hangups = HangupWatch(self._loop)
        self._connections: set[Connection] = set()
        self._of_uid: Counter[int] = Counter()
        self._refused: dict[socket.socket, asyncio.TimerHandle] = {}
        self._resume: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._accepted_count = 0
        self._refused_count = 0
        self._dropped: Counter[Drop] = Counter()
        self._closing = False
        self._refusal_logged_at: float | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._loop.add_reader(self._listening, self._on_connections)

    def connected_uids(self) -> Mapping[int, int]:
        """Return how many connections each user has."""
        return dict(self._of_uid)

    def statistics(self) -> ServerStatistics:
        """Return the counts as they stand."""
        return ServerStatistics(
            connections=len(self._connections),
            accepted=self._accepted_count,
            refused=self._refused_count,
            dropped=tuple(sorted(self._dropped.items())),
        )

    async def close(self, grace_seconds: float = 2.0) -> None:
        """Accept no more; answer what has begun within the grace, then cancel what is left.

        Streams end with their last words at once. A second call does nothing.
        """
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._listening)
        if self._resume is not None:
            self._resume.cancel()
        for refused in list(self._refused):
            self._end_refused(refused)
        for open_connection in list(self._connections):
            open_connection.finish()
        try:
            await asyncio.wait_for(self._quiet.wait(), grace_seconds)
        except TimeoutError:
            for open_connection in list(self._connections):
                open_connection.cancel()
            await self._quiet.wait()
        finally:
            self._hangups.close()

    # --- accept ------------------------------------------------------------------------------

    def _on_connections(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                self._pause(error)
                return
            accepted.setblocking(False)
            self._admit(accepted)

    def _admit(self, accepted: socket.socket) -> None:
        caller = self._identify(accepted)
        if len(self._connections) >= self._limits.connections:
            self._refuse(accepted, f"all {self._limits.connections} connections are in use")
        elif self._of_uid[caller.uid] >= self._limits.connections_per_uid:
            self._refuse(
                accepted,
                f"uid {caller.uid} has all {self._limits.connections_per_uid} connections "
                "of one user",
            )
        else:
            self._accepted_count += 1
            self._of_uid[caller.uid] += 1
            self._quiet.clear()
            served = Connection(
                accepted,
                caller,
                dispatcher=self._dispatcher,
                limits=self._limits,
                hangups=self._hangups,
                on_finished=self._on_finished,
            )
            self._connections.add(served)
            served.start()

    def _on_finished(self, ended: Connection) -> None:
        uid = ended.caller.uid
        self._connections.discard(ended)
        self._of_uid[uid] -= 1
        if not self._of_uid[uid]:
            del self._of_uid[uid]
        if ended.dropped is not None:
            self._dropped[ended.dropped] += 1
            _log.info("dropped a connection of uid %d: %s", uid, ended.dropped)
        if not self._connections:
            self._quiet.set()

    def _pause(self, error: OSError) -> None:
        """Rest, else the event loop would come back here at once and for ever."""
        _log.warning("no connection can be accepted: %s", error.strerror)
        self._loop.remove_reader(self._listening)
        self._resume = self._loop.call_later(_PAUSE_SECONDS, self.start)

    # --- refuse ------------------------------------------------------------------------------

    def _refuse(self, refused: socket.socket, reason: str) -> None:
        """Say why, and hold the line until the client has said something, for a second.

        A socket closed at once would break the client's first write, and it would never read.
        """
        self._refused_count += 1
        now = self._loop.time()
        last = self._refusal_logged_at
        if last is None or now >= last + _LOG_REFUSALS_SECONDS:
            self._refusal_logged_at = now
            _log.warning("connections are refused: %s", reason)
        try:
            refused.send(self._dispatcher.refuse_connection(reason))
        except OSError:  # gone already
            refused.close()
            return
        if len(self._refused) >= _REFUSED_KEPT:
            self._end_refused(next(iter(self._refused)))
        self._refused[refused] = self._loop.call_later(
            _REFUSED_SECONDS, self._end_refused, refused
        )
        self._loop.add_reader(refused, self._end_refused, refused)

    def _end_refused(self, refused: socket.socket) -> None:
        self._refused.pop(refused).cancel()
        self._loop.remove_reader(refused)
        refused.close()
