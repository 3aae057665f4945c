"""The daemon behind the socket: the backend that :mod:`sad.api` serves.

Each method looks at the table, has a pure function decide, and runs journal, mechanism, journal,
answer. Awaits of many requests in one turn of the loop share one journal transaction and one
netlink send, because both sides coalesce.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from collections.abc import Set as AbstractSet

from netlink.tcp import ConnectionEvent
from sad.core import lifecycle, replacement
from sad.core.allocation import RandBelow
from sad.core.desired import outbound_set
from sad.core.replacement import Succession
from sad.model.association import Association, EndReason, Phase
from sad.model.endpoint import Endpoint
from sad.model.errors import BadParameter, Lost, NoSuchAssociation, UnknownFlow
from sad.model.requests import (
    AttachRequest,
    Caller,
    ConfirmRequest,
    Flow,
    InstallRequest,
    ListFilter,
    OfferRequest,
    ReleaseRequest,
    ScreenRequest,
    VerifyRequest,
)
from sad.model.rules import Limits
from sad.model.views import (
    Attached,
    Found,
    Offered,
    ReconcileReport,
    SaCounters,
    Screened,
    Status,
    Verified,
    WatchEvent,
)
from sad.runtime.attaching import Attaching
from sad.runtime.changes import Changes, lost_refusal
from sad.runtime.confirming import decide_confirm
from sad.runtime.endings import Endings
from sad.runtime.gate import Access, Gate
from sad.runtime.installs import Installs, wipe_keys, wiped_unless_begun
from sad.runtime.offers import Offers
from sad.runtime.operating import Operations
from sad.runtime.ports import ConnectionMechanism
from sad.runtime.reconciler import Reconciler
from sad.runtime.releases import Releases
from sad.runtime.state import Shared
from sad.runtime.status import StatusPage
from sad.runtime.turns import Turns


class AssociationService:
    """Implements :class:`sad.api.backend.Backend`."""

    def __init__(
        self,
        shared: Shared,
        endings: Endings,
        reconciler: Reconciler,
        *,
        access: Access,
        own_addresses: Callable[[], AbstractSet[str]],
        missing_algorithms: AbstractSet[str],
        randbelow: RandBelow,
        status_page: StatusPage,
        operator: Operations,
        tls: ConnectionMechanism,
    ) -> None:
        self._shared = shared
        self._endings = endings
        self._changes = Changes(shared, endings)
        self._installs = Installs(shared, endings)
        self._gate = Gate(
            shared,
            access=access,
            own_addresses=own_addresses,
            missing_algorithms=missing_algorithms,
        )
        self._turns = Turns(shared.settings.limits, shared.clock.boottime, shared.background)
        self._offers = Offers(shared, endings, self._installs, self._gate, self._turns, randbelow)
        self._releases = Releases(shared, endings, self._changes, self._gate, self._turns)
        self._attaching = Attaching(
            shared, endings, self._installs, self._gate, self._turns, tls, randbelow
        )
        self._reconciler = reconciler
        self._randbelow = randbelow
        self._status_page = status_page
        self.operator = operator
        self.credential, self.credentials = self._gate.credential, shared.credentials.views

    def use(self, access: Access, limits: Limits) -> None:
        """Take over changed settings: who may do what, and how much there may be."""
        self._gate.access = access
        self._turns.use(limits)
        self._offers.use(limits)

    def status(self) -> Status:
        """Return the daemon as it stands."""
        return self._status_page.collect()

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        return self._shared.clock.boottime()

    def realtime(self) -> float:
        """Seconds of the real-time clock."""
        return self._shared.clock.realtime()

    # --- install ---------------------------------------------------------------------------------

    async def install(self, caller: Caller, request: InstallRequest) -> Association:
        """Install a negotiated set; all or nothing. A caller that leaves gets it rolled back."""
        self._gate.require_running()
        with wiped_unless_begun(request):
            task = await self._turns.start(
                caller, lambda: self._install(caller, request), urgent=False
            )
        try:
            return await self._turns.outcome(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                self._shared.background.start(self._installs.roll_back_unanswered(task))
            raise

    async def _install(self, caller: Caller, request: InstallRequest) -> Association:
        try:
            return await self._install_with_keys(caller, request)
        finally:
            wipe_keys(request)

    async def _install_with_keys(self, caller: Caller, request: InstallRequest) -> Association:
        self._gate.require_running()
        endpoint = self._gate.serving(caller, request.endpoint)
        mechanism = self._gate.set_mechanism(request.mechanism)
        new = mechanism.decide_install(
            request, endpoint, self._shared.table, self._gate.circumstances(), self._randbelow
        )
        return await self._installs.install(mechanism, new, request)

    # --- agreement -------------------------------------------------------------------------------

    def agreement(self, caller: Caller, endpoint: str) -> Endpoint:
        """Return an endpoint that the caller may use, for what its user agents are told."""
        return self._gate.endpoint(caller, endpoint)

    def screen(self, caller: Caller, request: ScreenRequest) -> Screened:
        """Say what Offer would take of an unprotected REGISTER's list."""
        return self._offers.screen(caller, request)

    async def offer(self, caller: Caller, request: OfferRequest) -> Offered:
        """Choose, allocate and install a temporary set; repeated: the same answer."""
        self._gate.require_running()
        return await self._offers.offer(caller, request)

    def verify(self, caller: Caller, request: VerifyRequest) -> Verified:
        """Judge a REGISTER on a protected flow."""
        return self._offers.verify(caller, request)

    async def attach(self, caller: Caller, request: AttachRequest) -> Attached:
        """Bind a TLS connection; repeated: the same answer."""
        self._gate.require_running()
        return await self._attaching.attach(caller, request)

    def notice_connection(self, event: ConnectionEvent) -> None:
        """Hear what the kernel tells of TCP connections."""
        self._attaching.notice(event)

    def revoke_credential(self, caller: Caller, endpoint: str) -> str:  # noqa: ARG002 - the API has checked
        """Take a credential set out of force; what was agreed with it ends."""
        return self._shared.credentials.revoke(endpoint)

    def credential_revoked(self, endpoint: str, generation: str) -> None:
        """End the TLS connections that were made with a credential set that is worthless now."""
        self._attaching.credential_revoked(endpoint, generation)

    # --- confirm, take into use, release ---------------------------------------------------------

    async def confirm(self, caller: Caller, request: ConfirmRequest) -> Association:
        """Establish or lengthen: lifetime = max(old, expires + margin)."""
        self._gate.require_running()
        longest = self._shared.settings.lifetimes.longest_registration
        if not 1 <= request.expires_seconds <= longest:
            raise BadParameter(
                parameter="expiresSeconds",
                reason="out of range",
                rule="T24-UE-4",
                hint=f"1 to {longest:.0f} (lifetimes.longest_registration_seconds); "
                "Release ends a registration",
            )
        shared = self._shared

        def decide(association: Association) -> Succession:
            return decide_confirm(shared, association, request)

        return await self._turns.finish(
            caller,
            lambda: self._succeed(caller, request.association_id, decide, "confirmed"),
            urgent=True,
        )

    async def take_into_use(self, caller: Caller, association_id: str) -> Association:
        """Let a confirmed set carry what is sent; older ones retire (T24-P-9)."""
        self._gate.require_running()
        shared = self._shared

        def decide(association: Association) -> Succession:
            return replacement.take_into_use(
                association,
                shared.table.of_registration(association.registration),
                shared.settings.lifetimes,
                now=self.now(),
            )

        return await self._turns.finish(
            caller,
            lambda: self._succeed(caller, association_id, decide, "taken into use"),
            urgent=True,
        )

    async def _succeed(
        self,
        caller: Caller,
        association_id: str,
        decide: Callable[[Association], Succession],
        what: str,
    ) -> Association:
        self._gate.require_running()
        async with self._shared.lock_of(self._gate.installed(caller, association_id)):
            association = self._gate.installed(caller, association_id)
            try:
                decided = decide(association)
            except lifecycle.IllegalTransition as error:
                raise NoSuchAssociation(
                    hint=f"it is {association.state} and cannot be {what} now"
                ) from error
            if decided == Succession(association=association):
                return association
            try:
                after = await self._changes.succeed(association, decided)
            except Lost as error:
                raise lost_refusal(association, str(error)) from error
        for other in decided.elsewhere:
            await self._endings.end(other.id, EndReason.REPLACED)
        return after

    async def release(self, caller: Caller, request: ReleaseRequest) -> tuple[Association, ...]:
        """End what matches, now or after its linger."""
        self._gate.require_running()
        return await self._releases.release(caller, request)

    # --- looking ---------------------------------------------------------------------------------

    def find(self, caller: Caller, flow: Flow) -> Found:  # noqa: ARG002 - the API has checked
        """Return the association that protects a flow, and its registration's outbound one."""
        table = self._shared.table
        association = table.find(flow)
        if association is None:
            raise UnknownFlow
        outbound = outbound_set(table.installed_of(association.registration))
        return Found(association=association, outbound=outbound or association)

    async def get(
        self,
        caller: Caller,  # noqa: ARG002 - as above
        association_id: str,
    ) -> tuple[Association, tuple[SaCounters, ...]]:
        """Return one association with its kernel counters."""
        association = self._shared.table.get(association_id)
        if association is None or association.phase is not Phase.INSTALLED:
            raise NoSuchAssociation
        try:
            counters = await self._shared.mechanisms[association.mechanism].counters(association)
        except Lost as error:
            now = self._shared.table.get(association_id)
            if now is None or now.phase is not Phase.INSTALLED:
                raise NoSuchAssociation from error  # it ended while the kernel was asked
            self._shared.request_reconcile("an association's counters were asked for")
            raise lost_refusal(association, str(error)) from error
        return association, counters

    def list_associations(self, caller: Caller, wanted: ListFilter) -> Iterable[Association]:  # noqa: ARG002 - as above
        """Return the associations that match, a consistent view of this instant."""
        return self._shared.table.matching(wanted)

    def subscribe(self, caller: Caller) -> AsyncIterator[WatchEvent]:  # noqa: ARG002 - as above
        """Stream present associations, then ready, then changes."""
        return self._shared.watch.subscribe(lambda: self._shared.table.matching(ListFilter()))

    async def reconcile(self, reason: str) -> ReconcileReport:
        """Compare the kernel with the journal and mend what differs."""
        self._gate.require_running()
        return await self._reconciler.reconcile(reason)
