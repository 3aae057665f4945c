"""Install requests: what is legal, what is refused and why, and what the daemon chooses."""

import random
from typing import Any

import pytest

from netlink.secret import Secret
from sad.core.decision import decide_install
from sad.core.table import AssociationTable
from sad.model.association import AssociationState, Phase
from sad.model.endpoint import Role
from sad.model.errors import (
    AlgorithmUnavailable,
    BadParameter,
    FlowInUse,
    LimitExceeded,
    NotPermitted,
    PoolExhausted,
    SadError,
)
from sad.model.rules import Limits
from tests.support.make import (
    EDGE_ADDRESS,
    UE_ADDRESS,
    association,
    circumstances,
    endpoint,
    install_request,
    sa_set,
    second_set,
)

randbelow = random.Random(7).randrange


def decide(
    table: AssociationTable | None = None,
    *,
    endpoint_changes: dict[str, Any] | None = None,
    around: dict[str, Any] | None = None,
    **changes: Any,
) -> Any:
    return decide_install(
        install_request(**changes),
        endpoint(**(endpoint_changes or {})),
        table if table is not None else AssociationTable(),
        circumstances(**(around or {})),
        randbelow,
    )


def table_of(*associations: Any) -> AssociationTable:
    table = AssociationTable()
    for a in associations:
        table.put(a)
    return table


def test_without_a_lifetime_the_set_is_temporary_for_reg_await_auth() -> None:
    """GAP-9: 240 s from now."""
    decided = decide()

    assert decided.state is AssociationState.TEMPORARY
    assert decided.phase is Phase.INSTALLING
    assert decided.deadline_at == 100.0 + 240.0


def test_with_a_lifetime_the_set_is_established() -> None:
    """The caller has agreed and says for how long."""
    decided = decide(lifetime_seconds=60)

    assert (decided.state, decided.deadline_at) == (AssociationState.ESTABLISHED, 160.0)


def test_the_request_comes_back_as_it_was_given() -> None:
    """Parameters that somebody else negotiated are not changed."""
    assert decide().sa_set == sa_set()


BAD: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("SPI 0", {"spi_uc": 0}, "ipsec3gpp.spiUc", "IPS-1"),
    ("SPI below 256", {"spi_us": 100}, "ipsec3gpp.spiUs", "IPS-1"),
    ("own SPI below 256", {"spi_ps": 255}, "ipsec3gpp.spiPs", "IPS-1"),
    ("SPI of 2^32", {"spi_uc": 2**32}, "ipsec3gpp.spiUc", "IPS-1"),
    ("negative SPI", {"spi_uc": -1}, "ipsec3gpp.spiUc", "IPS-1"),
    ("equal SPIs of the peer", {"spi_us": 25656}, "ipsec3gpp.spiUs", "T33-7.1-f"),
    ("own SPI equal to the peer's", {"spi_pc": 25656}, "ipsec3gpp.spiPc", "T33-7.1-h"),
    ("missing SPI of the peer", {"spi_uc": None}, "ipsec3gpp.spiUc", "T33-H-f"),
    ("equal ports", {"port_us": 6301}, "ipsec3gpp.portUs", "T33-7.1-f"),
    ("port 5060", {"port_us": 5060}, "ipsec3gpp.portUs", "T33-7.1-e"),
    ("port 5061", {"port_uc": 5061}, "ipsec3gpp.portUc", "T33-7.1-e"),
    ("port 0", {"port_uc": 0}, "ipsec3gpp.portUc", "T33-7.1-b"),
    ("port 65536", {"port_uc": 65536}, "ipsec3gpp.portUc", "T33-7.1-b"),
    ("missing port", {"port_us": None}, "ipsec3gpp.portUs", "T33-H-f"),
    ("client port outside the endpoint", {"port_pc": 5072}, "ipsec3gpp.portPc", None),
    ("server port outside the endpoint", {"port_ps": 5065}, "ipsec3gpp.portPs", None),
    ("foreign local address", {"pcscf_address": "10.10.0.9"}, "ipsec3gpp.pcscfAddress", None),
    ("loopback peer", {"ue_address": "127.0.0.5"}, "ipsec3gpp.ueAddress", "T33-7.1-c"),
    ("own address as peer", {"ue_address": EDGE_ADDRESS}, "ipsec3gpp.ueAddress", "T33-7.1-c"),
    ("multicast peer", {"ue_address": "224.0.0.1"}, "ipsec3gpp.ueAddress", "T33-7.1-c"),
    ("unspecified peer", {"ue_address": "0.0.0.0"}, "ipsec3gpp.ueAddress", "T33-7.1-c"),
    ("broadcast peer", {"ue_address": "255.255.255.255"}, "ipsec3gpp.ueAddress", "T33-7.1-c"),
    ("mixed IP versions", {"ue_address": "2001:db8::5"}, "ipsec3gpp.ueAddress", "T33-7.1-b"),
    ("short IK", {"integrity_key": Secret(b"x" * 15)}, "ipsec3gpp.integrityKey", "T33-I"),
    ("long IK", {"integrity_key": Secret(b"x" * 20)}, "ipsec3gpp.integrityKey", "T33-I"),
    (
        "missing CK, of which the salt of aes-gmac is made",
        {"cipher_key": None, "integrity_algorithm": "aes-gmac"},
        "ipsec3gpp.cipherKey",
        "T33-I",
    ),
    (
        "missing CK",
        {"cipher_key": None, "encryption_algorithm": "aes-cbc"},
        "ipsec3gpp.cipherKey",
        "T33-I",
    ),
    ("wrong CK length", {"cipher_key": Secret(b"")}, "ipsec3gpp.cipherKey", "T33-I"),
    ("lifetime 0", {"lifetime_seconds": 0}, "lifetimeSeconds", None),
    ("endless lifetime", {"lifetime_seconds": 10**9}, "lifetimeSeconds", None),
    ("no identity", {"private_identity": ""}, "registration.privateIdentity", "T33-7.1-p1"),
]


