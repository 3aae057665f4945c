"""What SIP software asks, and foreign hands do: to the daemon, and to the model."""

import dataclasses
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Protocol

from netlink.interface import Kernel
from netlink.model import DeletePolicy, DeleteSa, PolicyId, SaId
from sad.model.agreement import Transaction
from sad.model.association import Association
from sad.model.errors import SadError
from sad.model.requests import ConfirmRequest, Flow, OfferRequest, ReleaseRequest
from sad.model.views import Offered
from sad.runtime.service import AssociationService
from tests.oracle import sets as model
from tests.oracle.sets import Outcome, Proposal, SaSet, Sets
from tests.support.make import EDGE_ADDRESS, clear_flow, offer_request, security_client
from tests.support.shell import USER

#: What anything may be refused with that meets a fault or a set that the kernel has lost.
FAULTS: Final = frozenset({"KernelRefused", "JournalUnavailable"})

Answer = object


class Call(Protocol):
    """One event."""

    def ask(self, service: AssociationService, foreign: Kernel) -> Awaitable[Answer]:
        """Have it happen; raises the refusal."""

    def expect(self, sets: Sets, now: float) -> Outcome:
        """Tell what should come of it."""

    def mismatch(self, outcome: Outcome, answer: Answer) -> str | None:
        """Say what is wrong with a good answer."""


def set_of(association: Association, proposal: Proposal | None = None) -> SaSet:
    """Return the daemon's word as a set of the model; what it no longer knows is given."""
    s = association.sa_set
    told = Proposal(
        identity=association.private_identity,
        contact=model.Contact(s.ue_address, s.port_us),
        port_uc=s.port_uc,
        spi_uc=s.spi_uc,
        spi_us=s.spi_us,
    )
    if proposal is not None:
        told = dataclasses.replace(told, on=proposal.on, transaction=proposal.transaction)
    return SaSet(
        name=association.id,
        proposal=told,
        port_pc=s.port_pc,
        spi_pc=s.spi_pc,
        spi_ps=s.spi_ps,
        state=model.State(association.state.value),
        deadline=association.deadline_at,
        granted=association.registered,
    )


@dataclass(frozen=True, slots=True)
class Offer:
    """A 401 to a REGISTER."""

    proposal: Proposal
    on: SaSet | None = None

    def request(self) -> OfferRequest:
        """Return it as the hook sends it."""
        p = self.proposal
        flow = clear_flow(peer_address=p.contact.address)
        if self.on is not None:
            flow = Flow(
                peer_address=p.contact.address,
                peer_port=self.on.proposal.port_uc,
                local_address=EDGE_ADDRESS,
                local_port=5064,
            )
        row = security_client(
            spi_c=p.spi_uc, spi_s=p.spi_us, port_c=p.port_uc, port_s=p.contact.port_us
        )
        return offer_request(
            private_identity=p.identity,
            flow=flow,
            transaction=Transaction(
                call_id=f"call{p.transaction}", cseq=p.transaction, branch="z9hG4bK"
            ),
            association_id=p.on,
            security_client=(row,),
        )

    def ask(self, service: AssociationService, foreign: Kernel) -> Awaitable[Answer]:  # noqa: ARG002
        """Ask."""
        return service.offer(USER, self.request())

    def expect(self, sets: Sets, now: float) -> Outcome:
        """T24-P-6, T33-7.3.1.4, matrix rows 1 to 3 and 9."""
        return model.offer(sets, self.proposal, now)

    def mismatch(self, outcome: Outcome, answer: Answer) -> str | None:
        """The node's own SPIs and port are free and its own, whatever they are."""
        assert isinstance(answer, Offered)
        assert outcome.new is not None
        granted = set_of(answer.association, self.proposal)
        if outcome.new.name:  # a retransmission
            same = outcome.new == granted
            return None if same else f"a retransmission got {granted}, not {outcome.new}"
        others = [s for s in outcome.sets if s.name]
        if granted != as_granted(outcome.new, granted):
            return f"{granted} is not what was proposed: {outcome.new}"
        if {granted.spi_pc, granted.spi_ps} & {x for s in others for x in (s.spi_pc, s.spi_ps)}:
            return f"{granted} has an SPI of another set"
        beside = model.of_contact(tuple(others), granted.contact)
        if granted.port_pc in {s.port_pc for s in beside}:  # T33-7.1-g
            return f"{granted} has the port_pc of another set of its registration"
        return None


