"""Offer on a real kernel: what lies in it from the 401 to the first request, and traffic."""

from collections.abc import Iterator
from typing import Any

import pytest

from sip_hooks.client import CallError
from tests.support import eye
from tests.support.offering import Phone
from tests.support.pair import EDGE_SERVER, UE, UE_SERVER, Pair, pair_of_daemons
from tests.support.sniffer import Sniffer

pytestmark = pytest.mark.kernel

POLICIES = 10  # of one set: four port pairs each way, two blocks toward the peer
SHARED = 3  # of them the pair of the server ports each way, and the block toward port_us


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair_of_daemons(tmp_path_factory.mktemp("offer")) as found:
        yield found


@pytest.fixture(scope="module")
def standing(pair: Pair) -> int:
    """How many policies the endpoint has without any set."""
    return len(eye.policies(pair.edge))


@pytest.fixture
def phone(pair: Pair, standing: int) -> Iterator[Phone]:
    yield Phone(pair)
    for daemon in (pair.edge_daemon, pair.ue_daemon):
        for association in daemon.associations():
            daemon.call("Release", id=association["id"])
    assert eye.states(pair.edge) == []
    assert len(eye.policies(pair.edge)) == standing


def outbound_reqid(pair: Pair, port: int) -> str:
    """The template of what goes from port_ps to a port of the phone."""
    head = f"src {pair_address(pair)} dst {UE[4]}/32 sport {EDGE_SERVER} dport {port}"
    (policy,) = [p for p in eye.policies(pair.edge) if head in p.replace("\n", " ")]
    return policy.split("reqid ")[1].split()[0]


def pair_address(_pair: Pair) -> str:
    return "10.10.0.1/32"


def reqid_of(pair: Pair, spi: int) -> str:
    return str(next(s.reqid for s in eye.states(pair.edge) if s.spi == spi))


def sets_of(pair: Pair) -> dict[str, str]:
    return {a["id"]: a["state"] for a in pair.edge_daemon.associations()}


@pytest.mark.parametrize("version", [4, 6])
def test_an_offer_is_in_the_kernel_before_its_answer(
    pair: Pair, phone: Phone, standing: int, version: int
) -> None:
    """INTEROP-2, T33-7.1-a: 4 SAs and 10 policies for 240 s, and the phone's packets pass."""
    phone = Phone(pair, version)

    row = phone.row(0)
    answer = phone.offer(row)

    association = answer["association"]
    seen = eye.states(pair.edge)
    assert len(seen) == 4
    assert len(eye.policies(pair.edge)) == standing + POLICIES
    assert {s.hard_add for s in seen} == {255}  # reg-await-auth and the backstop
    assert (association["state"], association["secondsLeft"] >= 238) == ("temporary", True)
    assert f"spi-s={association['ipsec3gpp']['spiPs']}" in answer["securityServer"]
    phone.install(association)
    with pair.edge.enter():
        sniffer = Sniffer(pair.cable.a)
    with sniffer:
        assert phone.carries(association)
        assert sniffer.clear_on({EDGE_SERVER, UE_SERVER}) == []


def test_a_repeated_offer_adds_nothing(pair: Pair, phone: Phone) -> None:
    """Design 3: a retransmission gets the same answer, from the one set."""
    row = phone.row(0)
    transaction = {"callId": "twice", "cseq": 1, "branch": "z9hG4bKtwice"}

    first = phone.offer(row, transaction=transaction)
    second = phone.offer(row, transaction=transaction)

    assert second["association"]["id"] == first["association"]["id"]
    assert second["securityServer"] == first["securityServer"]
    assert len(eye.states(pair.edge)) == 4


def test_a_re_registration_moves_outbound_with_its_first_request(
    pair: Pair, phone: Phone, standing: int
) -> None:
    """Matrix rows 3, 4, 5: both sets pass side by side; outbound and the limit move at row 5."""
    first = phone.registered(0)
    assert first["state"] == "inUse"
    second = phone.challenged(1, on=first)

    assert len(eye.states(pair.edge)) == 8
    assert len(eye.policies(pair.edge)) == standing + 2 * POLICIES - SHARED
    assert phone.carries(first)
    assert phone.carries(second)

    confirmed = pair.edge_daemon.call("Confirm", id=second["id"], expiresSeconds=600)
    assert confirmed["association"]["state"] == "established"
    assert sets_of(pair) == {first["id"]: "inUse", second["id"]: "established"}
    before = outbound_reqid(pair, UE_SERVER)
    assert before == reqid_of(pair, first["ipsec3gpp"]["spiUs"])

    taken = pair.edge_daemon.call("TakeIntoUse", id=second["id"])["association"]
    assert taken["state"] == "inUse"
    assert sets_of(pair) == {first["id"]: "retiring", second["id"]: "inUse"}
    assert outbound_reqid(pair, UE_SERVER) == reqid_of(pair, second["ipsec3gpp"]["spiUs"])
    limits = {s.spi: s.hard_add for s in eye.states(pair.edge)}
    assert limits[first["ipsec3gpp"]["spiPs"]] <= 128 + 15 + 1
    assert phone.carries(first)  # T24-P-10: what began on it ends on it
    assert phone.carries(second)
    found = pair.edge_daemon.call(
        "Find",
        flow={
            "peerAddress": UE[4],
            "peerPort": UE_SERVER,
            "localAddress": "10.10.0.1",
            "localPort": EDGE_SERVER,
        },
    )
    assert found["outbound"]["id"] == second["id"]