@pytest.mark.parametrize(
    ("changes", "parameter", "rule"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_illegal_parameters_are_refused_with_their_rule(
    changes: dict[str, Any], parameter: str, rule: str | None
) -> None:
    """Each refusal names the parameter, the clause and the way out, and shows no key."""
    with pytest.raises(BadParameter) as refusal:
        decide(**changes)

    assert (refusal.value.parameter, refusal.value.rule) == (parameter, rule)
    assert refusal.value.hint
    assert "xxx" not in str(refusal.value)


def test_switches_let_odd_phones_in() -> None:
    """IPS-1, T33-7.1-e: real networks use SPIs 100/101, one real phone offers port 5060."""
    decided = decide(
        endpoint_changes={"accept_reserved_spi": True, "accept_sip_port": True},
        spi_uc=100,
        spi_us=101,
        port_uc=5061,
        port_us=5060,
    )

    assert decided.sa_set.peer_spis == (100, 101)


def test_the_switch_for_reserved_spis_does_not_cover_our_own() -> None:
    """IPS-1: never allocate below 256."""
    with pytest.raises(BadParameter, match="spiPc"):
        decide(endpoint_changes={"accept_reserved_spi": True}, spi_pc=200)


@pytest.mark.parametrize(
    ("changes", "around", "reason"),
    [
        ({"integrity_algorithm": "hmac-sha-3"}, {}, "unknown"),
        ({"encryption_algorithm": "aes-gcm"}, {}, r"must not be used together \(T33-H-c\)"),
        ({"integrity_algorithm": "null"}, {}, r"must not be used together \(T33-H-c\)"),
        ({"integrity_algorithm": "aes-gmac"}, {}, "not among"),
        ({"encryption_algorithm": "aes-ctr"}, {}, "unknown"),
        ({"integrity_algorithm": "hmac-md5-96"}, {}, "not among"),
        ({}, {"missing_algorithms": {"hmac-sha-1-96/null"}}, "kernel lacks"),
    ],
)
def test_algorithms_unknown_unset_or_missing(
    changes: dict[str, Any], around: dict[str, Any], reason: str
) -> None:
    """IPS-6, T33-H-b: withdrawn algorithms only where the endpoint lists them."""
    with pytest.raises(AlgorithmUnavailable, match=reason):
        decide(
            endpoint_changes={"algorithms": (("hmac-sha-1-96", "null"),)}, around=around, **changes
        )


def test_role_ue_is_off_unless_configured() -> None:
    """Design 5: a SIP worker that was taken over must not own the node."""
    with pytest.raises(NotPermitted, match="role ue is off"):
        decide(endpoint_changes={"roles": frozenset({Role.EDGE})}, role=Role.UE)


def test_role_ue_mirrors_the_edge() -> None:
    """The UE's own ports are the endpoint's, the P-CSCF's are the peer's."""
    decided = decide(
        role=Role.UE,
        ue_address=EDGE_ADDRESS,
        pcscf_address=UE_ADDRESS,
        port_uc=5068,
        port_us=5064,
        port_pc=6301,
        port_ps=6300,
    )

    assert decided.sa_set.local_address == EDGE_ADDRESS
    assert decided.sa_set.local_ports == (5068, 5064)
    assert decided.registration.peer_server_port == 6300


def test_open_parameters_are_chosen_from_the_pools() -> None:
    """T33-7.1-h: own SPIs differ from each other and from the peer's, in the endpoint's range."""
    decided = decide(
        spi_pc=None,
        spi_ps=None,
        port_pc=None,
        port_ps=None,
        endpoint_changes={"spi_range": (25656, 25659)},
    )

    assert set(decided.sa_set.local_spis) == {25658, 25659}
    assert decided.sa_set.local_ports == (5068, 5064)


def test_an_exhausted_spi_pool_says_so() -> None:
    """Peers K9: the pool, its size and the setting."""
    with pytest.raises(PoolExhausted, match="SPIs of endpoint access") as refusal:
        decide(spi_pc=None, spi_ps=None, endpoint_changes={"spi_range": (25656, 25658)})

    assert refusal.value.size == 3


def test_each_new_set_of_a_peer_takes_another_client_port() -> None:
    """T33-7.1-g: port_pc is new for each new set."""
    decided = decide(
        table_of(association(), second_set()),
        spi_uc=1001,
        spi_us=1002,
        spi_pc=None,
        spi_ps=None,
        port_uc=6305,
        port_pc=None,
    )

    assert decided.sa_set.port_pc == 5070


def test_phones_behind_one_address_may_share_client_ports() -> None:
    """The peer's ports tell their flows apart, so the block of four is no limit on phones."""
    others = [
        association(
            id=f"{n:012x}",
            sa_set=sa_set(
                spi_uc=1000 + 10 * n,
                spi_us=1001 + 10 * n,
                spi_pc=90000 + 2 * n,
                spi_ps=90001 + 2 * n,
                port_uc=7000 + 2 * n,
                port_us=7001 + 2 * n,
                port_pc=5068 + n,
            ),
        )
        for n in range(4)
    ]

    assert decide(table_of(*others), port_pc=None).sa_set.port_pc == 5068


def test_no_free_client_port_says_so() -> None:
    """The registration already uses every port of the block."""
    with pytest.raises(PoolExhausted, match="client ports"):
        decide(
            table_of(association()),
            endpoint_changes={"client_ports": (5068,)},
            spi_uc=1001,
            spi_us=1002,
            spi_pc=None,
            spi_ps=None,
            port_uc=6305,
            port_pc=None,
        )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "port 6301 is in use"),
        ({"port_uc": 6300, "port_us": 6309}, "port 6300 is in use"),
        ({"port_uc": 6309, "private_identity": "other@ims"}, "port 6300 belongs to another"),
        ({"port_uc": 6309, "port_us": 6301}, "port 6301 belongs to another"),
        (
            {"port_uc": 6309, "spi_uc": 25657, "spi_us": 9999, "spi_pc": None, "spi_ps": None},
            "SPI 25657 at 10.10.0.2",
        ),
        ({"port_uc": 6309, "spi_uc": 9998, "spi_us": 9999}, "SPI 70001 at 10.10.0.1"),
    ],
)
def test_ports_and_spis_of_a_live_set_are_refused(changes: dict[str, Any], reason: str) -> None:
    """T33-7.1-p3: (address, port_uc) must be new; no port belongs to two registrations."""
    with pytest.raises(FlowInUse, match=reason) as refusal:
        decide(table_of(association()), **changes)

    assert refusal.value.id == association().id


