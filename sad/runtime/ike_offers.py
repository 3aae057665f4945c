"""What ``Offer`` does for ``ipsec-ike``: the peer's connection is ready before the list leaves."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Protocol

from msgspec import structs

from sad.core import ike
from sad.core.admission import Rates, check_room
from sad.core.agreement import Choice
from sad.core.allocation import RandBelow
from sad.core.offer import check_unprotected, offer_key
from sad.model.agreement import OfferRecord, Refusal
from sad.model.association import Association, AssociationState, Phase
from sad.model.endpoint import Endpoint, Role
from sad.model.errors import FlowInUse, MechanismUnavailable
from sad.model.ike import IkePeer
from sad.model.ike_child import IkeChild
from sad.model.requests import Caller, NoKeys, OfferRequest
from sad.model.views import Offered
from sad.runtime.ike import IkeFollower
from sad.runtime.installs import Installs
from sad.runtime.ports import MechanismDriver
from sad.runtime.state import Shared
from sad.vici.errors import Unavailable


class IkeDriver(MechanismDriver, Protocol):
    """The driver of ``ipsec-ike``."""

    problem: Unavailable | None

    def named(
        self, endpoint: Endpoint, peer: IkePeer, association_id: str, where: IkeChild
    ) -> IkeChild:
        """Return a child with its names."""


class IkeOffers:
    """An :class:`sad.runtime.ports.OfferHandler`.

    It is idempotent: as long as an association with a peer's ports stands, it is the answer. Who
    asks in clear proves nothing, so nothing that stands is touched for it; a peer that has lost
    its state begins IKE anew, and charon replaces what was.
    """

    def __init__(
        self,
        shared: Shared,
        installs: Installs,
        driver: IkeDriver,
        follower: IkeFollower,
        own_addresses: Callable[[], AbstractSet[str]],
        randbelow: RandBelow,
    ) -> None:
        self._shared = shared
        self._installs = installs
        self._driver = driver
        self._follower = follower
        self._own_addresses = own_addresses
        self._randbelow = randbelow
        self._limits = shared.settings.limits
        self._rates = Rates(self._limits)

    async def offer(
        self, caller: Caller, request: OfferRequest, choice: Choice, endpoint: Endpoint
    ) -> Offered:
        """Have a peer's connection and child ready; begin if it is ours to."""
        del caller  # looked at by the gate
        shared = self._shared
        peer = _peer_of(request, endpoint)
        check_unprotected(request.flow, endpoint, self._own_addresses())
        self._take_rate(request.flow.peer_address)
        if self._driver.problem is not None:
            problem = self._driver.problem
            raise MechanismUnavailable(
                mechanism=ike.MECHANISM, reason=str(problem), hint=problem.hint
            )
        new = self._decide(request, choice, endpoint, peer)
        async with shared.lock(new.registration):
            for standing in shared.table.installed_of(new.registration):
                if standing.private_identity == request.private_identity:
                    return self._offered(standing, endpoint)
                # What nobody has proven yet may be anybody's, and keeps nobody out.
                if standing.state is not AssociationState.TEMPORARY:
                    raise FlowInUse(
                        reason="its address and port are another user's",
                        id=standing.id,
                        hint="peers behind one address need ports of their own",
                    )
            check_room(
                shared.table,
                shared.settings.limits,
                request.flow.peer_address,
                request.private_identity,
                (),
                shared.clock.boottime(),
            )
            installed = await self._installs.install_locked(self._driver, new, NoKeys())
        if endpoint.ike is not None and endpoint.ike.initiates:
            shared.background.start(self._follower.begin(installed))
        return self._offered(installed, endpoint)

    def _take_rate(self, peer_address: str) -> None:
        if self._limits is not self._shared.settings.limits:  # reloaded
            self._limits = self._shared.settings.limits
            self._rates = Rates(self._limits)
        self._rates.take(peer_address, self._shared.clock.boottime())

    def _decide(
        self, request: OfferRequest, choice: Choice, endpoint: Endpoint, peer: IkePeer
    ) -> Association:
        shared = self._shared
        association_id = f"{self._randbelow(1 << 48):012x}"
        where = IkeChild(
            role=Role.EDGE,
            local_address=request.flow.local_address,
            peer_address=request.flow.peer_address,
            local_ports=(endpoint.server_port,),
            peer_ports=peer.ports or (request.flow.peer_port,),
            connection="",
            child="",
        )
        now, lifetimes = shared.clock.boottime(), shared.settings.lifetimes
        draft = Association(
            id=association_id,
            endpoint=endpoint.name,
            private_identity=request.private_identity,
            public_identities=request.public_identities,
            mechanism=ike.MECHANISM,
            state=AssociationState.TEMPORARY,
            phase=Phase.INSTALLING,
            reqid_in=0,
            reqid_out=(),
            created_at=shared.clock.realtime(),
            confirmed_at=0.0,
            deadline_at=now + self._follower.start_seconds,
            policies_until=now + lifetimes.policies,
            ipsec_ike=where,
            offer=OfferRecord(
                offer_key=offer_key(request),
                offered_on=None,
                security_client=choice.text,
                security_server=endpoint.security_server,
            ),
        )
        child = self._driver.named(endpoint, peer, association_id, where)
        return structs.replace(draft, ipsec_ike=child)

    def _offered(self, association: Association, endpoint: Endpoint) -> Offered:
        failure = self._follower.failure_of(endpoint.name, association.private_identity)
        told: tuple[Refusal, ...] = ()
        if failure is not None and association.state is AssociationState.TEMPORARY:
            told = (
                Refusal(
                    offer_index=0,
                    mechanism=ike.MECHANISM,
                    reason=failure.failure,
                    text=f"the last one ended: {failure.words}",
                    rule="R3329-2.4-ike-a",
                ),
            )
        return Offered(
            association=association, security_server=endpoint.security_server, refusals=told
        )


def _peer_of(request: OfferRequest, endpoint: Endpoint) -> IkePeer:
    if endpoint.ike is None:
        raise MechanismUnavailable(
            mechanism=ike.MECHANISM,
            reason=f"endpoint {endpoint.name} has no settings of IKE",
            hint="add [endpoint.ike]",
        )
    peer = endpoint.ike.peer_of(request.private_identity)
    if peer is None:
        raise MechanismUnavailable(
            mechanism=ike.MECHANISM,
            reason=f"no peer speaks for {request.private_identity}",
            hint="add it to users of an [[endpoint.ike.peer]]",
        )
    return peer
