"""Charon's events, on a connection of their own that is made again when it ends.

Between two connections anything may have happened: whoever listens compares after each
:meth:`Listener.connected` by ``list-sas``, for which the events are hints.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Final, Protocol

from sad.vici import values
from sad.vici.connection import Connection
from sad.vici.errors import BadMessage, Unavailable
from sad.vici.values import CharonEvent

#: How long after a failure it is tried again, in seconds: soon, then less often.
PAUSES: Final = (0.0, 0.1, 0.25, 0.5, 1.0)


class Listener(Protocol):
    """Who is told."""

    def connected(self) -> Awaitable[None]:
        """Events come from here on; those of before are lost."""

    def disconnected(self, error: Unavailable) -> None:
        """No events come; told once for each failure to connect or to go on."""

    def told(self, event: CharonEvent) -> None:
        """One event, in charon's order."""


class Events:
    """Listens for as long as :meth:`run` runs."""

    def __init__(self, path: str, connect_seconds: float, command_seconds: float) -> None:
        self._path = path
        self._connect_seconds = connect_seconds
        self._command_seconds = command_seconds

    async def run(self, listener: Listener) -> None:
        """Listen for ever."""
        failures = 0
        while True:
            try:
                connection = await Connection.open(self._path, self._connect_seconds)
                with contextlib.closing(connection):
                    early = [
                        event
                        for name in values.EVENTS
                        for event in await connection.register(name, self._command_seconds)
                    ]
                    failures = 0
                    await listener.connected()
                    for event in early:
                        _tell(listener, event.name, event.message)
                    while True:
                        event = await connection.next_event()
                        _tell(listener, event.name, event.message)
            except Unavailable as error:
                listener.disconnected(error)
            except BadMessage as error:
                listener.disconnected(Unavailable(str(error), "update sad or strongSwan"))
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1


def _tell(listener: Listener, name: str, message: values.Section) -> None:
    for event in values.read_event(name, message):
        listener.told(event)