def test_the_fourth_set_of_a_registration_is_refused() -> None:
    """T33-7.1-p3, matrix row 9: six SAs per direction."""
    third = association(
        id="000000000003",
        sa_set=sa_set(spi_uc=1256, spi_us=1257, spi_pc=91000, spi_ps=92000, port_uc=6303),
    )

    with pytest.raises(LimitExceeded) as refusal:
        decide(
            table_of(association(), second_set(), third),
            spi_uc=2001,
            spi_us=2002,
            spi_pc=None,
            spi_ps=None,
            port_uc=6304,
            port_pc=5071,
        )
    assert refusal.value.maximum == 3


def test_sets_of_one_registration_share_the_inbound_reqid_only() -> None:
    """Design 7: one inbound reqid per registration, one reqid per outbound SA."""
    new = decide(
        table_of(association()),
        spi_uc=2001,
        spi_us=2002,
        spi_pc=None,
        spi_ps=None,
        port_uc=6304,
        port_pc=5071,
    )

    assert new.reqid_in == association().reqid_in
    assert len({new.reqid_in, *new.reqid_out, *association().reqid_out}) == 5


def test_the_sets_of_one_pair_of_addresses_are_bounded() -> None:
    """Many user agents behind one NAT: the kernel's policies of one pair are one linear chain."""
    limits = {"limits": Limits(max_sets_per_address_pair=3)}
    others = [
        association(
            id=f"{number:012x}",
            sa_set=sa_set(
                spi_uc=1000 + number,
                spi_us=2000 + number,
                spi_pc=91_000 + number,
                spi_ps=92_000 + number,
                port_uc=7000 + number,
                port_us=8000 + number,
            ),
        )
        for number in range(3)
    ]
    fresh: dict[str, Any] = {"spi_pc": None, "spi_ps": None, "port_pc": None}

    with pytest.raises(LimitExceeded, match=r"between 10\.10\.0\.1 and 10\.10\.0\.2") as refusal:
        decide(table_of(*others), around=limits, **fresh)
    assert refusal.value.maximum == 3
    assert "another address" in refusal.value.hint
    # Another address of theirs, or one set fewer, and there is room.
    decide(table_of(*others), around=limits, ue_address="10.10.0.3", **fresh)
    decide(table_of(*others[1:]), around=limits, **fresh)


def test_the_total_is_bounded() -> None:
    """A caller cannot fill the kernel."""
    with pytest.raises(LimitExceeded, match="associations"):
        decide(table_of(association()), around={"limits": Limits(max_associations=1)})


def test_every_refusal_is_a_typed_error() -> None:
    """All refusals share one root that the API knows."""
    for kind in (BadParameter, AlgorithmUnavailable, FlowInUse, LimitExceeded, PoolExhausted):
        assert issubclass(kind, SadError)
