"""How associations stand in charon, what of it is whose, and why IKE failed: all of it pure."""

import pytest

from sad.core import ike
from sad.core.ike import Credentials
from sad.core.ike_reasons import Failure, LogReader, reason_in, reason_of
from sad.model.endpoint import Role
from sad.model.ike import IkePeer, IkeProfile
from sad.model.ike_child import IkeChild
from sad.vici.values import INSTALLED, ChildSa, IkeSa, LogLine

OWNER, OTHER = 0x5AD0_5AD0, 0x5AD0_5AD1
EDGE, UE = "10.0.0.1", "10.0.0.2"
PEER = IkePeer(
    name="alice",
    identity="alice@example.org",
    users=frozenset({"alice@example.org"}),
    auth="psk",
    secret="alice",
    ports=(),
)
PROFILE = IkeProfile(
    identity="edge.example.org",
    initiates=False,
    certificate="certificate",
    private_key="key",
    authorities=("ca",),
    ike_proposals=("aes128gcm16-prfsha256-x25519",),
    esp_proposals=("aes128gcm16",),
    life=600,
    unregistered=60,
    dead_peer=30,
    peers=(PEER,),
)


def child(port: int = 5100, address: str = UE) -> IkeChild:
    return IkeChild(
        role=Role.EDGE,
        local_address=EDGE,
        peer_address=address,
        local_ports=(5064,),
        peer_ports=(port,),
        connection=ike.connection_name(OWNER, "access", PEER, address),
        child=ike.child_name(OWNER, f"{port:012x}"),
    )


def child_sa(name: str, number: int = 1, *, life: int | None = 600) -> ChildSa:
    return ChildSa(
        name=name,
        unique_id=number,
        state=INSTALLED,
        mode="TRANSPORT",
        reqid=number,
        spi_in=0xC000_0000 + number,
        spi_out=0xD000_0000 + number,
        cipher="AES_GCM_16",
        age_seconds=0,
        life_seconds=life,
        rekey_seconds=None,
        local_selectors=(),
        remote_selectors=(),
    )


def line(text: str, *, connection: str = "(unnamed)", ike_id: int | None = 7) -> LogLine:
    return LogLine(group="IKE", level=1, connection=connection, ike_id=ike_id, text=text)


# --- names ---------------------------------------------------------------------------------------


def test_ike_names_bear_the_tag_and_nobody_elses_is_ours() -> None:
    """Two daemons of one node, and everybody else's configurations, are told apart."""
    name = ike.child_name(OWNER, "0123456789ab")
    assert ike.association_of(OWNER, name) == "0123456789ab"
    assert ike.association_of(OTHER, name) is None
    assert ike.association_of(OWNER, "home") is None
    assert len({ike.connection_name(OWNER, "access", PEER, a) for a in (UE, "2001:db8::1")}) == 2


# --- connections ---------------------------------------------------------------------------------


def test_ike_selectors_are_exactly_the_ports_of_sip_over_udp_and_tcp() -> None:
    """R3329-2.4-ipsec-b."""
    rendered = ike.connection(
        PROFILE, PEER, (EDGE, UE), {"a": child(5100), "b": child(5102)}, Credentials()
    )
    assert rendered["children"]["a"]["local_ts"] == [f"{EDGE}[17/5064]", f"{EDGE}[6/5064]"]
    assert rendered["children"]["b"]["remote_ts"] == [f"{UE}[17/5102]", f"{UE}[6/5102]"]
    for rendered_child in rendered["children"].values():
        assert rendered_child["mode"] == "transport"
        assert (rendered_child["rekey_time"], rendered_child["life_time"]) == ("0", "600s")


@pytest.mark.parametrize(
    ("auth", "local", "remote"),
    [
        (
            "psk",
            {"id": "edge.example.org", "auth": "psk"},
            {"id": "alice@example.org", "auth": "psk"},
        ),
        (
            "certificate",
            {"id": "edge.example.org", "auth": "pubkey", "certs": [b"mine"]},
            {"id": "alice@example.org", "auth": "pubkey", "cacerts": [b"ca"]},
        ),
        (
            "eap-mschapv2",
            {"id": "edge.example.org", "auth": "pubkey", "certs": [b"mine"]},
            {"id": "%any", "auth": "eap-mschapv2", "eap_id": "alice@example.org"},
        ),
    ],
)
def test_ike_each_side_shows_itself_as_it_is_set(
    auth: str, local: dict[str, object], remote: dict[str, object]
) -> None:
    peer = IkePeer(
        name="alice",
        identity="alice@example.org",
        users=frozenset(),
        auth=auth,
        secret=None,
        ports=(),
    )
    credentials = Credentials(certificate=b"mine", authorities=(b"ca",))
    rendered = ike.connection(PROFILE, peer, (EDGE, UE), {}, credentials)
    assert (rendered["local"], rendered["remote"]) == (local, remote)


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("life", "until", "due"),
    [
        (149, 1000.0, True),  # a quarter is left, and the association lasts
        (151, 1000.0, False),  # not yet
        (149, 240.0, False),  # its association ends before
        (None, 1000.0, False),  # without a limit
    ],
)
def test_ike_children_are_rekeyed_as_long_as_their_association_lasts(
    life: int | None, until: float, due: bool
) -> None:
    """Nobody rekeys what is about to end."""
    ours = child_sa(ike.child_name(OWNER, "a"), 5, life=life)
    foreign = child_sa("home", 6, life=1)
    found = ike.rekeys_due([ours, foreign], {"a": until}, OWNER, 600, 100.0)
    assert found == ((5,) if due else ())


