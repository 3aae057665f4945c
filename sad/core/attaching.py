"""``Attach``: which association a TLS connection gets, or why it gets none. Pure.

One connection serves one private identity. A registration that was granted over it holds it; what
another identity asks over the same connection is refused (its user agent opens its own). Before
that nothing is proven of who asks, so the latest word counts. Public identities of one private
identity share the connection.

Two ways lead here. Where ``tls`` was agreed on by lists (profile ``ims``, T33-O-a variant 1) the
temporary association of that Offer waits for a connection, and the lists that come back over it
must be those of the challenge. Where nothing was offered (variant 2: TLS from the start; profile
``rfc3329``, whose list is static and was compared by the hook) the association is made now.
"""

import dataclasses
from collections.abc import Iterator
from typing import Final

from msgspec import structs

from netlink.tcp import ObservedConnection
from sad.core.agreement import check_mirrored
from sad.core.allocation import RandBelow
from sad.core.decision import Circumstances
from sad.core.lifecycle import attach
from sad.core.pending import prefix_of
from sad.core.table import AssociationTable
from sad.core.validation import check_addresses
from sad.model.association import Association, AssociationState, Phase, RegistrationKey
from sad.model.endpoint import Endpoint, Profile, Role
from sad.model.errors import (
    BadParameter,
    FlowInUse,
    LimitExceeded,
    MechanismUnavailable,
    NoSuchConnection,
    UnknownFlow,
    VerifyMismatch,
)
from sad.model.requests import AttachRequest
from sad.model.tls_connection import TlsConnection

TLS: Final = "tls"

