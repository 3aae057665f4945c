"""The daemon behind the socket: the backend that :mod:`sad.api` serves.

Each method looks at the table, has a pure function decide, and runs journal, mechanism, journal,
answer. Awaits of many requests in one turn of the loop share one journal transaction and one
netlink send, because both sides coalesce.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol

from sad.core import lifecycle
from sad.core.allocation import RandBelow
from sad.core.decision import Circumstances
from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.endpoint import Endpoint
from sad.model.errors import (
    BadParameter,
    Busy,
    Lost,
    MechanismUnavailable,
    NoSuchAssociation,
    NoSuchEndpoint,
    NotPermitted,
    UnknownFlow,
)
from sad.model.requests import Caller, Flow, InstallRequest, ListFilter, ReleaseRequest
from sad.model.views import (
    DaemonState,
    ReconcileReport,
    SaCounters,
    Status,
    WatchEvent,
)
from sad.runtime.endings import Endings, lost_refusal
from sad.runtime.installs import Installs
from sad.runtime.ports import MechanismDriver
from sad.runtime.reconciler import Reconciler
from sad.runtime.state import Shared
from sad.runtime.status import StatusPage

log = logging.getLogger(__name__)


class Access(Protocol):
    """Who may do what; the counterpart is the authorisation of the socket."""

    def may_use_endpoint(self, caller: Caller, endpoint: Endpoint) -> bool:
        """Whether the caller may install, confirm and release on an endpoint."""

    def may_control(self, caller: Caller) -> bool:
        """Whether the caller is an operator."""


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
    ) -> None:
        self._shared = shared
        self._endings = endings
        self._installs = Installs(shared, endings)
        self._reconciler = reconciler
        self._access = access
        self._own_addresses = own_addresses
        self._missing_algorithms = missing_algorithms
        self._randbelow = randbelow
        self._status_page = status_page

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
        task = self._shared.background.start(self._install(caller, request))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                self._shared.background.start(self._installs.roll_back_unanswered(task))
            raise

    async def _install(self, caller: Caller, request: InstallRequest) -> Association:
        shared = self._shared
        if shared.daemon_state is DaemonState.STOPPING:
            raise Busy(retry_after_milliseconds=1000, reason="sad is stopping")
        endpoint = self._endpoint(caller, request.endpoint)
        mechanism = self._mechanism(request.mechanism)
        new = mechanism.decide_install(
            request, endpoint, shared.table, self._circumstances(), self._randbelow
        )
        return await self._installs.install(mechanism, new, request)

    # --- confirm and release ---------------------------------------------------------------------

    async def confirm(
        self, caller: Caller, association_id: str, expires_seconds: int
    ) -> Association:
        """Establish or lengthen: lifetime = max(old, expires + margin)."""
        longest = self._shared.settings.lifetimes.longest_registration
        if not 1 <= expires_seconds <= longest:
            raise BadParameter(
                parameter="expiresSeconds",
                reason="out of range",
                rule="T24-UE-4",
                hint=f"1 to {longest:.0f} (lifetimes.longest_registration_seconds); "
                "Release ends a registration",
            )
        return await self._shared.background.finish(
            self._confirm(caller, association_id, expires_seconds)
        )

    async def _confirm(
        self, caller: Caller, association_id: str, expires_seconds: int
    ) -> Association:
        shared = self._shared
        registration = self._installed(caller, association_id, self._may_use).registration
        async with shared.lock(registration):
            association = self._installed(caller, association_id, self._may_use)
            try:
                confirmed = lifecycle.confirm(
                    association,
                    expires_seconds,
                    shared.settings.lifetimes,
                    now=self.now(),
                    realtime=self.realtime(),
                )
            except lifecycle.IllegalTransition as error:
                raise NoSuchAssociation(
                    hint=f"it is {association.state} and can no longer be confirmed"
                ) from error
            if confirmed == association:
                return association
            try:
                return await self._endings.change(association, confirmed)
            except Lost as error:
                raise lost_refusal(association, str(error)) from error

    async def release(self, caller: Caller, request: ReleaseRequest) -> tuple[Association, ...]:
        """End what matches, now or after its linger."""
        given = (request.association_id, request.private_identity, request.peer_address)
        if sum(value is not None for value in given) != 1:
            raise BadParameter(
                parameter="id",
                reason="exactly one of id, privateIdentity and peerAddress is needed",
                rule=None,
                hint="give one of the three",
            )
        longest = self._shared.settings.lifetimes.longest_linger
        if not 0 <= request.linger_seconds <= longest:
            raise BadParameter(
                parameter="lingerSeconds",
                reason="out of range",
                rule="T24-D-1",
                hint=f"0 to {longest:.0f} (lifetimes.max_linger_seconds)",
            )
        return await self._shared.background.finish(
            self._release(self._matching(caller, request), request)
        )

    async def _release(
        self, matching: Iterable[Association], request: ReleaseRequest
    ) -> tuple[Association, ...]:
        results = await asyncio.gather(
            *(self._release_one(a, request.linger_seconds) for a in matching),
            return_exceptions=True,
        )
        for result in results:  # each was tried; one that failed is told
            if isinstance(result, BaseException):
                raise result
        return tuple(a for a in results if isinstance(a, Association))

    async def _release_one(
        self, association: Association, linger_seconds: int
    ) -> Association | None:
        if linger_seconds == 0:
            return await self._endings.end_or_refuse(association.id, EndReason.RELEASED)
        async with self._shared.lock(association.registration):
            current = self._shared.table.get(association.id)
            if current is None or current.phase is not Phase.INSTALLED:
                return None
            released = lifecycle.release(current, linger_seconds, now=self.now())
            try:
                return await self._endings.change(current, released)
            except Lost:
                return lifecycle.end(current, EndReason.KERNEL_LOST)

    def _matching(self, caller: Caller, request: ReleaseRequest) -> list[Association]:
        table = self._shared.table
        if request.association_id is not None:
            return [self._installed(caller, request.association_id, self._may_release)]
        if request.private_identity is not None:
            candidates = table.of_identity(request.private_identity)
        else:
            candidates = table.of_peer(request.peer_address or "")
        allowed = [
            a for a in candidates if a.phase is Phase.INSTALLED and self._may_release(caller, a)
        ]
        if not allowed:
            raise NoSuchAssociation
        return allowed

    # --- looking ---------------------------------------------------------------------------------

    def find(self, caller: Caller, flow: Flow) -> Association:  # noqa: ARG002 - the API has checked
        """Return the association that protects a flow."""
        association = self._shared.table.find(flow)
        if association is None:
            raise UnknownFlow
        return association

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
        return await self._shared.background.finish(self._reconciler.reconcile(reason))

    # --- checks ----------------------------------------------------------------------------------

    def _circumstances(self) -> Circumstances:
        settings = self._shared.settings
        return Circumstances(
            layout=settings.layout,
            lifetimes=settings.lifetimes,
            limits=settings.limits,
            own_addresses=self._own_addresses(),
            missing_algorithms=self._missing_algorithms,
            now=self.now(),
            realtime=self.realtime(),
        )

    def _endpoint(self, caller: Caller, name: str) -> Endpoint:
        endpoint = self._shared.settings.endpoints.get(name)
        if endpoint is None:
            raise NoSuchEndpoint(endpoint=name)
        if not self._access.may_use_endpoint(caller, endpoint):
            raise NotPermitted(
                reason=f"uid {caller.uid} is no user of endpoint {name}",
                hint="add it to users of the endpoint",
            )
        return endpoint

    def _mechanism(self, name: str) -> MechanismDriver:
        mechanism = self._shared.mechanisms.get(name)
        if mechanism is None:
            raise MechanismUnavailable(
                mechanism=name,
                reason="not known to this version",
                hint=f"this version has {', '.join(sorted(self._shared.mechanisms))}",
            )
        return mechanism

    def _may_release(self, caller: Caller, association: Association) -> bool:
        return self._may_use(caller, association) or self._access.may_control(caller)

    def _may_use(self, caller: Caller, association: Association) -> bool:
        endpoint = self._shared.settings.endpoints.get(association.endpoint)
        return endpoint is not None and self._access.may_use_endpoint(caller, endpoint)

    def _installed(
        self,
        caller: Caller,
        association_id: str,
        may: Callable[[Caller, Association], bool],
    ) -> Association:
        association = self._shared.table.get(association_id)
        if (
            association is None
            or association.phase is not Phase.INSTALLED
            or association.state is AssociationState.ENDED
        ):
            raise NoSuchAssociation
        if not may(caller, association):
            raise NotPermitted(
                reason=f"uid {caller.uid} is no user of endpoint {association.endpoint}",
                hint="add it to users of the endpoint",
            )
        return association
