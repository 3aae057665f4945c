"""Which association a TLS connection gets, and who gets none."""

from typing import Any

import pytest
from msgspec import structs

from netlink.tcp import ConnectionId, ObservedConnection, TcpConnection, TcpState
from sad.core import attaching
from sad.core.attaching import Attachment
from sad.core.table import AssociationTable
from sad.model.association import Association, AssociationState, Phase
from sad.model.endpoint import Endpoint, Profile
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
from sad.model.rules import Limits
from tests.support.make import (
    EDGE_ADDRESS,
    TLS_ENDPOINT,
    TLS_PORT,
    UE_ADDRESS,
    attach_request,
    circumstances,
    endpoint,
    offer_record,
    tls_flow,
)

ENDPOINT = endpoint(**TLS_ENDPOINT)
RFC3329 = endpoint(profile=Profile.RFC3329, security_server="tls", tls_port=TLS_PORT)
NOW = 1000.0
COOKIE = 77
LISTS = {"security_verify": ("tls",), "security_client": ("tls, digest",)}


def found(
    cookie: int = COOKIE, state: TcpState = TcpState.ESTABLISHED, peer_port: int = 40001
) -> ObservedConnection:
    named = TcpConnection(EDGE_ADDRESS, TLS_PORT, UE_ADDRESS, peer_port)
    return ObservedConnection(ConnectionId(named, cookie), state)


def decide(
    request: AttachRequest,
    table: AssociationTable,
    observed: ObservedConnection | None = found(),  # noqa: B008 - immutable
    *,
    at: Endpoint = ENDPOINT,
    limits: Limits | None = None,
) -> Attachment:
    around = circumstances(now=NOW, **({} if limits is None else {"limits": limits}))
    attaching.check(request, at, around)
    return attaching.decide(request, at, observed, table, around, lambda below: 42 % below)


def bound(table: AssociationTable, **changes: Any) -> Association:
    """One that is bound, in a table."""
    new = decide(attach_request(), table).association
    association = structs.replace(new, **{"phase": Phase.INSTALLED, **changes})
    table.put(association)
    return association


def offered(table: AssociationTable, **changes: Any) -> Association:
    """One that waits for its connection, in a table."""
    association = structs.replace(
        bound(AssociationTable()),
        state=AssociationState.TEMPORARY,
        offer=offer_record(security_client="tls, digest", security_server="tls"),
        deadline_at=NOW + 100,
        **changes,
    )
    assert association.tls is not None
    waiting = structs.replace(association.tls, cookie=None, peer_port=0)
    association = structs.replace(association, tls=waiting)
    table.put(association)
    return association


# --- a new one -----------------------------------------------------------------------------------


def test_a_first_request_makes_an_established_association() -> None:
    """R3329-2.4-tls-a, T33-O-a variant 2: bound by 4-tuple and cookie, for reg-await-auth."""
    session = {
        "identity": "alice.example",
        "version": "TLSv1.3",
        "cipher": "AES256",
        "credential": "c",
    }
    made = decide(attach_request(**session), AssociationTable())

    assert made.before is None
    association = made.association
    assert (association.mechanism, association.state) == ("tls", AssociationState.ESTABLISHED)
    assert association.phase is Phase.INSTALLING
    assert not association.registered
    assert association.deadline_at == NOW + 240
    connection = association.tls
    assert connection is not None
    assert (connection.local_address, connection.local_port) == (EDGE_ADDRESS, TLS_PORT)
    assert (connection.peer_address, connection.peer_port) == (UE_ADDRESS, 40001)
    assert connection.cookie == COOKIE
    assert {name: getattr(connection, name) for name in session} == session
    assert association.registration == attaching.registration_of(attach_request())


def test_an_association_lives_as_long_without_a_registration_as_is_asked() -> None:
    """Profile rfc3329: who only calls registers never."""
    made = decide(attach_request(lifetime_seconds=3600), AssociationTable(), at=RFC3329)
    assert made.association.deadline_at == NOW + 3600


