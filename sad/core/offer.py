"""``Offer``: may it be, what does it replace, and the install that it makes."""

import hashlib
import sys
from collections.abc import Set as AbstractSet

from sad.core.agreement import Choice
from sad.core.nat import UserAgentEnd
from sad.core.table import AssociationTable
from sad.core.validation import check_addresses, check_keys
from sad.model.algorithms import AlgorithmPair
from sad.model.association import Association, AssociationState, RegistrationKey
from sad.model.endpoint import Endpoint, Role
from sad.model.errors import BadParameter
from sad.model.requests import Flow, InstallRequest, OfferRequest


def offer_key(request: OfferRequest) -> str:
    """Return what a repeated Offer shares with the first and with no other.

    Not the transaction alone: its values are the sender's own, and nobody may be answered with
    another's set.
    """
    transaction = request.transaction
    parts = (
        request.endpoint,
        request.private_identity,
        request.flow.peer_address,
        request.flow.local_address,
        request.via_address or "",
        request.association_id or "",
        transaction.call_id,
        str(transaction.cseq),
        transaction.branch,
        *request.security_client,
    )
    # With their lengths before them, so that no two lists of parts give one text.
    text = "\0".join((",".join([str(len(part)) for part in parts]), *parts))
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def check_unprotected(flow: Flow, endpoint: Endpoint, own_addresses: AbstractSet[str]) -> None:
    """Raise BadParameter unless a REGISTER can have come in clear by this flow."""
    _check_ends(flow, endpoint, own_addresses)
    if flow.local_port == endpoint.server_port or flow.local_port in endpoint.client_ports:
        raise BadParameter(
            parameter="flow.localPort",
            reason=f"a protected port of endpoint {endpoint.name}",
            rule="T33-7.1-e",  # nothing comes there in clear
            hint="a REGISTER that came there came on a set: Verify names it for association",
        )


def check_protected(
    request: OfferRequest,
    on: Association,
    endpoint: Endpoint,
    table: AssociationTable,
    own_addresses: AbstractSet[str],
) -> None:
    """Raise BadParameter unless the REGISTER can have come on the set ``on``."""
    _check_ends(request.flow, endpoint, own_addresses)
    if on.endpoint != endpoint.name:
        raise BadParameter(
            parameter="association",
            reason=f"of another endpoint than {endpoint.name}",
            rule=None,
            hint="name the endpoint of the association",
        )
    if on.private_identity != request.private_identity:
        raise BadParameter(
            parameter="registration.privateIdentity",
            reason="not the one of the set that the REGISTER came on",
            rule="T24-P-4",
            hint="answer 403: a set serves the private identity that was authenticated with it",
        )
    if on.path.peer_address != request.flow.peer_address:
        raise BadParameter(
            parameter="flow.peerAddress",
            reason="not the peer of the set that the REGISTER came on",
            rule="T24-P-4",
            hint="answer 403: a message comes from the address of its set (T33-7.1-p4)",
        )
    if not on.registered or on.state is AssociationState.TEMPORARY:
        raise BadParameter(
            parameter="association",
            reason="a set that was never confirmed is none to register on",
            rule="T24-P-8",
            hint="release it and answer 403: the answer to its challenge was challenged again",
        )
    if on.id not in (a.id for a in table.on_flow(request.flow)):
        raise BadParameter(
            parameter="flow",
            reason="not a flow of the set that the REGISTER came on",
            rule="T33-7.1-p4",
            hint="give the flow as Verify was asked about",
        )


def _check_ends(flow: Flow, endpoint: Endpoint, own_addresses: AbstractSet[str]) -> None:
    check_addresses(
        (flow.local_address, "flow.localAddress"),
        (flow.peer_address, "flow.peerAddress"),
        endpoint,
        own_addresses,
    )


def install_of(
    request: OfferRequest, choice: Choice, endpoint: Endpoint, end: UserAgentEnd
) -> InstallRequest:
    """Return the Install of what was chosen; own SPIs and client port stay open."""
    offered = choice.parameters
    assert offered is not None  # ipsec-3gpp has them
    pair = AlgorithmPair(offered.integrity_algorithm, offered.encryption_algorithm)
    if request.integrity_key is None:
        raise BadParameter(
            parameter="integrityKey",
            reason="missing for ipsec-3gpp",
            rule="T33-I",
            hint="give IK as 32 hex digits: it stands in the 401 of the core (ik)",
        )
    check_keys(pair, request.integrity_key, request.cipher_key, "")
    return InstallRequest(
        endpoint=endpoint.name,
        role=Role.EDGE,
        private_identity=request.private_identity,
        public_identities=request.public_identities,
        mechanism=sys.intern(choice.mechanism),
        ue_address=end.address,
        pcscf_address=request.flow.local_address,
        spi_uc=offered.spi_uc,
        spi_us=offered.spi_us,
        spi_pc=None,
        spi_ps=None,
        port_uc=offered.port_uc,
        port_us=offered.port_us,
        port_pc=None,
        port_ps=None,
        integrity_algorithm=sys.intern(offered.integrity_algorithm),  # one text for all sets
        encryption_algorithm=sys.intern(offered.encryption_algorithm),
        integrity_key=request.integrity_key,
        cipher_key=request.cipher_key,
        lifetime_seconds=None,  # temporary: reg-await-auth
        encapsulation=end.encapsulation,
    )


def registration_of(install: InstallRequest, endpoint: Endpoint) -> RegistrationKey:
    """Return the registration that an Offer's set will belong to."""
    return RegistrationKey(
        mechanism=install.mechanism,
        endpoint=endpoint.name,
        role=Role.EDGE,
        local_address=install.pcscf_address,
        local_server_port=endpoint.server_port,
        peer_address=install.ue_address,
        peer_server_port=install.port_us or 0,
    )


def replaced_by(
    install: InstallRequest,
    registration: RegistrationKey,
    on: Association | None,
    table: AssociationTable,
) -> tuple[Association, ...]:
    """Return the never confirmed sets whose place an Offer's set takes.

    An unprotected Offer takes that of its own key (private identity, address, port_uc) and no
    other's (T33-7.3.1.4); one on a set those of the private identity in the registration
    (T24-P-6). A confirmed set is replaced by Confirm alone (T24-P-8).
    """
    if on is None:
        candidates = table.of_peer_port(install.ue_address, install.port_uc or 0)
    else:
        candidates = table.of_registration(on.registration)
        if registration != on.registration:  # it brought another port_us
            candidates += table.of_registration(registration)
    return tuple(
        [
            a
            for a in candidates
            if not a.registered
            and a.endpoint == install.endpoint
            and a.path.role is Role.EDGE
            and a.private_identity == install.private_identity
            and (on is not None or a.path.peer_ports[0] == install.port_uc)
        ]
    )