# --- comparison ----------------------------------------------------------------------------------


def sa(name: str, *children: ChildSa) -> IkeSa:
    return IkeSa(
        name=name,
        unique_id=1,
        state="ESTABLISHED",
        local_host=EDGE,
        remote_host=UE,
        local_id="",
        remote_id="",
        children=children,
    )


def test_ike_what_bears_no_name_of_ours_is_never_a_finding() -> None:
    """Others' connections and children stay as they are; ours without an association go."""
    mine = ike.connection_name(OWNER, "access", PEER, UE)
    theirs = ike.connection_name(OTHER, "access", PEER, UE)
    sas = [
        sa("home", child_sa("net", 1)),
        sa(theirs, child_sa(ike.child_name(OTHER, "a"), 2)),
        sa(mine, child_sa(ike.child_name(OWNER, "b"), 3)),
    ]
    found = ike.compare(OWNER, [], sas, ["home", theirs, mine])
    assert (found.stray, found.idle, found.unloaded) == ((3,), (1,), (mine,))
    assert (found.adopted, found.lost) == ((), ())
    assert ike.compare(OWNER, [], sas, [], busy={"b"}).stray == ()


# --- reasons -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("tried 1 shared key for 'a' - 'b', but MAC mismatched", Failure.WRONG_KEY),
        ("tried 2 shared keys for 'a' - 'b', but MAC mismatched", Failure.WRONG_KEY),
        ("no shared key found for 'a' - 'b'", Failure.WRONG_KEY),
        ("no matching peer config found", Failure.UNKNOWN_IDENTITY),
        ("constraint check failed: identity 'x' required", Failure.UNKNOWN_IDENTITY),
        ("no trusted RSA public key found for 'x'", Failure.NOT_AUTHENTICATED),
        ("received AUTHENTICATION_FAILED notify error", Failure.NOT_AUTHENTICATED),
        ("received NO_PROPOSAL_CHOSEN notify error", Failure.NO_PROPOSAL),
        ("received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built", Failure.NO_PROPOSAL),
        ("no acceptable proposal found", Failure.NO_PROPOSAL),
        ("received proposals unacceptable", Failure.NO_PROPOSAL),
        ("received TS_UNACCEPTABLE notify, no CHILD_SA built", Failure.SELECTORS),
        ("traffic selectors 10.0.0.1[udp/5064] === 10.0.0.2 unacceptable", Failure.SELECTORS),
        ("giving up after 3 retransmits", Failure.UNREACHABLE),
        ("CHILD_SA 'a' not established after 6000ms", Failure.UNREACHABLE),
        ("unable to install inbound and outbound IPsec SA (SAD) in kernel", Failure.KERNEL),
        ("received DELETE for ESP CHILD_SA with SPI c7db430c", Failure.DELETED_BY_PEER),
    ],
)  # fmt: skip
def test_ike_failures_have_distinct_reasons_in_charons_own_words(
    text: str, failure: Failure
) -> None:
    """R3329-2.4-ike-a: the texts are those that charon 5.9.8 wrote (tests of the kernel lane)."""
    reason = reason_in(text)
    assert reason is not None
    assert (reason.failure, reason.words) == (failure, text)


def test_ike_lines_of_a_success_are_no_reason() -> None:
    for text in (
        "IKE_SA sad-p[1] established between 10.0.0.1[a]...10.0.0.2[b]",
        "selected proposal: ESP:AES_GCM_16_128/NO_EXT_SEQ",
        "retransmit 1 of request with message ID 0",
        "deleting IKE_SA sad-p[1] between 10.0.0.1[a]...10.0.0.2[b]",
    ):
        assert reason_in(text) is None


def test_ike_last_reason_is_the_initiators() -> None:
    told = ["received AUTHENTICATION_FAILED notify error", "retransmit 1 of request"]
    assert reason_of(told, "establishing CHILD_SA 'a' failed").failure is Failure.NOT_AUTHENTICATED
    assert reason_of([], "CHILD_SA 'a' not established after 5ms").failure is Failure.UNREACHABLE
    assert reason_of([], "failed").failure is Failure.UNKNOWN


def test_ike_reason_without_a_name_is_of_the_address_that_began() -> None:
    """Charon does not know whose an IKE SA is before it has the identity."""
    reader = LogReader()
    assert reader.read(line("no matching peer config found")) is None  # of nobody that is known
    assert reader.read(line("10.0.0.2 is initiating an IKE_SA")) is None
    told = reader.read(line("no matching peer config found"))
    assert told is not None
    assert (told.connection, told.address) == (None, "10.0.0.2")
    named = reader.read(line("no acceptable proposal found", connection="sad-x"))
    assert named is not None
    assert (named.connection, named.address) == ("sad-x", None)
    began = "looking for peer configs matching 10.0.0.1[a]...2001:db8::2[mallory]"
    assert reader.read(line(began, ike_id=8)) is None
    told = reader.read(line("no matching peer config found", ike_id=8))
    assert told is not None
    assert told.address == "2001:db8::2"
