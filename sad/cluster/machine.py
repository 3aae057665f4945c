"""The ownerships of a node, whoever waits for them, and the timer of the lease's end.

Whatever happens comes in by :meth:`Machine.feed`, one event at a time; what is to be done about it
goes to ``see_to``.
"""

import asyncio
import logging
import math
from collections.abc import Callable

from sad.cluster.events import Action, Do, Event, TimePassed
from sad.cluster.memory import Memory, Remembered
from sad.cluster.ownership import Lease, Ownership, step
from sad.cluster.parts import Clock, NodeSettings, Timer
from sad.model.cluster import OwnershipMode, OwnershipState

log = logging.getLogger(__name__)


class Machine:
    """Runs :func:`sad.cluster.ownership.step`; ``spans`` are the present times of the lease."""

    def __init__(
        self,
        settings: NodeSettings,
        clock: Clock,
        memory: Memory,
        *,
        spans: Callable[[], Lease],
        see_to: Callable[[str, Action], None],
        tell_problem: Callable[[str, str], None],
    ) -> None:
        self._clock = clock
        self._memory = memory
        self._spans = spans
        self._see_to = see_to
        self._tell_problem = tell_problem
        self._ownerships = {
            name: _begun(name, mode, settings.node, memory.of(name))
            for name, mode in settings.modes.items()
        }
        self._open: set[str] = set()
        self._moved = asyncio.Event()
        self._timer: Timer | None = None

    def __getitem__(self, endpoint: str) -> Ownership:
        return self._ownerships[endpoint]

    # --- what others ask -------------------------------------------------------------------------

    def ownership(self, endpoint: str) -> Ownership | None:
        """Return where this node stands with an endpoint; None: it is not in the cluster."""
        return self._ownerships.get(endpoint)

    def ownerships(self) -> tuple[Ownership, ...]:
        """Return all of them."""
        return tuple(self._ownerships.values())

    def may_restore(self, endpoint: str) -> bool:
        """Whether sets that are taken over may be installed on it at this instant."""
        ownership = self._ownerships[endpoint]
        return ownership.may_restore(self._spans(), self._clock.boottime())

    def may_serve(self, endpoint: str) -> bool:
        """Whether sets may be installed on an endpoint at this instant."""
        ownership = self._ownerships.get(endpoint)
        return ownership is None or ownership.may_serve(self._spans(), self._clock.boottime())

    def epoch(self, endpoint: str) -> int | None:
        """Return the epoch under which this node may write of an endpoint; None: it may not."""
        ownership = self._ownerships.get(endpoint)
        return ownership.epoch if ownership is not None and ownership.claimed else None

    def settled(self, endpoint: str) -> bool:
        """Whether this node owns an endpoint and has put in all that it has of it."""
        ownership = self._ownerships.get(endpoint)
        return ownership is not None and ownership.state in (
            OwnershipState.OWNER,
            OwnershipState.UNSURE,
        )

    async def until(self, endpoint: str, holds: Callable[[Ownership], bool]) -> None:
        """Wait until an ownership is as wanted."""
        while not holds(self._ownerships[endpoint]):
            await self._moved.wait()

    async def until_open(self, endpoint: str) -> None:
        """Wait until the traffic of an endpoint passes here."""
        while endpoint not in self._open:
            await self._moved.wait()

    def opened(self, endpoint: str) -> None:
        """Note that the traffic of an endpoint passes here now."""
        self._open.add(endpoint)
        self._tell_moved()

    def attach(self, timer: Timer) -> None:
        """Have a timer for the end of the lease."""
        self._timer = timer
        self._arm()

    # --- the machine -----------------------------------------------------------------------------

    def feed(self, endpoint: str, event: Event) -> None:
        """Have an event happen, and see to what follows."""
        before = self._ownerships[endpoint]
        after, actions = step(before, event, self._spans(), self._clock.boottime())
        self._ownerships[endpoint] = after
        if after.state is not before.state:
            log.info(
                "endpoint %s: %s, was %s (epoch %d, owner %s)",
                endpoint,
                after.state,
                before.state,
                after.epoch,
                after.seen.owner or "nobody",
            )
        try:
            self._memory.note(endpoint, Remembered(after.epoch, after.highest))
        except OSError as error:
            self._tell_problem(
                f"the epoch of endpoint {endpoint} could not be kept: {error.strerror}",
                "check the state directory; a restart would take its sets over anew",
            )
        for action in actions:
            if action is Do.TAKE_OUT:
                self._open.discard(endpoint)
            self._see_to(endpoint, action)
        self._arm()
        self._tell_moved()

    def _tell_moved(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def feed_all(self, event: Event) -> None:
        """Have the same happen to every endpoint."""
        for endpoint in self._ownerships:
            self.feed(endpoint, event)

    def time_passed(self) -> None:
        """Look at the end of the lease. The timer's callback."""
        self.feed_all(TimePassed())

    def _arm(self) -> None:
        if self._timer is not None:
            ends = (o.deadline_at(self._spans()) for o in self._ownerships.values() if o.holds)
            soonest = min(ends, default=math.inf)
            self._timer.arm(None if soonest == math.inf else soonest)


def _begun(endpoint: str, mode: OwnershipMode, node: str, known: Remembered) -> Ownership:
    return Ownership(
        endpoint=endpoint, node=node, mode=mode, epoch=known.epoch, highest=known.highest
    )
