"""What the parts of the shell share: the table, its locks, and the last thing that went wrong."""

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from netlink.model import Policy, PolicyId
from sad.core.desired import endpoint_policies
from sad.core.replacement import Succession
from sad.core.table import AssociationTable
from sad.model.association import Association, Phase, RegistrationKey
from sad.model.endpoint import Endpoint
from sad.model.errors import JournalUnavailable, SadError
from sad.model.inspection import Expiry
from sad.model.journal import Forget, JournalWrite, Put, id_of
from sad.model.requests import ConfirmRequest
from sad.model.rules import Layout, Lifetimes, Limits
from sad.model.views import DaemonState, WatchKind
from sad.runtime import story
from sad.runtime.background import Background
from sad.runtime.cluster import Alone, ClusterPort
from sad.runtime.credentials import NoCredentials
from sad.runtime.deadlines import Deadlines
from sad.runtime.history import History
from sad.runtime.locks import Held, HeldOf, RegistrationLocks
from sad.runtime.observer import Observer
from sad.runtime.ports import (
    Clock,
    Credentials,
    JournalPort,
    Keeper,
    KeyRecords,
    MechanismDriver,
    OfferHandler,
    SetMechanism,
)
from sad.runtime.watch import Watch

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The part of the settings that the shell needs, as values."""

    endpoints: Mapping[str, Endpoint]
    layout: Layout
    lifetimes: Lifetimes
    limits: Limits
    remove_on_stop: bool = False
    reconcile_interval: float = 300.0
    key_directory: str = ""


async def _never(_association_id: str) -> bool:
    return False


class Shared:
    """The one mutable heart of the daemon. All access is from the event loop's thread."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        journal: JournalPort,
        set_mechanisms: Mapping[str, SetMechanism],
        keepers: Sequence[Keeper],
        other_mechanisms: Mapping[str, MechanismDriver] | None = None,
        records: KeyRecords | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._standing: dict[PolicyId, Policy] = {}
        self._closed: set[str] = set()
        self.settings = settings
        self.clock = clock
        self.journal = journal
        #: Those whose parameters are negotiated in the lists, and all.
        self.set_mechanisms = set_mechanisms
        self.mechanisms: dict[str, MechanismDriver] = {
            **set_mechanisms,
            **(other_mechanisms or {}),
        }
        self.keepers = keepers
        #: What Offer does for mechanisms other than ipsec-3gpp, by the mechanism's name.
        self.offer_handlers: dict[str, OfferHandler] = {}
        #: None: what the kernel has lost is ended.
        self.records = records
        self.credentials = credentials or NoCredentials()
        self.cluster: ClusterPort = Alone()
        #: Those of mechanisms whose keys this daemon has anyway, by the mechanism's name.
        self.own_records: dict[str, KeyRecords] = {}
        #: How Confirm is decided where more than a registration bounds it, by mechanism.
        self.confirmers: dict[str, Callable[[Association, ConfirmRequest], Succession]] = {}
        self.table = AssociationTable()
        self.deadlines = Deadlines(clock.boottime)
        self.watch = Watch()
        #: Told of each association that ended; they must not wait.
        self.end_listeners: list[Callable[[Association], None]] = []
        self.background = Background()
        self.daemon_state = DaemonState.STARTING
        self._owed: set[str] = set()
        #: What, the way out, and when (real-time seconds).
        self.problem: tuple[str, str, float] | None = None
        self.history = History()
        self.observer = Observer()
        #: Who knows of something of this node that ends by itself.
        self.expiries: list[Callable[[], Iterable[Expiry]]] = []
        self.request_reconcile: Callable[[str], None] = lambda _reason: None
        self.rebuild_locked: Callable[[str], Awaitable[bool]] = _never
        self._locks = RegistrationLocks()

    def records_of(self, association: Association) -> KeyRecords | None:
        """What an association is rebuilt from; None: what the kernel has lost of it is ended."""
        return self.own_records.get(association.mechanism, self.records)

    def lock(self, key: RegistrationKey) -> Held:
        """Hold a registration inside ``async with``."""
        return Held(self._locks, key)

    def lock_of(self, association: Association) -> HeldOf:
        """Hold the registration that an association has now, or had when it ended."""
        return HeldOf(self._locks, association, self.table.get)

    def busy(self) -> AbstractSet[RegistrationKey]:
        """The registrations that somebody is changing at this instant."""
        return self._locks.held

    def settled(self, key: RegistrationKey) -> tuple[Association, ...]:
        """The sets of a registration that are in the kernel, oldest first."""
        sets = self.table.of_registration(key)
        return tuple([a for a in sets if a.phase is not Phase.INSTALLING])

    @property
    def settings(self) -> Settings:
        """What is set; replaced whole by a reload."""
        return self._settings

    @settings.setter
    def settings(self, new: Settings) -> None:
        self._settings = new
        self._standing.clear()
        for name in new.endpoints:
            self._standing.update(self.standing_of(name))

    def standing_of(self, endpoint: str) -> dict[PolicyId, Policy]:
        """The block policies of one endpoint, none if it is not configured."""
        known = self._settings.endpoints.get(endpoint)
        if known is None:
            return {}
        return endpoint_policies(known, self._settings.layout, closed=endpoint in self._closed)

    def close_endpoint(self, endpoint: str) -> None:
        """Have the block policies of an endpoint be above all others: it is another node's."""
        self._closed.add(endpoint)
        self._standing.update(self.standing_of(endpoint))

    def open_endpoint(self, endpoint: str) -> None:
        """Have them be below those of its associations."""
        self._closed.discard(endpoint)
        self._standing.update(self.standing_of(endpoint))

    def standing_policies(self) -> dict[PolicyId, Policy]:
        """The endpoints' block policies; the dictionary follows a reload."""
        return self._standing

    def tell(self, kind: WatchKind, step: story.Step, association: Association) -> None:
        """Tell a step of an association's life: to subscribers and to the log."""
        self.watch.publish(kind, association)
        if step is story.Step.ENDED:
            self.history.forget(association.id)
            self.observer.ended(association)
        else:
            self.history.note(association.id, step.word, self.clock.realtime())
        if kind is WatchKind.ENDED:
            for listener in self.end_listeners:
                listener(association)
        story.tell(step, association, now=self.clock.boottime())

    def tell_problem(self, what: str, hint: str) -> None:
        """Log a problem that nobody's answer carries, and keep it for ``sadctl status``."""
        log.error("%s (%s)", what, hint)
        self.observer.problem()
        self.problem = (what, hint, self.clock.realtime())

    async def record_tolerant(self, *writes: JournalWrite) -> None:
        """Record what must go on without the journal (an ending), or owe it.

        What is still owed at the next start is settled by the kernel, as after a death.
        """
        try:
            await self.journal.record(writes)
        except JournalUnavailable as error:
            self._owed.update(id_of(write) for write in writes)
            self.tell_problem(f"the journal cannot be written: {error.reason}", error.hint)

    async def record_owed(self) -> None:
        """Record what the journal could not take, as it is now."""
        busy = self.busy()
        known = {i: self.table.get(i) for i in self._owed}
        # Who is changing one writes its row himself, and ahead of the table.
        now = {i: a for i, a in known.items() if a is None or a.registration not in busy}
        if now:
            self._owed.difference_update(now)
            await self.record_tolerant(
                *(Forget(i) if a is None else Put(a) for i, a in now.items())
            )

    def tell_refusal(self, what: str, error: SadError) -> None:
        """Tell of a refusal that no caller waits for."""
        hint = str(getattr(error, "hint", "journalctl -u sad tells more"))
        self.tell_problem(f"{what}: {error}", hint)
