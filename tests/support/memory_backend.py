"""A small real daemon without a kernel: what the API serves in tests.

It keeps associations in a dictionary and follows the rules of :class:`sad.api.backend.Backend`.
Tests can hold its slow methods at a gate, make it fail, and count what was cancelled.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable

from msgspec import structs

from sad.api.authorization import may_use_endpoint
from sad.core import agreement, offer
from sad.core.nat import user_agent_end
from sad.credentials.keeper import CredentialKeeper
from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.credential import CredentialView, HandedOut
from sad.model.endpoint import Endpoint, Role
from sad.model.errors import (
    FlowInUse,
    NoCredential,
    NoSuchAssociation,
    NoSuchEndpoint,
    NotPermitted,
    UnknownFlow,
)
from sad.model.inspection import (
    CheckResult,
    Finding,
    Fitness,
    FlowExplanation,
    HistoryStep,
    PacketFate,
    PolicyState,
    PoolUse,
    Verdict,
)
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
from sad.model.sa_set import SaSetParameters
from sad.model.tls_connection import TlsConnection
from sad.model.views import (
    Attached,
    DaemonState,
    EndpointStatus,
    Found,
    Offered,
    ReconcileReport,
    SaCounters,
    Screened,
    Status,
    Verified,
    WatchEvent,
    WatchKind,
)
from tests.support import make

NOW = 100.0
REALTIME = 1_700_000_000.0


class MemoryOperator:
    """Answers operators with one of each."""

    async def dry_run(self, reason: str) -> tuple[ReconcileReport, tuple[Finding, ...]]:
        report = ReconcileReport(
            at=REALTIME, reason=reason, adopted=0, repaired=1, removed=0, ended=0
        )
        return report, (Finding(what="repair", text="policy in a -> b is missing"),)

    async def inspect(
        self,
        association: Association,  # noqa: ARG002 - Operator
    ) -> tuple[tuple[PolicyState, ...], tuple[HistoryStep, ...]]:
        policy = PolicyState(
            direction="out",
            action="allow",
            source="10.10.0.1:5064",
            destination="10.10.0.2:6300",
            protocol=0,
            priority=2000,
            reqid=7,
            ours=True,
        )
        return (policy,), (HistoryStep(step="installed", at=REALTIME),)

    async def explain(self, flow: Flow) -> FlowExplanation:  # noqa: ARG002 - Operator
        fate = PacketFate(
            inbound=True,
            verdict=Verdict.DROPPED,
            findings=(Finding(what="policy", text="block"),),
            hint="look",
        )
        return FlowExplanation(association_id="", endpoint="access", fates=(fate,))

    async def check(self) -> tuple[CheckResult, ...]:
        return (
            CheckResult(what="capability", fitness=Fitness.OK, text="held"),
            CheckResult(what="ESP", fitness=self.esp, text="looked at", hint="modprobe esp4"),
        )

    esp = Fitness.WARNING


class MemoryBackend:
    """Associations in memory. ``gate`` shut holds what waits for kernel or journal."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.endpoints = {e.name: e for e in endpoints or (make.endpoint(),)}
        self.associations: dict[str, Association] = {}
        self.daemon_state = DaemonState.READY
        self.operator = MemoryOperator()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: BaseException | None = None
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.requests: list[InstallRequest] = []
        self.offers: list[OfferRequest] = []
        self.attachments: list[AttachRequest] = []
        self.releases: list[ReleaseRequest] = []
        self.queues: list[asyncio.Queue[WatchEvent]] = []
        self.finalised = 0
        self.keeper: CredentialKeeper | None = None
        self._ids = itertools.count(1)

    def now(self) -> float:
        return NOW

    def realtime(self) -> float:
        return REALTIME

    async def _pass_gate(self, what: str) -> None:
        self.begun.append(what)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(what)
            raise
        if self.failure is not None:
            raise self.failure

    def agreement(self, caller: Caller, endpoint: str) -> Endpoint:
        return self._endpoint(caller, endpoint)

    def screen(self, caller: Caller, request: ScreenRequest) -> Screened:
        choice = agreement.choose(
            request.security_client, self._endpoint(caller, request.endpoint), frozenset()
        )
        return Screened(mechanism=choice.mechanism, refusals=choice.refusals)

    async def offer(self, caller: Caller, request: OfferRequest) -> Offered:
        endpoint = self._endpoint(caller, request.endpoint)
        end = user_agent_end(request.flow, request.via_address, None, endpoint)
        choice = agreement.choose(request.security_client, endpoint, frozenset(), nat=end.nat)
        self.offers.append(request)
        installed = await self.install(caller, offer.install_of(request, choice, endpoint, end))
        server = agreement.security_server(installed.sa_set, endpoint, frozenset())
        record = make.offer_record(security_client=choice.text, security_server=server)
        self.associations[installed.id] = structs.replace(installed, offer=record)
        return Offered(association=installed, security_server=server, refusals=choice.refusals)

    def verify(self, caller: Caller, request: VerifyRequest) -> Verified:
        association = self.find(caller, request.flow).association
        self._mine(caller, association.id)
        if association.offer is not None:
            agreement.check_mirrored(
                association.offer, request.security_verify, request.security_client
            )
        return Verified(association=association, refusals=())

    async def attach(self, caller: Caller, request: AttachRequest) -> Attached:
        self._endpoint(caller, request.endpoint)
        await self._pass_gate(f"attach {request.private_identity}")
        self.attachments.append(request)
        flow = request.flow
        bound = make.association(
            id=f"{next(self._ids):012}",
            endpoint=request.endpoint,
            private_identity=request.private_identity,
            public_identities=request.public_identities,
            mechanism="tls",
            phase=Phase.INSTALLED,
            sa_set=None,
            reqid_in=0,
            reqid_out=(),
            tls=TlsConnection(
                role=Role.EDGE,
                local_address=flow.local_address,
                local_port=flow.local_port,
                peer_address=flow.peer_address,
                peer_port=flow.peer_port,
                cookie=77,
                identity=request.identity,
                credential=request.credential,
                version=request.version,
                cipher=request.cipher,
            ),
        )
        self.put(bound)
        return Attached(association=bound, closes_connection=True)

    async def take_into_use(self, caller: Caller, association_id: str) -> Association:
        association = self._mine(caller, association_id)
        await self._pass_gate(f"take into use {association_id}")
        taken = structs.replace(association, state=AssociationState.IN_USE)
        self.associations[taken.id] = taken
        self.publish(WatchKind.CHANGED, taken)
        return taken

    async def install(self, caller: Caller, request: InstallRequest) -> Association:
        endpoint = self._endpoint(caller, request.endpoint)
        await self._pass_gate(f"install {request.private_identity}")
        for other in self.associations.values():
            if (other.sa_set.ue_address, other.sa_set.port_uc) == (
                request.ue_address,
                request.port_uc,
            ):
                raise FlowInUse(reason="port_uc is in use", id=other.id, hint="release it")
        self.requests.append(request)
        names = SaSetParameters.__struct_fields__
        sa_set = {name: getattr(request, name) for name in names}
        sa_set["port_ps"] = sa_set["port_ps"] or endpoint.server_port
        sa_set["port_pc"] = sa_set["port_pc"] or endpoint.client_ports[0]
        sa_set["spi_pc"] = sa_set["spi_pc"] or 4096
        sa_set["spi_ps"] = sa_set["spi_ps"] or 4097
        lifetime = request.lifetime_seconds
        installed = make.association(
            id=f"{next(self._ids):012}",
            endpoint=request.endpoint,
            private_identity=request.private_identity,
            public_identities=request.public_identities,
            mechanism=request.mechanism,
            state=AssociationState.ESTABLISHED if lifetime else AssociationState.TEMPORARY,
            phase=Phase.INSTALLED,
            sa_set=SaSetParameters(**sa_set),
            created_at=REALTIME,
            confirmed_at=REALTIME if lifetime else 0.0,
            deadline_at=NOW + (lifetime or 240),
        )
        self.put(installed)
        return installed

    async def confirm(self, caller: Caller, request: ConfirmRequest) -> Association:
        association = self._mine(caller, request.association_id)
        await self._pass_gate(f"confirm {request.association_id}")
        confirmed = structs.replace(
            association,
            state=AssociationState.ESTABLISHED,
            confirmed_at=REALTIME,
            deadline_at=max(association.deadline_at, NOW + request.expires_seconds + 30),
            note=request.note,
        )
        self.associations[confirmed.id] = confirmed
        self.publish(WatchKind.CHANGED, confirmed)
        return confirmed

    async def release(self, caller: Caller, request: ReleaseRequest) -> tuple[Association, ...]:
        await self._pass_gate("release")
        self.releases.append(request)
        if request.association_id is not None:
            self._mine(caller, request.association_id)
        matching = [
            a
            for a in self.associations.values()
            if a.id == request.association_id
            or a.private_identity == request.private_identity
            or a.path.peer_address == request.peer_address
        ]
        if not matching:
            raise NoSuchAssociation
        return tuple(self.end(a.id) for a in matching)

    def find(self, caller: Caller, flow: Flow) -> Found:  # noqa: ARG002 - Backend
        if self.failure is not None:
            raise self.failure
        for association in self.associations.values():
            sa_set = association.path
            if (sa_set.peer_address, sa_set.local_address) == (
                flow.peer_address,
                flow.local_address,
            ) and flow.peer_port in sa_set.peer_ports:
                return Found(association=association, outbound=association)
        raise UnknownFlow

    async def get(
        self,
        caller: Caller,  # noqa: ARG002 - Backend
        association_id: str,
    ) -> tuple[Association, tuple[SaCounters, ...]]:
        await self._pass_gate(f"get {association_id}")
        if association_id not in self.associations:
            raise NoSuchAssociation
        counters = SaCounters(
            name="ps",
            inbound=True,
            spi=4097,
            bytes=1500,
            packets=3,
            replay_failures=0,
            integrity_failures=1,
            last_used_at=REALTIME,
        )
        return self.associations[association_id], (counters,)

    def list_associations(self, caller: Caller, wanted: ListFilter) -> Iterable[Association]:  # noqa: ARG002 - Backend
        if self.failure is not None:
            raise self.failure
        return [
            a
            for a in self.associations.values()
            if wanted.endpoint in (None, a.endpoint)
            and wanted.private_identity in (None, a.private_identity)
            and wanted.peer_address in (None, a.path.peer_address)
            and wanted.mechanism in (None, a.mechanism)
            and wanted.state in (None, a.state)
            and (wanted.deadline_until is None or a.deadline_at <= wanted.deadline_until)
        ]

    async def subscribe(self, caller: Caller) -> AsyncIterator[WatchEvent]:  # noqa: ARG002 - Backend
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self.queues.append(queue)
        try:
            for association in tuple(self.associations.values()):
                yield WatchEvent(WatchKind.PRESENT, association)
            yield WatchEvent(WatchKind.READY, None)
            while True:
                event = await queue.get()
                if self.failure is not None:
                    raise self.failure
                yield event
        finally:
            await asyncio.sleep(0)  # real clean-up waits, too
            self.queues.remove(queue)
            self.finalised += 1

    def credential(self, caller: Caller, endpoint: str, known_generation: str | None) -> HandedOut:
        self._endpoint(caller, endpoint)
        if self.keeper is None:
            raise NoCredential(endpoint=endpoint, reason="there is none", hint="make one")
        return self.keeper.hand_out(endpoint, known_generation)

    def revoke_credential(self, caller: Caller, endpoint: str) -> str:  # noqa: ARG002 - Backend
        if self.keeper is None:
            raise NoCredential(endpoint=endpoint, reason="there is none", hint="make one")
        return self.keeper.revoke(endpoint)

    def credentials(self) -> tuple[CredentialView, ...]:
        return () if self.keeper is None else self.keeper.views()

    def status(self) -> Status:
        return Status(
            version="0",
            started_at=REALTIME,
            state=self.daemon_state,
            endpoints=tuple(
                EndpointStatus(
                    profile=e.profile,
                    security_required=e.security_required,
                    security_server=e.security_server,
                    name=e.name,
                    addresses=e.addresses,
                    server_port=e.server_port,
                    client_ports=e.client_ports,
                    algorithms=tuple("/".join(pair) for pair in e.algorithms),
                    unavailable=(),
                    associations=len(self.associations),
                )
                for e in self.endpoints.values()
            ),
            associations=(("ipsec-3gpp", "established", len(self.associations)),),
            pools=(PoolUse(name="associations", endpoint="", used=170_000, size=200_000),),
            kernel_counters=(("XfrmInNoStates", 2),),
            last_reconcile=None,
            last_problem=None,
            last_problem_at=None,
            last_problem_hint=None,
        )

    async def reconcile(self, reason: str) -> ReconcileReport:
        await self._pass_gate("reconcile")
        return ReconcileReport(
            at=REALTIME,
            reason=reason,
            adopted=len(self.associations),
            repaired=0,
            removed=0,
            ended=0,
        )

    # --- for tests ---------------------------------------------------------------------------

    def put(self, association: Association) -> None:
        """Let an association appear."""
        self.associations[association.id] = association
        self.publish(WatchKind.ADDED, association)

    def fill(self, count: int) -> None:
        """Let ``count`` associations appear with ids in order."""
        for number in range(count):
            self.put(make.association(id=f"{number:012}"))

    def end(self, association_id: str) -> Association:
        """Let an association end."""
        ended = structs.replace(
            self.associations.pop(association_id),
            state=AssociationState.ENDED,
            end_reason=EndReason.RELEASED,
        )
        self.publish(WatchKind.ENDED, ended)
        return ended

    def publish(self, kind: WatchKind, association: Association | None) -> None:
        """Tell every subscriber."""
        for queue in self.queues:
            queue.put_nowait(WatchEvent(kind, association))

    def _endpoint(self, caller: Caller, name: str) -> Endpoint:
        if name not in self.endpoints:
            raise NoSuchEndpoint(endpoint=name)
        if not may_use_endpoint(caller, self.endpoints[name]):
            raise NotPermitted(
                reason=f"uid {caller.uid} may not use {name}", hint="ask the operator"
            )
        return self.endpoints[name]

    def _mine(self, caller: Caller, association_id: str) -> Association:
        if association_id not in self.associations:
            raise NoSuchAssociation
        association = self.associations[association_id]
        self._endpoint(caller, association.endpoint)
        return association
