"""What the API serves: the daemon behind the socket, as a protocol.

The counterpart is :mod:`sad.runtime.service`; tests may put a small real object in its place.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from sad.model.association import Association
from sad.model.credential import CredentialView, HandedOut
from sad.model.endpoint import Endpoint
from sad.model.inspection import (
    CheckResult,
    Finding,
    FlowExplanation,
    HistoryStep,
    PolicyState,
)
from sad.model.key_requests import HeldKey, KeyList, RotateKeyRequest
from sad.model.key_set import KeySetDraft
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


class Operator(Protocol):
    """What operators ask beyond the table (:class:`sad.runtime.operating.Operations`)."""

    async def dry_run(self, reason: str) -> tuple[ReconcileReport, tuple[Finding, ...]]:
        """Compare the kernel with the journal and say what differs."""

    async def inspect(
        self, association: Association
    ) -> tuple[tuple[PolicyState, ...], tuple[HistoryStep, ...]]:
        """Return the policies between the hosts of an association, and its last steps."""

    async def explain(self, flow: Flow) -> FlowExplanation:
        """Say why packets of a flow are protected or not."""

    async def check(self) -> tuple[CheckResult, ...]:
        """Look at the node."""


class Backend(Protocol):
    """Every method raises a :class:`sad.model.errors.SadError` when it refuses."""

    @property
    def operator(self) -> Operator:
        """What answers operators."""

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME, the clock of ``Association.deadline_at``."""

    def realtime(self) -> float:
        """Seconds of the real-time clock."""

    def agreement(self, caller: Caller, endpoint: str) -> Endpoint:
        """Return an endpoint that the caller may use, for what its user agents are told."""

    def screen(self, caller: Caller, request: ScreenRequest) -> Screened:
        """Say what Offer would take of an unprotected REGISTER's list."""

    async def offer(self, caller: Caller, request: OfferRequest) -> Offered:
        """Choose, allocate and install a temporary set; repeated: the same answer."""

    def verify(self, caller: Caller, request: VerifyRequest) -> Verified:
        """Judge a REGISTER on a protected flow."""

    async def attach(self, caller: Caller, request: AttachRequest) -> Attached:
        """Bind a TLS association to the connection that a request came over."""

    async def take_into_use(self, caller: Caller, association_id: str) -> Association:
        """Let a confirmed set carry what is sent, and older ones retire."""

    async def install(self, caller: Caller, request: InstallRequest) -> Association:
        """Install a negotiated set; all or nothing."""

    async def confirm(self, caller: Caller, request: ConfirmRequest) -> Association:
        """Establish or lengthen."""

    async def release(self, caller: Caller, request: ReleaseRequest) -> tuple[Association, ...]:
        """End what matches, now or after its linger."""

    def find(self, caller: Caller, flow: Flow) -> Found:
        """Return the association that protects a flow, and its registration's outbound one."""

    async def get(
        self, caller: Caller, association_id: str
    ) -> tuple[Association, tuple[SaCounters, ...]]:
        """Return one association with its kernel counters."""

    def list_associations(self, caller: Caller, wanted: ListFilter) -> Iterable[Association]:
        """Return the associations that match, a consistent view of this instant."""

    def subscribe(self, caller: Caller) -> AsyncIterator[WatchEvent]:
        """Stream present associations, then ready, then changes; close it to unsubscribe."""

    def status(self) -> Status:
        """Return the daemon as it stands."""

    def credential(self, caller: Caller, endpoint: str, known_generation: str | None) -> HandedOut:
        """Hand out an endpoint's TLS credential set; its descriptors are the API's to close."""

    def revoke_credential(self, caller: Caller, endpoint: str) -> str:
        """Take an endpoint's TLS credential set out of force; return its generation."""

    def credentials(self) -> tuple[CredentialView, ...]:
        """Return the TLS credential sets of all endpoints as they stand."""

    async def reconcile(self, reason: str) -> ReconcileReport:
        """Compare the kernel with the journal and mend what differs."""


class KeyBackend(Protocol):
    """The key sets of ``ipsec-man`` (:class:`sad.runtime.manual_keys.ManualKeys`)."""

    async def add(self, draft: KeySetDraft) -> HeldKey:
        """Take over a key set of ``ipsec-man`` until the daemon stops; wipes the draft's keys."""

    async def rotate(self, request: RotateKeyRequest) -> HeldKey:
        """Take over the successor of a key set; wipes the request's keys."""

    async def remove(self, name: str) -> None:
        """Remove a key set that was given at run time, and its SAs."""

    def list(self) -> KeyList:
        """Return all key sets, and what is wrong in the key files."""
