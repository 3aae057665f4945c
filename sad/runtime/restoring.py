"""Sets that lived at another node, put into force at this one: all of an endpoint in one go.

Each set is all or nothing. Whatever keeps one from coming is told by its id, and keeps no other
one from coming. Sets of many registrations go together, so that they share sends to the kernel and
transactions of the journal; those of one registration go one after another, oldest first.
"""

import asyncio
import dataclasses
import enum
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import structs

from sad.core.restoring import record_of
from sad.model.association import Association, AssociationState, Phase, RegistrationKey
from sad.model.cluster import CounterSnapshot, StoredSet
from sad.model.errors import MechanismUnavailable, SadError
from sad.model.views import WatchKind
from sad.runtime.installs import Installs
from sad.runtime.state import Shared
from sad.runtime.story import Step

log = logging.getLogger(__name__)

Going: TypeAlias = tuple[StoredSet, CounterSnapshot]

#: Registrations at once: some turns of the loop, some sends, one transaction.
AT_ONCE: Final = 128


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of a population, by id.

    ``in_force`` are in the kernel. The time of ``expired`` was over. ``forbidden`` could have
    been put there when it was no longer allowed. ``refused`` have the reason, errno and the
    kernel's words included.
    """

    in_force: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    refused: Mapping[str, SadError] = dataclasses.field(default_factory=dict)


class _Forbidden(Exception):
    """Its endpoint is no longer this node's."""


class _Outcome(enum.Enum):
    """What may become of a set beside a refusal."""

    IN_FORCE = enum.auto()
    EXPIRED = enum.auto()
    FORBIDDEN = enum.auto()


_Outcomes: TypeAlias = dict[str, _Outcome | SadError]


class Restoring:
    """Restores sets of ``ipsec-3gpp``; ``note`` is told with which numbers each goes on."""

    def __init__(
        self,
        shared: Shared,
        installs: Installs,
        note: Callable[[CounterSnapshot], None] = lambda _counters: None,
    ) -> None:
        self._shared = shared
        self._installs = installs
        self._note = note

    async def restore(
        self, population: Iterable[Going], may: Callable[[], bool] = lambda: True
    ) -> Restored:
        """Put sets into force, each with its advanced counters; wipes the keys of all.

        ``may`` says, right before a set goes to the kernel, whether it still may be there.
        """
        of_registration: defaultdict[RegistrationKey, list[Going]] = defaultdict(list)
        for going in sorted(population, key=lambda g: g[0].association.created_at):
            of_registration[going[0].association.registration].append(going)
        groups = tuple(of_registration.values())
        outcomes: _Outcomes = {}
        try:
            for start in range(0, len(groups), AT_ONCE):
                piece = groups[start : start + AT_ONCE]
                await asyncio.gather(*(self._registration(g, may, outcomes) for g in piece))
        finally:
            for group in groups:
                for stored, _ in group:
                    stored.keys.wipe()
        restored = _told(outcomes)
        log.info(
            "%d sets taken over; not: %d had expired, %d were refused, %d came too late",
            len(restored.in_force),
            len(restored.expired),
            len(restored.refused),
            len(restored.forbidden),
        )
        return restored

    async def _registration(
        self, sets: Sequence[Going], may: Callable[[], bool], outcomes: _Outcomes
    ) -> None:
        for stored, counters in sets:
            association = stored.association
            outcome: _Outcome | SadError = _Outcome.IN_FORCE
            if (
                association.state is AssociationState.ENDED
                or association.deadline_at <= self._shared.clock.boottime()
            ):
                outcome = _Outcome.EXPIRED
            else:
                try:
                    await self._restore(stored, counters, may)
                except _Forbidden:
                    outcome = _Outcome.FORBIDDEN
                except SadError as error:
                    log.warning("association %s is not taken over: %s", association.id, error)
                    outcome = error
            outcomes[association.id] = outcome

    async def _restore(
        self, stored: StoredSet, counters: CounterSnapshot, may: Callable[[], bool]
    ) -> None:
        shared = self._shared
        mechanism = shared.set_mechanisms.get(stored.association.mechanism)
        if mechanism is None or stored.association.ipsec_3gpp is None:
            raise MechanismUnavailable(
                mechanism=stored.association.mechanism,
                reason="its SAs cannot go on at another node",
                hint="the peer begins anew with this node",
            )
        record = record_of(stored, counters)
        # Its policies are written anew here, whatever time those of the other node had left.
        until = shared.clock.boottime() + shared.settings.lifetimes.policies
        new = structs.replace(
            stored.association, phase=Phase.INSTALLING, policies_until=until, end_reason=None
        )

        async def put(siblings: Sequence[Association]) -> None:
            if not may():
                raise _Forbidden(new.endpoint)
            await mechanism.restore(siblings, new, record, counters)

        installed = await self._installs.restore(new, record, put)
        self._note(counters)
        shared.deadlines.set(installed.id, installed.deadline_at)
        shared.tell(WatchKind.ADDED, Step.TAKEN_OVER, installed)


def _told(outcomes: _Outcomes) -> Restored:
    def those(wanted: _Outcome) -> tuple[str, ...]:
        return tuple(i for i, outcome in outcomes.items() if outcome is wanted)

    return Restored(
        in_force=those(_Outcome.IN_FORCE),
        expired=those(_Outcome.EXPIRED),
        forbidden=those(_Outcome.FORBIDDEN),
        refused={i: o for i, o in outcomes.items() if isinstance(o, SadError)},
    )