@pytest.mark.parametrize(
    "observed",
    [
        None,
        *(
            found(state=s)
            for s in TcpState
            if s not in (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)
        ),
    ],
    ids=lambda o: "none" if o is None else o.state.name,
)
def test_nothing_is_bound_to_what_is_not_open(observed: ObservedConnection | None) -> None:
    """The kernel's word counts, not the caller's."""
    with pytest.raises(NoSuchConnection):
        decide(attach_request(), AssociationTable(), observed)


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"flow": tls_flow(local_port=5064)}, "flow.localPort"),
        ({"flow": tls_flow(local_address="10.10.0.9")}, "flow.localAddress"),
        ({"flow": tls_flow(peer_address=EDGE_ADDRESS)}, "flow.peerAddress"),
        ({"flow": tls_flow(peer_address="127.0.0.1")}, "flow.peerAddress"),
        ({"flow": tls_flow(peer_port=0)}, "flow.peerPort"),
        ({"version": "TLSv1.1"}, "tls.version"),
        ({"version": "tlsv1"}, "tls.version"),
        ({"version": "SSLv3"}, "tls.version"),
        ({"lifetime_seconds": 0}, "lifetimeSeconds"),
        ({"lifetime_seconds": 10**9}, "lifetimeSeconds"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], parameter: str) -> None:
    """UPD-8996, T33-7.1-c, T33-O-a: the endpoint's port and address, a peer not of ours."""
    with pytest.raises(BadParameter) as refused:
        decide(attach_request(**changes), AssociationTable())
    assert refused.value.parameter == parameter
    assert refused.value.hint


def test_an_endpoint_without_tls_has_none() -> None:
    """What is not listed cannot be agreed on."""
    with pytest.raises(MechanismUnavailable):
        decide(attach_request(), AssociationTable(), at=endpoint())


def test_connections_that_prove_nothing_are_bounded() -> None:
    """Design 6: by address; those of registrations do not count."""
    limits = Limits(max_temporary_sets_per_address=1)
    table = AssociationTable()
    unproven = bound(table)
    other = attach_request(flow=tls_flow(peer_port=40002))
    with pytest.raises(LimitExceeded):
        decide(other, table, found(78, peer_port=40002), limits=limits)
    table.put(structs.replace(unproven, confirmed_at=1.0))
    assert decide(other, table, found(78, peer_port=40002), limits=limits).before is None
    with pytest.raises(LimitExceeded):
        decide(other, table, found(78, peer_port=40002), limits=Limits(max_associations=1))


# --- again over the same -------------------------------------------------------------------------


def test_a_later_request_finds_the_same_association() -> None:
    """Idempotent for a connection: nothing changes, and nothing is shortened."""
    table = AssociationTable()
    before = bound(table, confirmed_at=1.0, deadline_at=NOW + 5)

    again = decide(attach_request(lifetime_seconds=3600), table)
    assert (again.before, again.association, again.closed) == (before, before, ())

    table = AssociationTable()
    before = bound(table, deadline_at=NOW + 5)
    assert decide(attach_request(), table).association == before  # T33-O.4


def test_a_later_request_lengthens_what_has_no_registration() -> None:
    """And adds what was not known of the session, without forgetting what was."""
    table = AssociationTable()
    before = bound(table)
    with_name = decide(attach_request(identity="alice.example", lifetime_seconds=500), table)

    assert with_name.association.deadline_at == NOW + 500
    assert with_name.association.tls is not None
    assert with_name.association.tls.identity == "alice.example"
    table.put(with_name.association)
    again = decide(attach_request(), table)
    assert again.association == with_name.association
    assert again.association.id == before.id


def test_another_identity_over_a_registered_connection_is_refused() -> None:
    """T24-P-4: a connection serves the private identity that was authenticated over it."""
    table = AssociationTable()
    holder = bound(table, confirmed_at=1.0)
    with pytest.raises(FlowInUse) as refused:
        decide(attach_request(private_identity="mallory@ims"), table)
    assert refused.value.id == holder.id
    same = decide(attach_request(public_identities=("sip:other@ims.example",)), table)
    assert same.association == holder


def test_before_a_registration_the_latest_word_counts() -> None:
    """Nothing has been proven: who really registers gets the connection."""
    table = AssociationTable()
    before = bound(table)
    other = attach_request(private_identity="bob@ims", public_identities=("sip:bob@ims",))
    after = decide(other, table).association

    assert (after.id, after.private_identity) == (before.id, "bob@ims")
    assert after.public_identities == ("sip:bob@ims",)


