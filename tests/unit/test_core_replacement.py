"""The matrix of norms section 12, row by row, as decisions; and what an Offer may replace."""

from typing import Any

import pytest
from msgspec import structs

from netlink.model import Direction
from sad.core import offer, replacement
from sad.core.agreement import choose
from sad.core.desired import outbound_set, policies_of
from sad.core.lifecycle import IllegalTransition
from sad.core.nat import UserAgentEnd
from sad.core.occupancy import check_against_table
from sad.core.replacement import Succession
from sad.core.table import AssociationTable
from sad.model.association import Association, AssociationState, Phase
from sad.model.errors import BadParameter, FlowInUse
from sad.model.requests import Flow, OfferRequest
from tests.support.make import (
    EDGE_ADDRESS,
    LAYOUT,
    LIFETIMES,
    association,
    clear_flow,
    endpoint,
    offer_record,
    offer_request,
    sa_set,
)
from tests.support.shell import grant_of

State = AssociationState
NOTHING: frozenset[str] = frozenset()
OWN = frozenset({EDGE_ADDRESS, "10.10.0.9"})


def set_of(name: str, number: int, **changes: Any) -> Association:
    """The n-th set of one registration; ``ue`` changes its parameters."""
    ue = changes.pop("ue", {})
    parameters = {
        "spi_uc": 1000 + number,
        "spi_us": 2000 + number,
        "spi_pc": 70_000 + number,
        "spi_ps": 80_000 + number,
        "port_uc": 6300 + number,
        "port_pc": 5068 + number % 4,
        "port_us": 6400,
    }
    values: dict[str, Any] = {
        "id": name,
        "state": State.IN_USE,
        "sa_set": sa_set(**(parameters | ue)),
        "reqid_out": (0x3000_0000 + 2 * number, 0x3000_0001 + 2 * number),
    }
    return association(**(values | changes))


def temporary(name: str, number: int, on: str | None = None, **changes: Any) -> Association:
    values: dict[str, Any] = {
        "state": State.TEMPORARY,
        "confirmed_at": 0.0,
        "deadline_at": 340.0,
        "offer": offer_record(offer_key=name, offered_on=on),
    }
    return set_of(name, number, **(values | changes))


def table_of(*sets: Association) -> AssociationTable:
    table = AssociationTable()
    for a in sets:
        table.put(a)
    return table


def confirmed(which: Association, *sets: Association, **how: bool) -> Succession:
    grant = grant_of(which.id, 600)
    return replacement.confirm(
        which, grant, table_of(*sets), LIFETIMES, now=100.0, realtime=5000.0, **how
    )


def ids(sets: tuple[Association, ...]) -> list[str]:
    return [a.id for a in sets]


# --- confirm -------------------------------------------------------------------------------------


def test_row_1_an_unprotected_registration_is_in_use_at_once() -> None:
    """T24-P-8, matrix row 1; what was kept for its REGISTER is dropped."""
    t = temporary("t", 1)

    done = confirmed(t, t)

    assert done.association.state is State.IN_USE
    assert done.association.deadline_at == 100 + 600 + 30
    assert done.association.offer is None
    assert done.replaced == done.elsewhere == done.retiring == ()


def test_row_2_every_older_set_goes_also_those_of_other_ports() -> None:
    """T24-P-8, matrix row 2: a phone that lost its state has no use for them."""
    a, b = set_of("a", 1), temporary("b", 2)
    rebooted_before = set_of("other-port", 3, ue={"port_us": 6500})
    not_its = set_of("other-phone", 4, ue={"port_us": 6600}, private_identity="other@ims")
    elsewhere = set_of("other-address", 5, ue={"ue_address": "10.10.0.3"})
    endpoint_2 = set_of("other-endpoint", 6, ue={"port_us": 6700}, endpoint="two")
    t = temporary("t", 7)
    newer = temporary("newer", 8)

    done = confirmed(t, a, b, rebooted_before, not_its, elsewhere, endpoint_2, t, newer)

    assert ids(done.replaced) == ["a", "b"]
    assert ids(done.elsewhere) == ["other-port", "other-address"]


