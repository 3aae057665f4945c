"""``ipsec-man`` as time goes by: SAs begin, take over and end as their key sets say.

:mod:`sad.core.key_plan` plans, this carries it out: at start, at each instant that the plan
names, when the clock was set, when key sets came or went, and when an association ended.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final

from sad.core import lifecycle
from sad.core.allocation import RandBelow
from sad.core.decision import Circumstances
from sad.core.key_plan import (
    MECHANISM,
    Instant,
    KeyPlan,
    Wanted,
    deadline_of,
    name_of,
    plan_keys,
)
from sad.core.pair_decision import decide_pair, is_of
from sad.core.rebuilding import MOST_LEAPS
from sad.core.replacement import Succession, take_into_use
from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.errors import (
    Busy,
    JournalUnavailable,
    Lost,
    PoolExhausted,
    SadError,
)
from sad.model.key_set import KeySet
from sad.model.requests import PairKeys
from sad.runtime.changes import Changes
from sad.runtime.deadlines import Timer
from sad.runtime.endings import Endings
from sad.runtime.installs import Installs
from sad.runtime.key_collection import KeyCollection, copy_of
from sad.runtime.ports import KeyUses
from sad.runtime.state import Shared

log = logging.getLogger(__name__)

#: What the kernel or the journal refused is tried again.
RETRY_SECONDS: Final = 10.0
RETRY_REPLACED_MILLISECONDS: Final = 100
_REPLACED: Final = "its key set is being replaced"
_ENDING: Final = "what its key set made is ending"
#: Each pass may make the next one's work; more would be a plan that never ends.
_MOST_PASSES: Final = 6


class KeyKeeper:
    """Keeps the associations of ``ipsec-man`` as the plan of its key sets says.

    ``dropped`` are names of sets whose association is to end, ``withdrawn`` those whose
    association somebody released. ``lock`` is held while the plan is carried out.
    """

    def __init__(
        self,
        shared: Shared,
        endings: Endings,
        *,
        circumstances: Callable[[], Circumstances],
        randbelow: RandBelow,
        uses: KeyUses,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._shared = shared
        self._endings = endings
        self._changes = Changes(shared, endings)
        self._installs = Installs(shared, endings)
        self._circumstances = circumstances
        self._randbelow = randbelow
        self._uses = uses
        self._retry_seconds = retry_seconds
        self.collection = KeyCollection()
        self.dropped: dict[str, None] = {}
        self.withdrawn: set[str] = set()
        self.retry_at: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self.lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._timer: Timer | None = None
        shared.end_listeners.append(self._heard_of_end)

    def own_addresses(self) -> AbstractSet[str]:
        """This node's addresses."""
        return self._circumstances().own_addresses

    def attach(self, timer: Timer) -> None:
        """Give the timer that calls :meth:`wake`."""
        self._timer = timer

    def wake(self) -> None:
        """Look again soon."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the plan until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._shared.background.finish(self.act())
            except Exception as error:  # noqa: BLE001 - no defect may stop the clock of keys
                self._shared.tell_problem(
                    f"key sets could not be followed: {type(error).__name__}",
                    "a defect of sad: please report it",
                )
                await asyncio.sleep(self._retry_seconds)
            await self._wake.wait()

    async def act(self) -> None:
        """Do what is to be done now, and arm the timer for what comes next."""
        async with self.lock:
            self._drop_namesakes()
            await self._end_dropped()
            plan = self._plan()
            for _ in range(_MOST_PASSES):
                if not await self._carry_out(plan):
                    break
                plan = self._plan()
            self.collection.forget_expired(self._shared.clock.realtime())
            self._arm(plan)

    def _drop_namesakes(self) -> None:
        """What a restart left of a set that was given, and another set has its name now."""
        for association in self.lives():
            key_set = self.collection.sets.get(name_of(association))
            if key_set is not None and not is_of(association, key_set):
                self.dropped[name_of(association)] = None

    def drop_unknown(self) -> None:
        """After a restart: associations whose file no longer has their set, or has another.

        One that was given at run time lives on until its deadline, as far as the kernel keeps it.
        """
        for association in self.lives():
            pair = association.ipsec_man
            key_set = self.collection.sets.get(name_of(association))
            if key_set is not None:
                gone = not is_of(association, key_set)
            else:
                gone = pair is not None and pair.lasting and self.collection.complete
            if gone:
                self.dropped[name_of(association)] = None

    def end_of(self, association: Association) -> float:
        """Return beyond which instant (BOOTTIME) an association cannot last."""
        key_set = self.collection.sets.get(name_of(association))
        if key_set is None:
            return association.deadline_at
        return deadline_of(key_set, None, self._instant())

    def lives(self) -> tuple[Association, ...]:
        """Return the associations of ``ipsec-man``, oldest first."""
        return self._shared.table.of_mechanism(MECHANISM)

    def _instant(self) -> Instant:
        clock = self._shared.clock
        return Instant(now=clock.boottime(), realtime=clock.realtime())

    def _plan(self) -> KeyPlan:
        return plan_keys(
            self.collection.sets,
            self.lives(),
            self._shared.settings.lifetimes,
            self._instant(),
            withdrawn=self.withdrawn,
        )

    def _arm(self, plan: KeyPlan) -> None:
        at = self._instant()
        self.retry_at = {n: instant for n, instant in self.retry_at.items() if instant > at.now}
        instants = list(self.retry_at.values())
        if plan.next_at is not None:
            instants.append(at.boottime_of(plan.next_at))
        if self._timer is not None:
            self._timer.arm(min(instants, default=None))

    async def _carry_out(self, plan: KeyPlan) -> bool:
        """Return whether anything was done."""
        done = 0
        for association_id, reason in plan.end:
            done += await self._endings.end(association_id, reason) is not None
        for association_id, deadline in plan.move:
            done += await self._change(association_id, partial(_moved, deadline_at=deadline))
        for wanted in plan.install:
            done += await self._install(wanted)
        for association_id, granted in plan.confirm:
            done += await self._change(
                association_id, partial(self._proven, granted_until=granted)
            )
        for association_id in plan.use:
            done += await self._change(association_id, self._taken)
        return bool(done)

    def _proven(self, association: Association, granted_until: float | None) -> Succession:
        realtime = self._shared.clock.realtime()
        key_end = self.end_of(association)
        return Succession(
            association=lifecycle.prove(association, granted_until, key_end, realtime=realtime)
        )

    def _taken(self, association: Association) -> Succession:
        shared = self._shared
        sets = shared.table.of_registration(association.registration)
        now = shared.clock.boottime()
        return take_into_use(association, sets, shared.settings.lifetimes, now=now)

    async def _change(
        self, association_id: str, decide: Callable[[Association], Succession]
    ) -> bool:
        association = self._shared.table.get(association_id)
        if association is None:
            return False
        async with self._shared.lock(association.registration):
            association = self._shared.table.get(association_id)
            if association is None or association.phase is not Phase.INSTALLED:
                return False
            try:
                decided = decide(association)
                if decided == Succession(association=association):
                    return False
                await self._changes.succeed(association, decided)
            except lifecycle.IllegalTransition:
                return False  # it has moved on since it was planned
            except Lost:
                return True  # ended, and heard of
            except SadError as error:
                self._refused(name_of(association), error)
                return False
        return True

    async def install(
        self, key_set: KeySet, *, granted_until: float | None, agreed: bool
    ) -> Association:
        """Make the SAs of a set. Raises SadError.

        Whoever decided may have waited since, and a set that was replaced has zeros for keys.
        """
        if not self.collection.holds(key_set):
            raise Busy(retry_after_milliseconds=RETRY_REPLACED_MILLISECONDS, reason=_REPLACED)
        self._shared.cluster.require(key_set.endpoint)  # no use is counted for nothing
        new = decide_pair(
            key_set,
            self._shared.table,
            self._circumstances(),
            self._randbelow,
            agreed=agreed,
            granted_until=granted_until,
        )
        request = PairKeys(
            inbound=copy_of(key_set.keys_in),
            outbound=copy_of(key_set.keys_out),
            leaps=self.next_use(key_set.name),
        )
        try:
            driver = self._shared.mechanisms[MECHANISM]
            return await self._installs.install(driver, new, request)
        finally:
            request.wipe()

    async def take_up(self, association: Association) -> Association:
        """Have the SAs of a released association serve again, which linger still.

        Raises SadError, or Busy when they have ended by now: the next offer makes them anew.
        """
        shared = self._shared
        async with shared.lock(association.registration):
            lingering = shared.table.get(association.id)
            if lingering is None or lingering.phase is not Phase.INSTALLED:
                raise Busy(retry_after_milliseconds=RETRY_REPLACED_MILLISECONDS, reason=_ENDING)
            if lingering.state is not AssociationState.RETIRING:
                return lingering
            again = lifecycle.take_up(
                lingering,
                shared.settings.lifetimes,
                self.end_of(lingering),
                now=shared.clock.boottime(),
            )
            try:
                return await self._changes.change(lingering, again)
            except Lost as error:
                raise Busy(
                    retry_after_milliseconds=RETRY_REPLACED_MILLISECONDS, reason=_ENDING
                ) from error

    async def makes_way(self, association: Association) -> bool:
        """End what nobody has shown keys for, so that its key set serves at another address.

        Anybody can name an identity in clear, so a pair that was only offered must not keep the
        peer out for reg-await-auth; one that has let a packet in was proven by its ICV (RFC 4303
        3.4.4) and stays.
        """
        if association.state is not AssociationState.TEMPORARY:
            return False
        try:
            counters = await self._shared.mechanisms[MECHANISM].counters(association)
        except Lost:
            counters = ()  # nothing stands that could have let one in
        if any(c.packets for c in counters if c.inbound):
            return False
        ended = await self._endings.end(association.id, EndReason.REPLACED)
        return ended is not None or self._shared.table.get(association.id) is None

    def next_use(self, name: str, at_least: int = 0) -> int:
        """Return the leaps of outbound sequence numbers that no SA of this set has had."""
        try:
            number = self._uses.take(name, at_least=at_least)
        except OSError as error:
            raise JournalUnavailable(
                reason=f"how often a key was used: {error.strerror}",
                hint="check free space and permissions of state_directory",
            ) from error
        if number > MOST_LEAPS:
            raise PoolExhausted(
                pool=f"sequence numbers of key set {name}",
                size=MOST_LEAPS,
                hint="agree on new keys: RFC 4303 3.3.3 wants none twice under one key",
            )
        return number

    async def _install(self, wanted: Wanted) -> bool:
        name = wanted.key_set.name
        if self.retry_at.get(name, 0.0) > self._shared.clock.boottime():
            return False
        if not self.collection.holds(wanted.key_set):
            return True  # read anew since it was planned: plan again
        try:
            await self.install(wanted.key_set, granted_until=wanted.granted_until, agreed=True)
        except SadError as error:
            self._refused(name, error)
            return False
        self.retry_at.pop(name, None)
        self._told.pop(name, None)
        return True

    def _refused(self, name: str, error: SadError) -> None:
        """Tell it, once for each reason, and try again later."""
        self.retry_at[name] = self._shared.clock.boottime() + self._retry_seconds
        if self._told.get(name) != str(error):
            self._told[name] = str(error)
            self._shared.tell_refusal(f"key set {name} could not be followed", error)

    async def _end_dropped(self) -> None:
        """End what was made of sets that are gone, or that are others now."""
        for name in tuple(self.dropped):
            ids = [a.id for a in self.lives() if name_of(a) == name]
            for association_id in ids:
                with contextlib.suppress(SadError):  # told, and the reconciler tries again
                    await self._endings.end(association_id, EndReason.RELEASED)
            del self.dropped[name]

    def _heard_of_end(self, association: Association) -> None:
        if association.mechanism != MECHANISM:
            return
        name = name_of(association)
        if association.end_reason is EndReason.RELEASED and name not in self.dropped:
            self.withdrawn.add(name)
        if association.end_reason in {EndReason.KERNEL_LOST, EndReason.KERNEL_REFUSED}:
            # Who deletes it again and again means it: not at once.
            self.retry_at[name] = self._shared.clock.boottime() + self._retry_seconds
        self.wake()


def _moved(association: Association, deadline_at: float) -> Succession:
    return Succession(association=lifecycle.follow_key(association, deadline_at))
