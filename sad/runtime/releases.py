"""``Release``: associations end because a SIP server or an operator says so.

At once, or after a linger in which the last answers still pass (T24-D-1).
"""

import asyncio
from collections.abc import Iterable

from msgspec import structs

from sad.core import lifecycle
from sad.model.association import Association, EndReason, Phase
from sad.model.errors import BadParameter, Lost, NoSuchAssociation, SadError
from sad.model.journal import Put
from sad.model.requests import Caller, ReleaseRequest
from sad.runtime.changes import Changes
from sad.runtime.endings import Endings
from sad.runtime.gate import Gate
from sad.runtime.state import Shared
from sad.runtime.turns import Turns


class Releases:
    """Releases associations for whoever may."""

    def __init__(
        self, shared: Shared, endings: Endings, changes: Changes, gate: Gate, turns: Turns
    ) -> None:
        self._shared = shared
        self._endings = endings
        self._changes = changes
        self._gate = gate
        self._turns = turns

    async def release(self, caller: Caller, request: ReleaseRequest) -> tuple[Association, ...]:
        """End what matches, now or after its linger. Each is tried, whatever becomes of others."""
        given = (request.association_id, request.private_identity, request.peer_address)
        if sum(value is not None for value in given) != 1:
            raise BadParameter(
                parameter="id",
                reason="exactly one of id, privateIdentity and peerAddress is needed",
                rule=None,
                hint="give one of the three",
            )
        if request.whole_registration and request.association_id is None:
            raise BadParameter(
                parameter="wholeRegistration",
                reason="goes with id only",
                rule=None,
                hint="name one set of the registration by id",
            )
        longest = self._shared.settings.lifetimes.longest_linger
        if not 0 <= request.linger_seconds <= longest:
            raise BadParameter(
                parameter="lingerSeconds",
                reason="out of range",
                rule="T24-D-1",
                hint=f"0 to {longest:.0f} (lifetimes.max_linger_seconds)",
            )
        return await self._turns.finish(
            caller, lambda: self._release(caller, request), urgent=True
        )

    async def _release(self, caller: Caller, request: ReleaseRequest) -> tuple[Association, ...]:
        self._gate.require_running()
        matching = self._matching(caller, request)
        linger = request.linger_seconds
        if request.whole_registration:
            return _each_tried(await self._release_whole(matching[0], linger))
        return _each_tried(
            await asyncio.gather(
                *(self._release_one(a, linger) for a in matching), return_exceptions=True
            )
        )

    async def _release_whole(
        self, one: Association, linger_seconds: int
    ) -> list[Association | BaseException | None]:
        """Under one lock: what is being added at this moment is not left behind.

        And in one journal entry: a daemon that dies in the middle goes on with all of them.
        """
        results: list[Association | BaseException | None] = []
        async with self._shared.lock_of(one) as registration:
            sets = self._shared.table.installed_of(registration)
            await self._shared.record_tolerant(
                *(Put(self._leaving(a, linger_seconds)) for a in sets)
            )
            for association in sets:
                try:
                    results.append(await self._release_locked(association.id, linger_seconds))
                except SadError as error:
                    results.append(error)
            # What was refused stands as it was, and the journal must not say otherwise.
            standing = [now for a in sets if (now := self._shared.table.get(a.id)) is not None]
            await self._shared.record_tolerant(*(Put(a) for a in standing))
        return results

    async def _release_one(
        self, association: Association, linger_seconds: int
    ) -> Association | None:
        async with self._shared.lock_of(association):
            return await self._release_locked(association.id, linger_seconds)

    async def _release_locked(
        self, association_id: str, linger_seconds: int
    ) -> Association | None:
        if linger_seconds == 0:
            return await self._endings.end_locked(association_id, EndReason.RELEASED)
        current = self._shared.table.get(association_id)
        if current is None or current.phase is not Phase.INSTALLED:
            return None
        try:
            return await self._changes.change(current, self._leaving(current, linger_seconds))
        except Lost:
            return lifecycle.end(current, self._shared.mechanisms[current.mechanism].lost_as)

    def _leaving(self, association: Association, linger_seconds: int) -> Association:
        """Return it as the journal knows it once it is released."""
        if linger_seconds:
            return lifecycle.release(
                association, linger_seconds, now=self._shared.clock.boottime()
            )
        return structs.replace(association, phase=Phase.REMOVING, end_reason=EndReason.RELEASED)

    def _matching(self, caller: Caller, request: ReleaseRequest) -> list[Association]:
        table = self._shared.table
        if request.association_id is not None:
            return [self._gate.releasable(caller, request.association_id)]
        if request.private_identity is not None:
            candidates = table.of_identity(request.private_identity)
        else:
            candidates = table.of_peer(request.peer_address or "")
        allowed = [
            a
            for a in candidates
            if a.phase is Phase.INSTALLED and self._gate.may_release(caller, a)
        ]
        if not allowed:
            raise NoSuchAssociation
        return allowed


def _each_tried(
    results: Iterable[Association | BaseException | None],
) -> tuple[Association, ...]:
    """Return what was released; each was tried, and one that failed is told."""
    released: list[Association] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        if result is not None:
            released.append(result)
    return tuple(released)
