"""``Offer`` where tls was chosen: an association that waits for its connection. Pure.

The counterpart of :mod:`sad.core.offer`; :mod:`sad.core.attaching` binds it.
"""

from msgspec import structs

from sad.core.agreement import Choice
from sad.core.allocation import RandBelow
from sad.core.attaching import TLS, draft
from sad.core.decision import Circumstances
from sad.core.table import AssociationTable
from sad.model.agreement import OfferRecord
from sad.model.association import Association, AssociationState, RegistrationKey
from sad.model.endpoint import Endpoint, Role
from sad.model.requests import Flow, OfferRequest
from sad.model.tls_connection import TlsConnection


def registration_of(flow: Flow, endpoint: Endpoint) -> RegistrationKey:
    """Return what owns an association until its connection is there."""
    return RegistrationKey(
        mechanism=TLS,
        endpoint=endpoint.name,
        role=Role.EDGE,
        local_address=flow.local_address,
        local_server_port=endpoint.tls_port or 0,
        peer_address=flow.peer_address,
        peer_server_port=0,
    )


def replaced_by(
    private_identity: str, flow: Flow, endpoint: Endpoint, table: AssociationTable
) -> tuple[Association, ...]:
    """Return the earlier ones of the same user agent that no connection came for."""
    return tuple(
        a
        for a in table.of_registration(registration_of(flow, endpoint))
        if a.private_identity == private_identity and a.state is AssociationState.TEMPORARY
    )


def decide(
    request: OfferRequest,
    choice: Choice,
    endpoint: Endpoint,
    around: Circumstances,
    randbelow: RandBelow,
    key: str,
) -> Association:
    """Return the association to make, in phase INSTALLING; it lives for reg-await-auth."""
    flow = request.flow
    awaited = TlsConnection(
        role=Role.EDGE,
        local_address=flow.local_address,
        local_port=endpoint.tls_port or 0,
        peer_address=flow.peer_address,
        peer_port=0,
    )
    waiting = draft(
        endpoint.name,
        request.private_identity,
        request.public_identities,
        awaited,
        around,
        randbelow,
    )
    return structs.replace(
        waiting,
        deadline_at=around.now + around.lifetimes.reg_await_auth,
        offer=OfferRecord(
            offer_key=key,
            offered_on=None,
            security_client=choice.text,
            security_server=TLS,
        ),
    )
