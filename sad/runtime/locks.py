"""One queue for each registration: its sets share policies, so changes go one by one.

Nothing is kept of a registration that nobody changes, and the next one's turn is handed over, so
that nobody who comes later is before who has waited. Plain futures: two locks of asyncio, found by
weak references, were a twentieth of what a registration costs.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from types import TracebackType

from sad.model.association import Association, RegistrationKey


class RegistrationLocks:
    """Which registrations are held, and who waits for them."""

    def __init__(self) -> None:
        #: Who waits for each that is held; None: nobody ever did.
        self._held: dict[RegistrationKey, deque[asyncio.Future[None]] | None] = {}

    @property
    def held(self) -> AbstractSet[RegistrationKey]:
        """The registrations that somebody is changing at this instant."""
        return frozenset(self._held)

    async def acquire(self, key: RegistrationKey) -> None:
        """Wait for a registration."""
        if key not in self._held:
            self._held[key] = None
            return
        waiting = self._held[key]
        if waiting is None:
            waiting = self._held[key] = deque()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release(key)  # it had just been handed over
            raise  # else release() passes over it

    def release(self, key: RegistrationKey) -> None:
        """Hand a registration that one holds to whoever waits longest."""
        waiting = self._held[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._held[key]


class Held:
    """Holds a registration for the length of a block."""

    __slots__ = ("_key", "_locks")

    def __init__(self, locks: RegistrationLocks, key: RegistrationKey) -> None:
        self._locks = locks
        self._key = key

    async def __aenter__(self) -> RegistrationKey:
        await self._locks.acquire(self._key)
        return self._key

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._locks.release(self._key)


class HeldOf(Held):
    """Holds the registration that an association has now, or had when it ended.

    An offered one that is bound to a TLS connection is of another registration from then on, and
    whoever had waited for the lock of the first holds none of the second.
    """

    __slots__ = ("_get", "_known")

    def __init__(
        self,
        locks: RegistrationLocks,
        association: Association,
        get: Callable[[str], Association | None],
    ) -> None:
        super().__init__(locks, association.registration)
        self._known = association
        self._get = get

    async def __aenter__(self) -> RegistrationKey:
        while True:
            await self._locks.acquire(self._key)
            now = self._get(self._known.id)
            if now is None or now is self._known or now.registration == self._key:
                return self._key
            self._locks.release(self._key)
            self._known, self._key = now, now.registration