#: UPD-8996: what the common TLS libraries call those below 1.2, which ``tls`` cannot mean.
_WITHDRAWN: Final = frozenset({"sslv2", "sslv3", "tlsv1", "tlsv1.0", "tlsv1.1"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What an Attach brings about.

    ``before`` is the association as it was, None for a new one, which is then in phase
    INSTALLING. ``closed`` were bound to earlier connections between the same ports.
    """

    association: Association
    before: Association | None
    closed: tuple[Association, ...] = ()


def registration_of(request: AttachRequest) -> RegistrationKey:
    """Return what owns an association over this connection."""
    flow = request.flow
    return RegistrationKey(
        mechanism=TLS,
        endpoint=request.endpoint,
        role=Role.EDGE,
        local_address=flow.local_address,
        local_server_port=flow.local_port,
        peer_address=flow.peer_address,
        peer_server_port=flow.peer_port,
    )


def check(request: AttachRequest, endpoint: Endpoint, around: Circumstances) -> None:
    """Raise what is wrong with a request, whatever connections there are."""
    if endpoint.tls_port is None:
        raise MechanismUnavailable(
            mechanism=TLS,
            reason=f"endpoint {endpoint.name} does not list it",
            hint="add tls to the mechanisms of the endpoint",
        )
    flow = request.flow
    check_addresses(
        (flow.local_address, "flow.localAddress"),
        (flow.peer_address, "flow.peerAddress"),
        endpoint,
        around.own_addresses,
    )
    if flow.local_port != endpoint.tls_port:
        raise BadParameter(
            parameter="flow.localPort",
            reason=f"not the TLS port of endpoint {endpoint.name}",
            rule="T33-O-a",
            hint=f"it is {endpoint.tls_port} (tls_port): have the SIP server listen there",
        )
    if not 0 < flow.peer_port <= 0xFFFF:
        raise BadParameter(
            parameter="flow.peerPort",
            reason="not a port",
            rule=None,
            hint="give the source port of the TCP connection",
        )
    if request.version is not None and request.version.lower() in _WITHDRAWN:
        raise BadParameter(
            parameter="tls.version",
            reason="below TLS 1.2",
            rule="UPD-8996",
            hint="have the SIP server refuse TLS 1.0 and 1.1 (Kamailio: tls_method=TLSv1.2+)",
        )
    longest = around.lifetimes.longest_registration
    if request.lifetime_seconds is not None and not 1 <= request.lifetime_seconds <= longest:
        raise BadParameter(
            parameter="lifetimeSeconds",
            reason="out of range",
            rule=None,
            hint=f"1 to {longest:.0f} (lifetimes.longest_registration_seconds)",
        )


def decide(
    request: AttachRequest,
    endpoint: Endpoint,
    found: ObservedConnection | None,
    table: AssociationTable,
    around: Circumstances,
    randbelow: RandBelow,
) -> Attachment:
    """Return what becomes of a request over the connection that was ``found`` for its flow.

    Raises a SadError to refuse. The request has passed :func:`check`.
    """
    if found is None or not found.is_open:
        raise NoSuchConnection(reason="no open TCP connection lies between these ports")
    here = tuple(_on_flow(request, table))
    closed = tuple(a for a in here if a.tls and a.tls.cookie != found.id.cookie)
    bound = next((a for a in here if a not in closed), None)
    connection = _connection(request, found)
    deadline_at = around.now + (request.lifetime_seconds or around.lifetimes.reg_await_auth)
    if bound is not None:
        before = _again(bound, request)
        # What was said once is not taken back by a request that does not say it.
        assert before.tls is not None
        connection = structs.replace(
            connection,
            identity=connection.identity or before.tls.identity,
            credential=before.tls.credential or connection.credential,
            version=connection.version or before.tls.version,
            cipher=connection.cipher or before.tls.cipher,
        )
        if request.lifetime_seconds is None or before.offer is not None:
            deadline_at = before.deadline_at  # T33-O.4: an incomplete registration ends
        after = attach(before, connection, deadline_at=deadline_at)
        return Attachment(association=after, before=bound, closed=closed)
    offered = _offered(request, endpoint, table)
    if offered is not None:
        after = attach(offered, connection, deadline_at=offered.deadline_at)
        return Attachment(association=after, before=offered, closed=closed)
    new = _new(request, connection, table, around, randbelow, leaving=len(closed))
    after = attach(new, connection, deadline_at=deadline_at)
    return Attachment(association=after, before=None, closed=closed)


def _on_flow(request: AttachRequest, table: AssociationTable) -> Iterator[Association]:
    flow = request.flow
    for association in table.of_peer_port(flow.peer_address, flow.peer_port):
        tls = association.tls
        if (
            tls is not None
            and tls.cookie is not None
            and (tls.local_address, tls.local_port) == (flow.local_address, flow.local_port)
        ):
            yield association


def _connection(request: AttachRequest, found: ObservedConnection) -> TlsConnection:
    flow = request.flow
    return TlsConnection(
        role=Role.EDGE,
        local_address=flow.local_address,
        local_port=flow.local_port,
        peer_address=flow.peer_address,
        peer_port=flow.peer_port,
        cookie=found.id.cookie,
        identity=request.identity,
        credential=request.credential,
        version=request.version,
        cipher=request.cipher,
    )


def _again(bound: Association, request: AttachRequest) -> Association:
    """Return the association of a connection as a further request over it leaves it."""
    if bound.phase is not Phase.INSTALLED or bound.state is AssociationState.RETIRING:
        raise NoSuchConnection(reason="its association was ended, and the connection is closed")
    same = bound.private_identity == request.private_identity
    if bound.endpoint != request.endpoint or (
        not same and (bound.registered or bound.offer is not None)
    ):
        raise FlowInUse(
            reason="this connection serves another registration",  # T24-P-4
            id=bound.id,
            hint="answer 403: each user agent opens its own connection",
        )
    if bound.offer is not None and (request.security_verify or request.security_client):
        check_mirrored(bound.offer, request.security_verify, request.security_client)
    if same:
        return bound
    return structs.replace(
        bound,
        private_identity=request.private_identity,
        public_identities=request.public_identities,
    )


def _offered(
    request: AttachRequest, endpoint: Endpoint, table: AssociationTable
) -> Association | None:
    """Return the association of the Offer whose lists come back, None if nothing was offered."""
    waiting = [
        a
        for a in reversed(table.of_identity(request.private_identity))
        if a.tls is not None
        and a.tls.cookie is None
        and a.offer is not None
        and a.endpoint == endpoint.name
        and a.phase is Phase.INSTALLED
        and a.state is AssociationState.TEMPORARY
        and (a.tls.local_address, a.tls.peer_address)
        == (request.flow.local_address, request.flow.peer_address)
        and request.association_id in (None, a.id)
    ]
    if not waiting:
        if request.association_id is not None or (
            request.security_verify and endpoint.profile is Profile.IMS
        ):
            raise UnknownFlow(
                hint="nothing was offered for this list, or its time is over: "
                "answer 494 or have the UE begin anew"
            )
        return None
    # R3329-2.3.1-m, -o: one that was offered tls and sends no list back is no other one.
    mismatch: VerifyMismatch | None = None
    for association in waiting:
        assert association.offer is not None
        try:
            check_mirrored(association.offer, request.security_verify, request.security_client)
        except VerifyMismatch as error:
            mismatch = mismatch or error
        else:
            return association
    assert mismatch is not None
    raise mismatch


def _new(
    request: AttachRequest,
    connection: TlsConnection,
    table: AssociationTable,
    around: Circumstances,
    randbelow: RandBelow,
    *,
    leaving: int,
) -> Association:
    limits = around.limits
    if len(table) - leaving >= limits.max_associations:
        raise LimitExceeded(
            limit="associations",
            maximum=limits.max_associations,
            hint="raise limits.max_associations",
        )
    # A handshake is cheap for whoever makes many: what proved nothing is bounded as Offers are.
    unproven = table.pending.unproven_of(prefix_of(connection.peer_address))
    if unproven >= limits.max_temporary_sets_per_address:
        raise LimitExceeded(
            limit=f"TLS connections of {connection.peer_address} without a registration",
            maximum=limits.max_temporary_sets_per_address,
            hint="raise limits.max_temporary_sets_per_address",
        )
    return draft(
        request.endpoint,
        request.private_identity,
        request.public_identities,
        connection,
        around,
        randbelow,
    )


def draft(
    endpoint: str,
    private_identity: str,
    public_identities: tuple[str, ...],
    connection: TlsConnection,
    around: Circumstances,
    randbelow: RandBelow,
) -> Association:
    """Return a new temporary association in phase INSTALLING, over as soon as it began.

    How long it may last, and what was offered for it, is its maker's to say. It has no SAs.
    """
    return Association(
        id=f"{randbelow(1 << 48):012x}",
        endpoint=endpoint,
        private_identity=private_identity,
        public_identities=public_identities,
        mechanism=TLS,
        state=AssociationState.TEMPORARY,
        phase=Phase.INSTALLING,
        reqid_in=0,
        reqid_out=(),
        created_at=around.realtime,
        confirmed_at=0.0,
        deadline_at=around.now,
        policies_until=around.now,
        tls=connection,
    )