@pytest.mark.parametrize("one", [True, False])
def test_a_new_address_ends_the_sets_of_the_old_one(*, one: bool) -> None:
    """T33-7.5-a; by setting, for identities that several phones share."""
    before = set_of("before", 1, ue={"ue_address": "10.10.0.3"})
    t = temporary("t", 2)

    done = confirmed(t, before, t, identity_at_one_address=one)

    assert ids(done.elsewhere) == (["before"] if one else [])


def test_row_4_the_set_it_was_offered_on_stays_and_is_used_on() -> None:
    """T24-P-8, matrix row 4: established, not yet in use; all older ones but A go."""
    old, a = set_of("old", 1, state=State.RETIRING), set_of("a", 2)
    t, newer = temporary("t", 3, on="a"), temporary("newer", 4)

    done = confirmed(t, old, a, t, newer)

    assert done.association.state is State.ESTABLISHED
    assert ids(done.replaced) == ["old"]
    assert done.elsewhere == ()
    carrier = outbound_set([a, done.association])
    assert carrier is not None
    assert carrier.id == "a"


def test_row_7_a_refresh_only_lengthens() -> None:
    """T24-P-11: no challenge, no replacement; the same for what Install has made."""
    a, b = set_of("a", 1), set_of("b", 2)
    installed = temporary("i", 3, offer=None)

    assert confirmed(b, a, b) == Succession(association=structs.replace(b, deadline_at=1000.0))
    done = confirmed(installed, a, b, installed)
    assert (done.association.state, done.replaced) == (State.ESTABLISHED, ())


# --- take into use -------------------------------------------------------------------------------


def taken(which: Association, *sets: Association) -> Succession:
    return replacement.take_into_use(which, sets, LIFETIMES, now=100.0)


def test_row_5_the_first_request_retires_the_older_sets() -> None:
    """T24-P-9, matrix row 5: at most 64*T1 are left to them, less if they had less."""
    old, a = set_of("old", 1, deadline_at=110.0), set_of("a", 2)
    t = set_of("t", 3, state=State.ESTABLISHED)
    waiting = temporary("waiting", 4)
    leaving = set_of("leaving", 0, phase=Phase.REMOVING)
    retired = set_of("retired", 5, state=State.RETIRING, deadline_at=110.0)

    done = taken(t, leaving, retired, old, a, t, waiting)

    assert done.association.state is State.IN_USE
    assert [(a.id, a.state, a.deadline_at) for a in done.retiring] == [
        ("old", State.RETIRING, 110.0),
        ("a", State.RETIRING, 228.0),
    ]


def test_a_newer_set_is_not_retired_by_what_comes_on_an_older_one() -> None:
    """T24-P-8: A is used on until the first request on T."""
    a, t = set_of("a", 1, state=State.ESTABLISHED), set_of("t", 2, state=State.ESTABLISHED)

    assert taken(a, a, t).retiring == ()
    assert ids(taken(t, a, t).retiring) == ["a"]


@pytest.mark.parametrize("state", [State.IN_USE, State.RETIRING])
def test_what_carries_or_retires_is_left_as_it_is(state: AssociationState) -> None:
    """T24-P-10, and repeated calls: nothing changes."""
    a, t = set_of("a", 1), set_of("t", 2, state=state)

    assert taken(t, a, t) == Succession(association=t)


def test_a_temporary_set_cannot_come_into_use() -> None:
    """T24-P-5: nothing but REGISTER is accepted on it."""
    t = temporary("t", 1)

    with pytest.raises(IllegalTransition, match="firstRequest while temporary"):
        taken(t, t)


# --- what an offer replaces ----------------------------------------------------------------------


def replaced(table: AssociationTable, on: Association | None = None, **changes: Any) -> list[str]:
    request = offer_request(ue={"spi_c": 9, "port_c": 6301, "port_s": 6400} | changes)
    odd = endpoint(accept_reserved_spi=True)
    choice = choose(request.security_client, odd, NOTHING)
    end = UserAgentEnd(address=request.flow.peer_address)
    install = offer.install_of(request, choice, odd, end)
    registration = offer.registration_of(install, odd)
    return ids(offer.replaced_by(install, registration, on, table))


