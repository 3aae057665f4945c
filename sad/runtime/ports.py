"""What the shell needs from the world, as protocols. :mod:`sad.app` puts real objects behind."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from netlink.model import ObservedPolicy, ObservedSa, Policy, PolicyId
from netlink.tcp import ObservedConnection
from sad.core.agreement import Choice
from sad.core.allocation import RandBelow
from sad.core.decision import Circumstances
from sad.core.nat import UserAgentEnd
from sad.core.reconcile import Findings
from sad.core.table import AssociationTable
from sad.model.association import Association, EndReason, RegistrationKey
from sad.model.cluster import CounterSnapshot
from sad.model.credential import CredentialView, HandedOut
from sad.model.endpoint import Endpoint
from sad.model.journal import JournalWrite
from sad.model.key_record import KeyRecord
from sad.model.requests import Caller, Flow, InstallRequest, Keys, OfferRequest
from sad.model.rules import Lifetimes
from sad.model.views import Offered, SaCounters


class Clock(Protocol):
    """Both clocks, in seconds."""

    def boottime(self) -> float:
        """CLOCK_BOOTTIME: the ledger of every deadline; counts through suspend."""

    def realtime(self) -> float:
        """The real-time clock: for people, and for kernel limits, which compare with it."""


class JournalPort(Protocol):
    """The journal (:class:`sad.store.journal.Journal`)."""

    def record(self, writes: Sequence[JournalWrite]) -> Awaitable[None]:
        """Record durably, or raise JournalUnavailable and record nothing."""


class KeyRecords(Protocol):
    """Sealed records (:class:`sad.store.sealed.SealedRecords`); all raise JournalUnavailable."""

    async def put(self, association: Association, record: KeyRecord) -> None:
        """Keep a record durably, or keep nothing of it."""

    def get(self, association: Association) -> KeyRecord | None:
        """Return the record of an association, if one opens for it. The caller wipes it."""

    async def retain(self, association_ids: Iterable[str]) -> None:
        """Delete every record but these."""


class KernelTables(Protocol):
    """The part of :class:`netlink.interface.Kernel` that only looks."""

    async def dump_sas(self) -> list[ObservedSa]:
        """Return the SAD."""

    async def dump_policies(self) -> list[ObservedPolicy]:
        """Return the SPD."""


class Credentials(Protocol):
    """The TLS credential sets of the endpoints (:mod:`sad.credentials`)."""

    def hand_out(self, endpoint: str, known_generation: str | None) -> HandedOut:
        """Return the set in force; its descriptors are the caller's. Raises NoCredential."""

    def revoke(self, endpoint: str) -> str:
        """Take a set out of force and return its generation. Raises NoCredential."""

    def generation(self, endpoint: str) -> str | None:
        """Return the generation in force, None if there is none."""

    def is_revoked(self, endpoint: str, generation: str | None) -> bool:
        """Whether a handshake with this set, or with an unknown one, is worth nothing."""

    def views(self) -> tuple[CredentialView, ...]:
        """Return every set as it stands at this instant."""


class KeyUses(Protocol):
    """How often SAs were made of a key set (:class:`sad.store.key_uses.KeyUses`)."""

    def last(self, name: str) -> int:
        """Return the number of the last use, -1 if there was none."""

    def take(self, name: str, *, at_least: int = 0) -> int:
        """Return the number of the next use, which no other use gets. Raises OSError."""


