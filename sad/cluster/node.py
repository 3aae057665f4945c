"""This node in its cluster: what etcd says becomes events, what is decided becomes deeds.

Tasks: one keeps the lease (:mod:`sad.cluster.leasing`); one asks etcd whose the endpoints are, and
claims, in turn, so that every answer is younger than the last claim; one waits for changes and
wakes that one; one for each endpoint does its deeds. The end of a lease is a timer's.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sad.cluster.claims import Claims
from sad.cluster.events import (
    Action,
    Claim,
    ClaimLost,
    ClaimWon,
    Do,
    Install,
    Installed,
    LeaseLost,
    Released,
    Renewed,
    Silent,
    StartedBlind,
    TakenOut,
)
from sad.cluster.fencing import Fenced
from sad.cluster.health import Health
from sad.cluster.keyspace import Keyspace
from sad.cluster.leasing import LeaseKeeper
from sad.cluster.machine import Machine
from sad.cluster.memory import Memory
from sad.cluster.ownership import Lease
from sad.cluster.parts import Clock, NodeSettings, Sets, Timer
from sad.cluster.ports import Delete, Etcd, EtcdError, EtcdGone, Put
from sad.model.cluster import OwnershipState

log = logging.getLogger(__name__)

#: etcd is asked again after so long without an occasion, and after a failure.
_ASK_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.3
_AFTER_DEFECT_SECONDS: Final = 2.0
#: How often a node says what its clock shows.
_CARD_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Place:
    """What the shell knows of one endpoint beside its ownership."""

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
        self._keyspace = Keyspace(settings.cluster)
        self._claims = Claims(etcd, self._keyspace, settings.node, address_here)
        self._lease = LeaseKeeper(
            etcd,
            clock,
            settings.lease,
            renewed=self._renewed,
            lost=lambda: self.machine.feed_all(LeaseLost()),
            failed=self.failed,
        )
        self._tell_problem = tell_problem
        self._card = card
        self._wake = asyncio.Event()
        self._sets: Sets | None = None
        self._blocking: set[asyncio.Task[None]] = set()
        self.machine = Machine(
            settings,
            clock,
            memory,
            spans=lambda: Lease(ttl=self._lease.ttl, margin=settings.margin),
            see_to=self._see_to,
            tell_problem=tell_problem,
        )
        self._places = {name: _Place() for name in settings.modes}
        self._told: EtcdError | None = None
        self.health = Health()

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
                place.claim = None
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

    @property
    def lease(self) -> int | None:
        """The lease of this node, if it has one."""
        return self._lease.id

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
        self.machine.feed_all(StartedBlind())

    def attach(self, sets: Sets, timer: Timer) -> None:
        """Begin with the deeds: the kernel agrees with the table."""
        self._sets = sets
        self.machine.attach(timer)

    def adopted(self, endpoint: str) -> bool:
        """Whether what this node's journal knows of an endpoint is still true; asked at start.

        Then its sets are adopted from the kernel, and not put in.
        """
        ownership, place = self.machine[endpoint], self._places[endpoint]
        if ownership.state is OwnershipState.UNSURE:
            self.machine.opened(endpoint)
            return True
        if place.deeds.empty():
            return False
        deed = place.deeds.get_nowait()  # the only one: nothing else was decided yet
        if deed == Install(set_aside=True):
            self.machine.opened(endpoint)
            self.machine.feed(endpoint, Installed())
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
            for endpoint in self._places:
                group.create_task(self._work(endpoint))

    async def leave(self) -> None:
        """Say that this node is gone. Its endpoints stay its own until their lease is over."""
        with contextlib.suppress(EtcdError):
            await self._etcd.transact([], [Delete(self._keyspace.node(self._settings.node))])

    def _renewed(self, sent_at: float) -> None:
        self._answered(sent_at)
        self.machine.feed_all(Renewed(sent_at))

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
        header, seen = await self._claims.read(self._places)
        self._answered(begun)
        if self.health.saw(before, header):
            self._tell_problem("etcd went back: a backup was restored", self.health.hint)
            for endpoint in self._owned():
                if self._sets is not None:
                    self._sets.compare(endpoint)
        for endpoint, event in seen.items():
            self.machine.feed(endpoint, event)

    def _owned(self) -> Iterator[str]:
        return (o.endpoint for o in self.machine.ownerships() if o.holds)

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
        leased = self.machine[endpoint].leased
        if leased and self._lease.id is None:
            self.machine.feed(endpoint, ClaimLost())
            return
        try:
            epoch = await self._claims.claim(endpoint, claim, self._lease.id if leased else None)
        except EtcdError:
            # Whether it was done shows when etcd is asked again.
            self.machine.feed(endpoint, ClaimLost())
            raise
        self.machine.feed(endpoint, ClaimLost() if epoch is None else ClaimWon(epoch))
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
                    await self._until_done(
                        f"the sets of endpoint {endpoint} could not be taken out",
                        lambda: sets.take_out(endpoint, give=self.machine[endpoint].releasing),
                    )
                    self.machine.feed(endpoint, TakenOut())
                case _:
                    await self._release(endpoint)

    async def _put_in(self, endpoint: str, sets: Sets, *, set_aside: bool) -> None:
        def may() -> bool:
            return self.machine.may_restore(endpoint)

        await self._until_done(
            f"the sets of endpoint {endpoint} could not be put in",
            lambda: sets.put_in(endpoint, set_aside=set_aside, may=may),
            may,
        )
        if self.machine[endpoint].state in (OwnershipState.TAKING, OwnershipState.YIELDING):
            self.machine.feed(endpoint, Installed())
        if self.machine.may_serve(endpoint):
            await sets.open(endpoint)
            if self.machine.may_serve(endpoint):
                self.machine.opened(endpoint)
                sets.compare(endpoint)

    async def _until_done(
        self,
        trouble: str,
        deed: Callable[[], Awaitable[None]],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Do a deed, again after whatever came between, as long as it is wanted.

        Meanwhile the endpoint is blocked, and everything else is served.
        """
        while wanted():
            try:
                await deed()
            except EtcdError as error:
                self.failed(error)
                await asyncio.sleep(_AGAIN_SECONDS)
            except Fenced:  # the next answer of etcd says whose it is
                self._wake.set()
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception as error:  # noqa: BLE001 - one endpoint's trouble ends no other's service
                self._tell_problem(
                    f"{trouble}: {type(error).__name__}", "a defect of sad: please report it"
                )
                await asyncio.sleep(_AFTER_DEFECT_SECONDS)
            else:
                return

    async def _release(self, endpoint: str) -> None:
        ownership = self.machine[endpoint]
        try:
            # By its own epoch, not by what was seen last: that may be another's by now.
            await self._claims.release(endpoint, ownership.epoch, leased=ownership.leased)
        except EtcdError as error:  # whoever asked may say that this node is cut off
            self.failed(error)
        self.machine.feed(endpoint, Released())
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
            self.machine.feed_all(Silent())

    def fenced(self, endpoint: str) -> None:
        """Hear that a write of an endpoint was refused: ask whose it is."""
        log.warning("endpoint %s: a write was refused, another node may own it", endpoint)
        self._wake.set()