def test_an_unprotected_offer_takes_the_place_of_its_own_key_only() -> None:
    """T33-7.3.1.4: private identity, address, port_uc; neither another's nor a confirmed set."""
    table = table_of(
        set_of("established", 1),
        temporary("own", 1),
        temporary("released", 1, state=State.RETIRING),
        temporary("own-other-server", 1, ue={"port_us": 6500}),
        temporary("other-port", 2),
        temporary("other-identity", 1, private_identity="other@ims", ue={"port_us": 6600}),
        temporary("other-address", 1, ue={"ue_address": "10.10.0.3"}),
        temporary("other-endpoint", 1, endpoint="two"),
    )

    assert replaced(table) == ["own", "released", "own-other-server"]


def test_an_offer_on_a_set_takes_the_place_of_every_temporary_one() -> None:
    """T24-P-6: any temporary set toward this UE goes, whatever its port_uc."""
    a = set_of("a", 1)
    stranger = temporary("stranger", 3, private_identity="other@ims")
    table = table_of(a, temporary("one", 2), temporary("two", 4, on="a"), stranger)

    assert replaced(table, on=a, port_c=6309) == ["one", "two"]
    assert replaced(table, on=a, port_c=6309, port_s=6999) == ["one", "two"]


# --- who may stand beside whom -------------------------------------------------------------------


def test_a_phone_that_came_back_may_take_its_old_client_port() -> None:
    """Design 6: same registration and private identity, new SPIs; else T33-7.1-p3 stands."""
    old = set_of("old", 1)
    new = temporary("new", 1, ue={"spi_uc": 5, "spi_us": 6, "spi_pc": 7, "spi_ps": 8})
    table = table_of(old)

    check_against_table(new, table, came_back=True)
    with pytest.raises(FlowInUse, match="port 6301 is in use"):
        check_against_table(new, table)
    for changes in (
        {"private_identity": "other@ims"},
        {"ipsec_3gpp": structs.replace(new.sa_set, port_us=6999)},
        {"endpoint": "two"},
        {"ipsec_3gpp": structs.replace(new.sa_set, spi_us=old.sa_set.spi_us)},
        {"ipsec_3gpp": structs.replace(new.sa_set, spi_ps=old.sa_set.spi_ps)},
    ):
        other = structs.replace(new, **changes)
        with pytest.raises(FlowInUse):
            check_against_table(other, table, came_back=True)


@pytest.mark.parametrize(
    ("old", "new", "carrier"),
    [
        (State.IN_USE, State.TEMPORARY, "old"),
        (State.ESTABLISHED, State.TEMPORARY, "old"),
        (State.RETIRING, State.TEMPORARY, "old"),
        (State.RETIRING, State.IN_USE, "new"),
    ],
)
def test_a_shared_client_port_is_one_policy_of_the_set_in_use(
    old: AssociationState, new: AssociationState, carrier: str
) -> None:
    """INTEROP-6: p.s to u.c leaves by the old set until the new one is in use; inbound by both."""
    a = set_of("old", 1, state=old)
    b = temporary("new", 1, state=new, ue={"spi_uc": 5, "spi_us": 6, "port_pc": 5071})
    b = structs.replace(b, reqid_out=(77, 78))
    wanted = {"old": a, "new": b}[carrier]

    found = {
        (p.id.direction, p.id.selector.source_port, p.id.selector.destination_port): p.template
        for p in policies_of([a, b], LAYOUT, LIFETIMES).values()
        if p.template is not None
    }

    assert len(found) == 8 + 4
    for index, port in enumerate((6301, 6400)):
        template = found[Direction.OUT, 5064, port]
        assert template is not None
        assert template.reqid == wanted.reqid_out[index]
    inbound = {t.reqid for (d, _, _), t in found.items() if d is Direction.IN}
    assert inbound == {a.reqid_in}


# --- may it be -----------------------------------------------------------------------------------


def on_flow(**changes: Any) -> Flow:
    return clear_flow(**({"peer_port": 6301, "local_port": 5064} | changes))


def protected_request(**changes: Any) -> OfferRequest:
    values: dict[str, Any] = {"association_id": "a", "flow": on_flow()}
    return offer_request(**(values | changes))