@pytest.mark.parametrize(
    "changes", [{"state": AssociationState.RETIRING}, {"phase": Phase.REMOVING}]
)
def test_what_is_ending_is_not_bound_again(changes: dict[str, Any]) -> None:
    """Its connection will be destroyed: whoever comes over it must come anew."""
    table = AssociationTable()
    bound(table, **changes)
    with pytest.raises(NoSuchConnection):
        decide(attach_request(), table)


def test_an_earlier_connection_of_the_same_ports_is_not_this_one() -> None:
    """The cookie tells: its association has ended, whatever its notice is waiting for."""
    table = AssociationTable()
    earlier = bound(table, confirmed_at=1.0)
    made = decide(attach_request(private_identity="bob@ims"), table, found(COOKIE + 1))

    assert made.closed == (earlier,)
    assert made.before is None
    assert made.association.private_identity == "bob@ims"


# --- what was offered ----------------------------------------------------------------------------


def test_the_lists_of_a_challenge_bind_its_association() -> None:
    """T33-O-a variant 1, T24-P-2: from any port; reg-await-auth goes on (T33-O.4)."""
    table = AssociationTable()
    waiting = offered(table)
    made = decide(attach_request(**LISTS, lifetime_seconds=3600), table)

    assert made.before == waiting
    assert made.association.state is AssociationState.ESTABLISHED
    assert made.association.deadline_at == waiting.deadline_at
    assert made.association.offer == waiting.offer
    assert made.association.tls is not None
    assert (made.association.tls.cookie, made.association.tls.peer_port) == (COOKIE, 40001)
    table.put(made.association)
    assert decide(attach_request(**LISTS), table).association == made.association


@pytest.mark.parametrize(
    "lists",
    [
        {"security_verify": ("tls;q=0.1",), "security_client": ("tls, digest",)},
        {"security_verify": ("tls, digest",), "security_client": ("tls, digest",)},
        {"security_verify": ("tls",), "security_client": ("tls",)},
        {"security_verify": ("tls",)},
        {"security_client": ("tls, digest",)},
        {},
    ],
)
def test_other_lists_bind_nothing(lists: dict[str, Any]) -> None:
    """R3329-2.3.1-m, -o, R3329-5-c: changed on the way, or not sent at all."""
    table = AssociationTable()
    offered(table)
    with pytest.raises(VerifyMismatch) as refused:
        decide(attach_request(**lists), table)
    assert refused.value.security_server == "tls"


@pytest.mark.parametrize(
    "request_",
    [
        attach_request(**LISTS, private_identity="bob@ims"),
        attach_request(**LISTS, flow=tls_flow(peer_address="10.10.0.3")),
        attach_request(**LISTS, association_id="nobody"),
    ],
)
def test_lists_of_a_challenge_that_nobody_sent_bind_nothing(request_: AttachRequest) -> None:
    """Of another identity, from another address, or of an association that is none."""
    table = AssociationTable()
    offered(table)
    observed = found()
    if request_.flow.peer_address != UE_ADDRESS:
        named = TcpConnection(EDGE_ADDRESS, TLS_PORT, request_.flow.peer_address, 40001)
        observed = ObservedConnection(ConnectionId(named, COOKIE), TcpState.ESTABLISHED)
    with pytest.raises(UnknownFlow):
        decide(request_, table, observed)


def test_the_offered_one_is_found_by_its_lists_among_several() -> None:
    """A phone that was challenged twice answers either."""
    table = AssociationTable()
    first = offered(table, id="1")
    second = structs.replace(
        first, id="2", offer=offer_record(security_client="tls", security_server="tls")
    )
    table.put(second)
    assert decide(attach_request(**LISTS), table).before == first
    assert decide(attach_request(**LISTS, association_id="1"), table).before == first
    with pytest.raises(VerifyMismatch):
        decide(attach_request(**LISTS, association_id="2"), table)


def test_another_identity_does_not_take_an_offered_connection() -> None:
    """Its lists were compared for one private identity."""
    table = AssociationTable()
    offered(table)
    table.put(decide(attach_request(**LISTS), table).association)
    with pytest.raises(FlowInUse):
        decide(attach_request(private_identity="bob@ims"), table)
    with pytest.raises(VerifyMismatch):
        decide(attach_request(security_verify=("digest",), security_client=("tls",)), table)
