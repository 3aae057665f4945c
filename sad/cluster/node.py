"""This node in its cluster: what etcd says becomes events, what is decided becomes deeds.

Tasks: one keeps the lease (:mod:`sad.cluster.leasing`); one asks etcd whose the endpoints are, and
claims, in turn, so that every answer is younger than the last claim; one waits for changes and
wakes that one; one for each endpoint does its deeds. The end of a lease is a timer's.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sad.cluster.claims import Claims
from sad.cluster.events import (
    Action,
    Claim,
    ClaimLost,
    ClaimWon,
    Do,
    Event,
    Install,
    Installed,
    LeaseLost,
    Renewed,
    Silent,
    StartedBlind,
    TakenOut,
    TimePassed,
)
from sad.cluster.health import Health
from sad.cluster.keyspace import Keyspace
from sad.cluster.leasing import LeaseKeeper
from sad.cluster.memory import Memory, Remembered
from sad.cluster.ownership import Lease, Ownership, step
from sad.cluster.parts import Clock, NodeSettings, Sets, Timer
from sad.cluster.ports import Delete, Etcd, EtcdError, EtcdGone, Put
from sad.model.cluster import OwnershipMode, OwnershipState

log = logging.getLogger(__name__)

#: etcd is asked again after so long without an occasion, and after a failure.
_ASK_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.3
#: How often a node says what its clock shows.
_CARD_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Place:
    """What the shell knows of one endpoint beside its ownership."""

    open: bool = False
    claim: Claim | None = None
    ask: Do | None = None
    deeds: asyncio.Queue[Install | Do] = field(default_factory=asyncio.Queue)


class ClusterNode:
    """Follows and decides; ``address_here`` says whether this node has an endpoint's address."""

    def __init__(
        self,
        settings: NodeSettings,
        etcd: Etcd,
        clock: Clock,
        memory: Memory,
        *,
        address_here: Callable[[str], bool],
        tell_problem: Callable[[str, str], None],
        card: Callable[[], bytes],
    ) -> None:
        self._settings = settings
        self._etcd = etcd
        self._clock = clock
        self._memory = memory
        self._keyspace = Keyspace(settings.cluster)
        self._claims = Claims(etcd, self._keyspace, settings.node, address_here)
        self._lease = LeaseKeeper(
            etcd,
            clock,
            settings.lease,
            renewed=self._renewed,
            lost=lambda: self.feed_all(LeaseLost()),
            failed=self.failed,
        )
        self._tell_problem = tell_problem
        self._card = card
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._timer: Timer | None = None
        self._sets: Sets | None = None
        self._blocking: set[asyncio.Task[None]] = set()
        self._ownerships = {
            name: _begun(name, mode, settings.node, memory.of(name))
            for name, mode in settings.modes.items()
        }
        self._places = {name: _Place() for name in settings.modes}
        self._told: EtcdError | None = None
        self.health = Health()

    # --- what others ask -------------------------------------------------------------------------

    def ownership(self, endpoint: str) -> Ownership | None:
        """Return where this node stands with an endpoint; None: it is not in the cluster."""
        return self._ownerships.get(endpoint)

    def ownerships(self) -> tuple[Ownership, ...]:
        """Return all of them."""
        return tuple(self._ownerships.values())

    @property
    def spans(self) -> Lease:
        """The times of the lease."""
        return Lease(ttl=self._lease.ttl, margin=self._settings.margin)

    def may_serve(self, endpoint: str) -> bool:
        """Whether sets may be installed on an endpoint at this instant."""
        ownership = self._ownerships.get(endpoint)
        return ownership is None or ownership.may_serve(self.spans, self._clock.boottime())

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
        while not self._places[endpoint].open:
            await self._moved.wait()

    # --- the machine -----------------------------------------------------------------------------

    def feed(self, endpoint: str, event: Event) -> None:
        """Have an event happen, and see to what follows."""
        before = self._ownerships[endpoint]
        after, actions = step(before, event, self.spans, self._clock.boottime())
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
            ends = (o.deadline_at(self.spans) for o in self._ownerships.values() if o.holds)
            soonest = min(ends, default=math.inf)
            self._timer.arm(None if soonest == math.inf else soonest)

    def _see_to(self, endpoint: str, action: Action) -> None:
        place = self._places[endpoint]
        match action:
            case Claim():
                place.claim = action
                self._wake.set()
            case Do.ASK | Do.ASK_NO_MORE:
                place.ask = action
                self._wake.set()
            case Do.TAKE_OUT:
                place.claim, place.open = None, False
                # At once, whatever the endpoint's other deeds are waiting for.
                blocking = asyncio.get_running_loop().create_task(self._block(endpoint))
                self._blocking.add(blocking)
                blocking.add_done_callback(self._blocking.discard)
                place.deeds.put_nowait(action)
            case Do.FORGET:
                if self._sets is not None:
                    self._sets.forget(endpoint)
            case Install() | Do.RELEASE:
                place.deeds.put_nowait(action)

    # --- life ------------------------------------------------------------------------------------

    async def start(self, seconds: float) -> None:
        """Find out whose the endpoints are, within so many seconds, and claim what may be claimed.

        On return an endpoint is ``taking`` if it was claimed (its sets are to be put in), and
        ``unsure`` if etcd did not answer and this node serves on from its own state.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        await self._lease.renew()
                        await self._ask()
                        await self._claim_all()
                    except EtcdError as error:
                        self.failed(error)
                        await asyncio.sleep(_AGAIN_SECONDS)
                    else:
                        return
        self.start_blind()

    def start_blind(self) -> None:
        """Begin without etcd: what was this node's, and needs no lease, stays its own."""
        self.feed_all(StartedBlind())

    def attach(self, sets: Sets, timer: Timer) -> None:
        """Begin with the deeds: the kernel agrees with the table."""
        self._sets = sets
        self._timer = timer
        self._arm()

    def adopted(self, endpoint: str) -> bool:
        """Whether what this node's journal knows of an endpoint is still true; asked at start.

        Then its sets are adopted from the kernel, and not put in.
        """
        ownership, place = self._ownerships[endpoint], self._places[endpoint]
        if ownership.state is OwnershipState.UNSURE:
            place.open = True
            return True
        if place.deeds.empty():
            return False
        deed = place.deeds.get_nowait()  # the only one: nothing else was decided yet
        if deed == Install(set_aside=True):
            place.open = True
            self.feed(endpoint, Installed())
            return True
        place.deeds.put_nowait(deed)
        return False

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lease.run())
            group.create_task(self._show())
            group.create_task(self._follow())
            group.create_task(self._watch())
            for endpoint in self._ownerships:
                group.create_task(self._work(endpoint))

    async def leave(self) -> None:
        """Say that this node is gone. Its endpoints stay its own until their lease is over."""
        with contextlib.suppress(EtcdError):
            await self._etcd.transact([], [Delete(self._keyspace.node(self._settings.node))])

    def _renewed(self, sent_at: float) -> None:
        self._answered(sent_at)
        self.feed_all(Renewed(sent_at))

    async def _show(self) -> None:
        """Keep a card of this node in etcd."""
        key, shown = self._keyspace.node(self._settings.node), None
        while True:
            lease = self._lease.id
            if lease is not None:
                with contextlib.suppress(EtcdError):  # whoever keeps the lease tells of it
                    await self._etcd.transact([], [Put(key, self._card(), lease)])
                    shown = lease
            await asyncio.sleep(_CARD_SECONDS if shown == lease else _AGAIN_SECONDS)

    # --- whose they are --------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ASK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._claim_all()
                await self._ask()
            except EtcdError as error:
                self.failed(error)
                await asyncio.sleep(_AGAIN_SECONDS)
                self._wake.set()

    async def _watch(self) -> None:
        while True:
            try:
                page = await self._etcd.read(self._keyspace.ownership, keys_only=True)
                self._wake.set()
                async for change in self._etcd.watch(
                    self._keyspace.ownership, page.header.revision
                ):
                    if change.written or change.deleted:
                        self._wake.set()
            except EtcdError as error:
                log.info("the watch of etcd begins anew: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _ask(self) -> None:
        """Ask etcd whose the endpoints are, and have that happen."""
        before, begun = self.health.header, self._clock.boottime()
        header, seen = await self._claims.read(self._ownerships)
        self._answered(begun)
        if self.health.saw(before, header):
            self._tell_problem("etcd went back: a backup was restored", self.health.hint)
            for endpoint in self._owned():
                if self._sets is not None:
                    self._sets.compare(endpoint)
        for endpoint, event in seen.items():
            self.feed(endpoint, event)

    def _owned(self) -> Iterator[str]:
        return (name for name, ownership in self._ownerships.items() if ownership.holds)

    async def _claim_all(self) -> None:
        """Send what waits to be claimed or asked for. Raises EtcdError."""
        for endpoint, place in self._places.items():
            if place.ask is not None:
                ask, place.ask = place.ask, None
                await self._send_ask(endpoint, ask)
            while place.claim is not None:
                claim, place.claim = place.claim, None
                await self._send_claim(endpoint, claim)

    async def _send_ask(self, endpoint: str, ask: Do) -> None:
        if ask is Do.ASK_NO_MORE:
            await self._claims.ask_no_more(endpoint)
        elif self._lease.id is not None:
            await self._claims.ask(endpoint, self._lease.id)

    async def _send_claim(self, endpoint: str, claim: Claim) -> None:
        leased = self._ownerships[endpoint].leased
        if leased and self._lease.id is None:
            self.feed(endpoint, ClaimLost())
            return
        try:
            epoch = await self._claims.claim(endpoint, claim, self._lease.id if leased else None)
        except EtcdError:
            # Whether it was done shows when etcd is asked again.
            self.feed(endpoint, ClaimLost())
            raise
        self.feed(endpoint, ClaimLost() if epoch is None else ClaimWon(epoch))
        if epoch is None:
            self._wake.set()

    # --- deeds -----------------------------------------------------------------------------------

    async def _block(self, endpoint: str) -> None:
        assert self._sets is not None
        await self._sets.block(endpoint)

    async def _work(self, endpoint: str) -> None:
        """Do what is to be done with the sets of an endpoint, one after another."""
        place, sets = self._places[endpoint], self._sets
        assert sets is not None
        while True:
            deed = await place.deeds.get()
            match deed:
                case Install():
                    await self._put_in(endpoint, sets, set_aside=deed.set_aside)
                case Do.TAKE_OUT:
                    await sets.take_out(endpoint, give=self._ownerships[endpoint].releasing)
                    self.feed(endpoint, TakenOut())
                case _:
                    await self._release(endpoint)

    async def _put_in(self, endpoint: str, sets: Sets, *, set_aside: bool) -> None:
        def may() -> bool:
            ownership = self._ownerships[endpoint]
            return ownership.may_restore(self.spans, self._clock.boottime())

        while may():
            try:
                await sets.put_in(endpoint, set_aside=set_aside, may=may)
            except EtcdError as error:
                self.failed(error)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                break
        if self._ownerships[endpoint].state in (OwnershipState.TAKING, OwnershipState.YIELDING):
            self.feed(endpoint, Installed())
        if self.may_serve(endpoint):
            await sets.open(endpoint)
            if self.may_serve(endpoint):
                self._places[endpoint].open = True
                self._tell_moved()
                sets.compare(endpoint)

    async def _release(self, endpoint: str) -> None:
        ownership = self._ownerships[endpoint]
        try:
            await self._claims.release(endpoint, ownership.seen.epoch, leased=ownership.leased)
        except EtcdError as error:  # whoever asked may say that this node is cut off
            self.failed(error)
        self._wake.set()

    # --- etcd's health ---------------------------------------------------------------------------

    def _answered(self, begun: float) -> None:
        self.health.answered(self._clock.boottime() - begun)
        if self._told is not None:
            log.info("etcd answers again")
            self._told = None

    def failed(self, error: EtcdError) -> None:
        """Hear of what etcd did not do."""
        self.health.failed(error)
        if type(self._told) is not type(error):
            self._tell_problem(f"etcd: {error}", error.hint)
        self._told = error
        if isinstance(error, EtcdGone):
            self.feed_all(Silent())

    def fenced(self, endpoint: str) -> None:
        """Hear that a write of an endpoint was refused: ask whose it is."""
        log.warning("endpoint %s: a write was refused, another node may own it", endpoint)
        self._wake.set()


def _begun(endpoint: str, mode: OwnershipMode, node: str, known: Remembered) -> Ownership:
    return Ownership(
        endpoint=endpoint, node=node, mode=mode, epoch=known.epoch, highest=known.highest
    )