@pytest.mark.parametrize(
    ("flow", "parameter", "rule"),
    [
        ({"local_port": 5064}, "flow.localPort", "T33-7.1-e"),
        ({"local_port": 5070}, "flow.localPort", "T33-7.1-e"),
        ({"local_address": "10.10.0.9"}, "flow.localAddress", None),
        ({"peer_address": "10.10.0.9"}, "flow.peerAddress", "T33-7.1-c"),
        ({"peer_address": "127.0.0.1"}, "flow.peerAddress", "T33-7.1-c"),
        ({"peer_address": "2001:db8::2"}, "flow.peerAddress", "T33-7.1-b"),
    ],
)
def test_an_unprotected_register_came_from_a_peer_to_an_unprotected_port(
    flow: dict[str, Any], parameter: str, rule: str | None
) -> None:
    """Design 5: addresses and ports outside the endpoint and the node's own are refused."""
    with pytest.raises(BadParameter) as refusal:
        offer.check_unprotected(clear_flow(**flow), endpoint(), OWN)

    assert (refusal.value.parameter, refusal.value.rule) == (parameter, rule)
    offer.check_unprotected(clear_flow(), endpoint(), OWN)


@pytest.mark.parametrize(
    ("request_changes", "set_changes", "parameter", "rule"),
    [
        ({"private_identity": "other@ims"}, {}, "registration.privateIdentity", "T24-P-4"),
        ({"flow": on_flow(peer_address="10.10.0.3")}, {}, "flow.peerAddress", "T24-P-4"),
        ({}, {"endpoint": "two"}, "association", None),
        ({}, {"state": State.TEMPORARY, "confirmed_at": 0.0}, "association", "T24-P-8"),
        ({}, {"state": State.RETIRING, "confirmed_at": 0.0}, "association", "T24-P-8"),
        ({"flow": on_flow(peer_port=5060)}, {}, "flow", "T33-7.1-p4"),
        ({"flow": on_flow(local_port=5060)}, {}, "flow", "T33-7.1-p4"),
        ({"flow": on_flow(peer_port=6309)}, {}, "flow", "T33-7.1-p4"),
    ],
)
def test_a_protected_register_came_on_the_set_that_is_named(
    request_changes: dict[str, Any],
    set_changes: dict[str, Any],
    parameter: str,
    rule: str | None,
) -> None:
    """T24-P-4, T33-7.1-p4: identity, address and flow are the set's, and it was confirmed."""
    a = set_of("a", 1, **set_changes)

    with pytest.raises(BadParameter) as refusal:
        offer.check_protected(
            protected_request(**request_changes), a, endpoint(), table_of(a), OWN
        )

    assert (refusal.value.parameter, refusal.value.rule) == (parameter, rule)


def test_a_named_set_of_the_flow_is_accepted() -> None:
    """INTEROP-1: also the cross pair of the server port."""
    a = set_of("a", 1)
    for peer_port, local_port in ((6301, 5064), (6400, 5064), (6301, 5069)):
        flow = on_flow(peer_port=peer_port, local_port=local_port)
        offer.check_protected(protected_request(flow=flow), a, endpoint(), table_of(a), OWN)


def test_an_offer_key_is_of_one_request() -> None:
    """Design 3: a retransmission has the same; nobody gets another's answer by copying values."""
    key = offer.offer_key(offer_request())

    assert offer.offer_key(offer_request()) == key
    for changes in (
        {"call_id": "b"},
        {"private_identity": "other@ims"},
        {"endpoint": "two"},
        {"association_id": "a"},
        {"flow": clear_flow(peer_address="10.10.0.3")},
        {"ue": {"spi_c": 4711}},
        {"security_client": ("tls", "tls")},
        {"call_id": "\udcff"},
    ):
        assert offer.offer_key(offer_request(**changes)) != key


def test_confirm_takes_identities_and_note_when_given() -> None:
    """T24-P-7: what the 200 says takes the place of what was known; silence changes nothing."""
    a = set_of("a", 1, public_identities=("sip:a@ims",), note="before")
    request = structs.replace(
        grant_of("a", 600), public_identities=("sip:b@ims", "tel:+1"), note="after"
    )
    decided = replacement.confirm(a, request, table_of(a), LIFETIMES, now=1.0, realtime=2.0)
    silent = replacement.confirm(
        a, grant_of("a", 600), table_of(a), LIFETIMES, now=1.0, realtime=2.0
    )

    assert decided.association.public_identities == ("sip:b@ims", "tel:+1")
    assert decided.association.note == "after"
    assert (silent.association.public_identities, silent.association.note) == (
        ("sip:a@ims",),
        "before",
    )