class MechanismDriver(Protocol):
    """One mechanism of RFC 3329. ``sets`` are always all of one registration, oldest first.

    Whatever goes wrong with the kernel is raised as KernelRefused.
    """

    name: str
    #: Why an association ends that the mechanism no longer holds.
    lost_as: EndReason

    def use(self, lifetimes: Lifetimes) -> None:
        """Take over changed settings; what lies in the kernel is mended by the reconciler."""

    async def install(
        self, siblings: Sequence[Association], new: Association, request: Keys
    ) -> None:
        """Put an association into force, all or nothing; KernelRefused leaves nothing behind.

        Raises LeftBehind if something remained that :meth:`remove` must take away.
        """

    async def set_deadline(self, sets: Sequence[Association], association: Association) -> None:
        """Make the mechanism's own backstop follow ``association.deadline_at``.

        And where it sends to, if that has moved.

        Raises Lost if the mechanism no longer holds the association.
        """

    async def rearrange(self, before: Sequence[Association], after: Sequence[Association]) -> None:
        """Follow changes of state inside one registration (who carries outbound traffic)."""

    async def disconnect(
        self, gone: Collection[Association], remaining: Collection[Association]
    ) -> None:
        """End the connections of associations that :meth:`Keeper.mend` will remove.

        ``remaining`` are the others of their registrations. Failing is no error.
        """

    async def remove(self, sets: Sequence[Association], gone: Association) -> None:
        """Take a set out of force, its connections first; what is gone already is no error.

        If ``gone.end_reason`` is ``lost_as`` somebody else may stand in its place: he stays.
        """

    async def counters(self, association: Association) -> tuple[SaCounters, ...]:
        """Return the counters of an association as they are now."""

    async def is_lost(self, association: Association) -> bool:
        """Ask again about one association: an examination is older than what followed it."""

    async def rebuild(self, association: Association, record: KeyRecord) -> tuple[str, ...]:
        """Put back what is missing of an association, and return what it was.

        Raises KernelRefused, or Lost if somebody else's stands in its place: it is to be removed.
        """

    async def complete(self, sets: Sequence[Association]) -> int:
        """Put back what a registration lacks beside its sets; return how many that were."""


class SetMechanism(MechanismDriver, Protocol):
    """A mechanism whose parameters are negotiated in the lists: ``ipsec-3gpp``."""

    def decide_install(
        self,
        request: InstallRequest,
        endpoint: Endpoint,
        table: AssociationTable,
        around: Circumstances,
        randbelow: RandBelow,
        *,
        leaving: Collection[str] = (),
        came_back: bool = False,
    ) -> Association:
        """Return the association to install, or raise the refusal. Pure.

        ``leaving`` are sets whose place it takes, ``came_back``: it may share the client port of
        an old set of its registration.
        """

    async def restore(
        self,
        siblings: Sequence[Association],
        new: Association,
        record: KeyRecord,
        counters: CounterSnapshot,
    ) -> None:
        """Put a set into force as it goes on from another node; raises as :meth:`install`."""

    def install_of(
        self, request: OfferRequest, choice: Choice, endpoint: Endpoint, end: UserAgentEnd
    ) -> InstallRequest:
        """Return the install of what was chosen from an offered list. Pure."""

    def security_server(
        self, association: Association, endpoint: Endpoint, missing: AbstractSet[str]
    ) -> str:
        """Return the value of Security-Server for a decided association. Pure."""


class Keeper(Protocol):
    """What associations lie in, compared with the table: the kernel, another daemon."""

    def examine(
        self,
        table: AssociationTable,
        standing: dict[PolicyId, Policy],
        busy: Callable[[], AbstractSet[RegistrationKey]],
    ) -> AsyncIterator[Findings]:
        """Compare the table with what lies there, ``busy`` registrations left alone.

        It comes in slices. Each is true in the turn of the loop in which it is yielded:
        :meth:`mend` it in that turn.
        """

    async def mend(self, findings: Findings) -> tuple[int, int]:
        """Do the removals and repairs of a slice; return how many changed something."""

    async def shut(self, standing: dict[PolicyId, Policy]) -> int:
        """Put the endpoints' block policies back where they lack; return how many lacked."""

    async def lift(self, standing: dict[PolicyId, Policy]) -> None:
        """Remove the endpoints' block policies (orderly stop with stop = "remove")."""


class ConnectionMechanism(MechanismDriver, Protocol):
    """The mechanism whose associations are bound to TCP connections: ``tls``."""

    @property
    def closes_connections(self) -> bool:
        """Whether the end of an association ends its connection."""

    async def find(self, flow: Flow) -> ObservedConnection | None:
        """Return what connection lies between these ports.

        Raises KernelRefused, MechanismUnavailable if this kernel cannot tell.
        """


class OfferHandler(Protocol):
    """What ``Offer`` does for a mechanism whose keys do not come with the call."""

    async def offer(
        self, caller: Caller, request: OfferRequest, choice: Choice, endpoint: Endpoint
    ) -> Offered:
        """Prepare the mechanism for a peer. Idempotent for the same transaction.

        Raises MechanismUnavailable if this peer cannot have it (no key, no connection known):
        then the next of the list is tried.
        """