def as_granted(new: SaSet, granted: SaSet) -> SaSet:
    """Return the model's new set with what the node chose."""
    return dataclasses.replace(
        new,
        name=granted.name,
        port_pc=granted.port_pc,
        spi_pc=granted.spi_pc,
        spi_ps=granted.spi_ps,
    )


def _told_mismatch(name: str, outcome: Outcome, answer: Answer) -> str | None:
    assert isinstance(answer, Association)
    this = model.named(outcome.sets, name)
    if this is None or (answer.state.value, answer.deadline_at) != (this.state, this.deadline):
        return f"answered {answer.state} until {answer.deadline_at}, expected {this}"
    return None


@dataclass(frozen=True, slots=True)
class Confirm:
    """A 200 to a REGISTER."""

    name: str
    expires: int

    def ask(self, service: AssociationService, foreign: Kernel) -> Awaitable[Answer]:  # noqa: ARG002
        """Ask."""
        request = ConfirmRequest(association_id=self.name, expires_seconds=self.expires)
        return service.confirm(USER, request)

    def expect(self, sets: Sets, now: float) -> Outcome:
        """T24-UE-4, T24-P-7, T24-P-8, T24-P-11; matrix rows 1, 2, 4 and 7."""
        return model.confirm(sets, self.name, self.expires, now)

    def mismatch(self, outcome: Outcome, answer: Answer) -> str | None:
        """The answer tells the lifetime."""
        return _told_mismatch(self.name, outcome, answer)


@dataclass(frozen=True, slots=True)
class TakeIntoUse:
    """The first request on a set."""

    name: str

    def ask(self, service: AssociationService, foreign: Kernel) -> Awaitable[Answer]:  # noqa: ARG002
        """Ask."""
        return service.take_into_use(USER, self.name)

    def expect(self, sets: Sets, now: float) -> Outcome:
        """T24-P-9; matrix row 5."""
        return model.take_into_use(sets, self.name, now)

    def mismatch(self, outcome: Outcome, answer: Answer) -> str | None:
        """The answer tells the state."""
        return _told_mismatch(self.name, outcome, answer)


@dataclass(frozen=True, slots=True)
class Release:
    """A de-registration."""

    name: str
    linger: int = 0
    whole: bool = False

    def ask(self, service: AssociationService, foreign: Kernel) -> Awaitable[Answer]:  # noqa: ARG002
        """Ask."""
        return service.release(
            USER,
            ReleaseRequest(
                association_id=self.name,
                linger_seconds=self.linger,
                whole_registration=self.whole,
            ),
        )

    def expect(self, sets: Sets, now: float) -> Outcome:
        """T24-D-1."""
        return model.release(sets, self.name, self.linger, now, whole=self.whole)

    def mismatch(self, outcome: Outcome, answer: Answer) -> str | None:  # noqa: ARG002
        """The list of what was released is told by the table."""
        return None


@dataclass(frozen=True, slots=True)
class LoseSa:
    """Somebody else deletes an SA of a set."""

    name: str
    sa: SaId

    async def ask(self, service: AssociationService, foreign: Kernel) -> Answer:  # noqa: ARG002
        """Delete it behind the daemon's back."""
        await foreign.commit([DeleteSa(id=self.sa)])
        return None

    def expect(self, sets: Sets, now: float) -> Outcome:  # noqa: ARG002
        """Half a set is none: it ends."""
        return model.lose(sets, [self.name])

    def mismatch(self, outcome: Outcome, answer: Answer) -> str | None:  # noqa: ARG002
        """There is no answer."""
        return None


@dataclass(frozen=True, slots=True)
class LosePolicy:
    """Somebody else deletes a policy of ours."""

    policy: PolicyId

    async def ask(self, service: AssociationService, foreign: Kernel) -> Answer:  # noqa: ARG002
        """Delete it behind the daemon's back."""
        await foreign.commit([DeletePolicy(id=self.policy)])
        return None

    def expect(self, sets: Sets, now: float) -> Outcome:  # noqa: ARG002
        """It comes back."""
        return Outcome(sets)

    def mismatch(self, outcome: Outcome, answer: Answer) -> str | None:  # noqa: ARG002
        """There is no answer."""
        return None


def refusal_name(answer: Answer) -> str | None:
    """Return the refusal's name, None of a good answer; a defect's own exception goes on."""
    if isinstance(answer, SadError):
        return type(answer).__name__
    if isinstance(answer, BaseException):
        raise answer
    if answer == ():  # a Release of what ended meanwhile
        return "NoSuchAssociation"
    return None