def test_a_refused_offer_leaves_nothing_and_the_old_set_whole(pair: Pair, phone: Phone) -> None:
    """Design 7: a foreign SA in the way of the third message; set A goes on as before."""
    first = phone.registered(0)
    row = phone.row(1, spi_s=54321)
    foreign = (
        f"ip xfrm state add src 10.10.0.1 dst {UE[4]} proto esp spi 54321 reqid 77 mode transport "
        "auth-trunc hmac(sha1) 0x0101010101010101010101010101010101010101 96 enc ecb(cipher_null)"
    )
    pair.edge.run([*foreign.split(), ""])
    before = sorted(eye.policies(pair.edge)), {s.spi for s in eye.states(pair.edge)}

    with pytest.raises(CallError) as refusal:
        phone.offer(row, on=first)

    assert refusal.value.short_name == "KernelRefused"
    assert refusal.value.parameters["object"].startswith("SA3")
    assert (sorted(eye.policies(pair.edge)), {s.spi for s in eye.states(pair.edge)}) == before
    assert sets_of(pair) == {first["id"]: "inUse"}
    assert phone.carries(first)
    delete = f"ip xfrm state delete src 10.10.0.1 dst {UE[4]} proto esp spi 54321"
    pair.edge.run(delete.split())


def test_a_new_register_takes_the_place_of_its_own_temporary_set(
    pair: Pair, phone: Phone, standing: int
) -> None:
    """T33-7.3.1.4: the same list again, with another Call-ID: the same SPIs, one set."""
    row = phone.row(0)
    first = phone.offer(row)["association"]

    second = phone.offer(row)["association"]

    assert second["id"] != first["id"]
    assert sets_of(pair) == {second["id"]: "temporary"}
    assert len(eye.states(pair.edge)) == 4
    assert len(eye.policies(pair.edge)) == standing + POLICIES
    phone.install(second)
    assert phone.carries(second)


def test_a_rebooted_phone_is_let_in_beside_its_old_set(
    pair: Pair, phone: Phone, standing: int
) -> None:
    """T24-P-8, INTEROP-6: same ports, new SPIs; the old set goes with the Confirm, not before."""
    old = phone.registered(0)
    port = old["ipsec3gpp"]["portUc"]
    phone.forget()

    new = phone.challenged(0)

    assert new["ipsec3gpp"]["portUc"] == port
    assert len(eye.states(pair.edge)) == 8
    # They share u.c and u.s, so only the pairs of the new port_pc are added.
    assert len(eye.policies(pair.edge)) == standing + POLICIES + 4
    assert outbound_reqid(pair, port) == reqid_of(pair, old["ipsec3gpp"]["spiUc"])
    rows = pair.port_pairs(new)
    assert pair.udp(*rows[0], b"REGISTER sip:in SIP/2.0")  # SA1
    assert pair.udp(*rows[2], b"SIP/2.0 200 OK")  # SA3, by which answers go (T33-7.1-d)

    pair.edge_daemon.call("Confirm", id=new["id"], expiresSeconds=600)

    assert sets_of(pair) == {new["id"]: "inUse"}
    assert len(eye.states(pair.edge)) == 4
    assert len(eye.policies(pair.edge)) == standing + POLICIES
    assert phone.carries(new)


def test_what_was_offered_survives_kill_9(pair: Pair, phone: Phone) -> None:
    """Design 8: killed between the 401 and its answer, the daemon still knows both lists."""
    row = phone.row(0)
    offered = phone.offer(row, transaction={"callId": "k", "cseq": 1, "branch": "z9hG4bKk"})
    phone.install(offered["association"])
    pair.edge_daemon.kill()
    pair.edge_daemon.client.close()
    pair.edge_daemon.start()

    def verify(server: str) -> dict[str, Any]:
        return pair.edge_daemon.call(
            "Verify",
            flow=phone.flow(offered["association"]),
            securityVerify=[server],
            securityClient=[row],
        )

    assert verify(offered["securityServer"])["association"]["id"] == offered["association"]["id"]
    with pytest.raises(CallError) as refusal:
        verify(offered["securityServer"].replace("hmac-md5-96", "hmac-sha-1-96"))
    assert refusal.value.short_name == "VerifyMismatch"
    assert refusal.value.parameters["securityServer"] == offered["securityServer"]
    again = phone.offer(row, transaction={"callId": "k", "cseq": 1, "branch": "z9hG4bKk"})
    assert again["association"]["id"] == offered["association"]["id"]
    assert phone.carries(offered["association"])
