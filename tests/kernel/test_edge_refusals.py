"""Bad input at a real edge: each refused with its status, nothing installed, nobody else hurt."""

import asyncio
import socket
from dataclasses import replace

import pytest

from tests.edge.raw import RawClient, offer, register
from tests.edge.world import ACCESS_PORT, EDGE, PORT_PS, UE, EdgeWorld, within
from tests.ue import home
from tests.ue.registration import RegistrationRefused
from tests.ue.sip import Request

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCESS = (EDGE[4], ACCESS_PORT)
VICTIM = 11


def client(world: EdgeWorld, port: int = 0, address: str = UE[4]) -> RawClient:
    """A socket on the UEs' side that speaks to the unprotected port."""
    return RawClient(world.ue, (address, port), ACCESS)


async def ask(raw: RawClient, request: Request) -> int:
    """Send and return the final status; the S-CSCF of this process answers meanwhile."""
    return (await asyncio.to_thread(raw.ask, request)).status


ALGORITHM = "ipsec-3gpp;alg={};ealg={};spi-c=70001;spi-s=70002;port-c=21001;port-s=22001"


BAD_LISTS: list[tuple[list[str], int]] = [
    ([], 421),
    (["ipsec-3gpp;alg=hmac-sha-1-96;spi-c="], 400),
    ([offer()[:-9] + ';x="'], 400),
    (["ipsec-3gpp"], 488),
    (["tls", "digest"], 488),
    ([ALGORITHM.format("hmac-md5-96", "null")], 488),
    ([ALGORITHM.format("null", "aes-gcm")], 488),
    ([ALGORITHM.format("null", "null")], 488),  # T33-H-c, as the next three
    ([ALGORITHM.format("null", "aes-cbc")], 488),
    ([ALGORITHM.format("hmac-sha-1-96", "aes-gcm")], 488),
    ([ALGORITHM.format("aes-gmac", "aes-cbc")], 488),
    (["ipsec-3gpp;alg=hmac-sha-1-96;spi-c=7;spi-s=7;port-c=6301;port-s=6300"], 488),
    ([offer(port=5060)], 488),
    ([offer(port_s=5061)], 488),
    ([f"{offer()},"], 400),
    ([offer()] * 33, 400),
]


async def test_edge_refusals_of_security_client(world: EdgeWorld) -> None:
    """T33-7.3.2.1, T33-7.1-e and -f, T33-H-c: refused at once; the core hears nothing."""
    with client(world) as raw:
        answers = [
            await ask(raw, register(VICTIM, raw.local, client=rows)) for rows, _ in BAD_LISTS
        ]
    assert answers == [status for _, status in BAD_LISTS]
    assert world.scscf.registrar.seen == []
    assert world.states() == 0


async def test_edge_refusals_of_a_megabyte(world: EdgeWorld) -> None:
    """1 MB of Security-Client: over TCP the connection or the request ends, Kamailio goes on."""
    with client(world) as raw:
        request = register(VICTIM, raw.local, client=["ipsec-3gpp;x=" + "a" * 1_000_000])
        reader_writer = await asyncio.to_thread(_tcp_send, world, request.encode())
        assert not reader_writer.startswith(b"SIP/2.0 2")
        assert await ask(raw, register(VICTIM, raw.local, client=["tls"])) == 488


def _tcp_send(world: EdgeWorld, data: bytes) -> bytes:
    with world.ue.enter():
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.settimeout(10)
        sock.bind((UE[4], 0))
        try:
            sock.connect(ACCESS)
            sock.sendall(data)
            return sock.recv(4096)
        except OSError:
            return b""


async def test_edge_refusals_of_the_rest_of_register(world: EdgeWorld) -> None:
    """R3329-2.3.2-b (two Vias: 502), T24-P-4: no or no single Digest identity, bad UTF-8."""
    seen = len(world.scscf.registrar.seen)
    with client(world) as raw:
        assert await ask(raw, register(VICTIM, raw.local, vias=2)) == 502
        assert await ask(raw, register(VICTIM, raw.local, authorization="")) == 400
        twice = 'Digest username="a", username="b", realm="r", nonce="", uri="x", response=""'
        assert await ask(raw, register(VICTIM, raw.local, authorization=twice)) == 400
        broken = register(VICTIM, raw.local, client=["tls;x=MARK"]).encode()
        raw.send(broken.replace(b"MARK", b"\xff\xfe"))
        assert (await asyncio.to_thread(raw.receive)).status == 400
    assert len(world.scscf.registrar.seen) == seen


async def test_edge_refusals_of_clear_requests(world: EdgeWorld) -> None:
    """T33-7.1-p5: on the unprotected port only REGISTER is heard; ACK is refused silently."""
    with client(world) as raw:
        template = register(VICTIM, raw.local, client=[])
        for method in ("INVITE", "MESSAGE", "SUBSCRIBE", "OPTIONS"):
            rows = template.with_rows("CSeq", f"1 {method}").without("Require", "Proxy-Require")
            request = replace(rows, method=method, uri=home.public_identity(1))
            assert await ask(raw, request) == 403
        ack = replace(template.with_rows("CSeq", "1 ACK"), method="ACK")
        raw.send(ack)
        assert await asyncio.to_thread(raw.silence, 0.5)


async def test_edge_refusals_of_integrity_protected(world: EdgeWorld) -> None:
    """T24-P-1, T33-6.1-a: a received integrity-protected never reaches the S-CSCF."""
    identity = home.private_identity(VICTIM)
    with client(world) as raw:
        lie = (
            f'Digest username="{identity}", integrity-protected="yes", realm="{home.DOMAIN}", '
            f'nonce="", uri="sip:{home.DOMAIN}", response="", Integrity-Protected = yes'
        )
        world.scscf.add(home.subscriber(VICTIM))
        answer = await ask(raw, register(VICTIM, raw.local, authorization=lie))
        assert answer == 401
    assert world.scscf.registrar.seen[-1].integrity_protected == "no"
    assert world.states() == 4


@pytest.mark.parametrize("how", ["missing", "altered", "client changed"])
async def test_edge_refusals_of_the_mirror(world: EdgeWorld, how: str) -> None:
    """T33-7.3.2.3, T24-P-2, GAP-7, matrix row 6: 494, not forwarded; the set ends; A stays."""

    def alter(request: Request, purpose: str) -> Request:
        if purpose != "register-answer" or not armed:
            return request
        if how == "missing":
            return request.without("Security-Verify")
        name = "Security-Verify" if how == "altered" else "Security-Client"
        changed = request.one(name).replace("hmac-sha-1-96", "hmac-md5-96", 1)
        return request.with_rows(name, changed)

    armed = False
    ue = await world.new_ue(12, alter=alter)
    await within(ue.register())
    seen = len(world.scscf.registrar.seen)
    armed = True
    with pytest.raises(RegistrationRefused) as refused:
        await within(ue.register())
    assert refused.value.response.status == 494
    assert refused.value.response.rows("Security-Server")
    assert len(world.scscf.registrar.seen) == seen + 1  # the challenged one, not the answer
    armed = False
    assert (await within(ue.message(home.public_identity(12), "A stays"))).status in {200, 404}
    await within(ue.deregister())
    await world.gone()
    assert world.clear() == []


async def test_edge_refusals_of_other_identities(world: EdgeWorld) -> None:
    """T24-P-4, design section 3: on A's SA only A speaks: REGISTER, From, P-Preferred-Identity."""
    wanted: dict[str, str] = {}

    def alter(request: Request, purpose: str) -> Request:
        if purpose == "re-register" and "impi" in wanted:
            text = request.one("Authorization")
            other = text.replace(home.private_identity(13), wanted["impi"])
            return request.with_rows("Authorization", other)
        for name in ("From", "P-Preferred-Identity"):
            if name in wanted and purpose == "message":
                request = request.with_rows(name, wanted[name])
        return request

    ue = await world.new_ue(13, alter=alter)
    await within(ue.register())
    wanted["impi"] = home.private_identity(VICTIM)
    attempt = await within(ue.begin())
    assert attempt.response.status == 403
    wanted.clear()
    target = home.public_identity(13)
    for name, row in (
        ("From", f"<{home.public_identity(VICTIM)}>;tag=x1"),
        ("P-Preferred-Identity", f"<{home.public_identity(VICTIM)}>"),
    ):
        wanted[name] = row
        assert (await within(ue.message(target, "I am somebody else"))).status == 403
        wanted.clear()
    await within(ue.deregister())
    await world.gone()


async def test_edge_refusals_leave_the_victim_alone(world: EdgeWorld) -> None:
    """T33-7.1-p3, design section 6: unprotected REGISTERs with a victim's name, address or ports.

    Its identity from elsewhere, its address and port_us with another identity, and its own tuple
    spoofed: whatever is answered, its sets stay and work.
    """
    victim = await world.new_ue(14)
    await within(victim.register())
    s = victim.channel().sa_set
    assert s is not None
    (before,) = world.daemon.associations()
    world.scscf.add(home.subscriber(15))
    with client(world) as raw:
        for number, port_c, port_s in (
            (14, 21000, 22000),  # the victim's identity, other ports
            (15, 21002, s.port_us),  # another identity at the victim's port_us
            (15, s.port_uc, 22002),  # at its port_uc
            (14, s.port_uc, s.port_us),  # the victim's own tuple, spoofed
        ):
            rows = [offer(port=port_c, port_s=port_s)]
            await ask(raw, register(number, raw.local, client=rows))
            now = [a for a in world.daemon.associations() if a["id"] == before["id"]]
            assert [a["state"] for a in now] == ["inUse"]
            answer = await within(victim.message(home.public_identity(14), "I am still here"))
            assert answer.status == 200
            await within(victim.messages.get())
    await within(victim.deregister())
    assert victim.violations == []


async def test_edge_refusals_of_own_addresses(world: EdgeWorld) -> None:
    """Design section 3: a packet from one of the node's own addresses is no user agent."""
    with RawClient(world.edge, (EDGE[4], 30123), (EDGE[4], ACCESS_PORT)) as raw:
        assert await ask(raw, register(VICTIM, raw.local)) == 403


async def test_edge_refusals_in_clear_to_protected_ports(world: EdgeWorld) -> None:
    """IPS-8: a REGISTER in clear to port_ps is not even answered."""
    before = len(world.clear())
    with RawClient(world.ue, (UE[4], 0), (EDGE[4], PORT_PS)) as raw:
        raw.send(register(VICTIM, raw.local))
        assert await asyncio.to_thread(raw.silence, 0.5)
    assert len(world.clear()) == before + 1  # the attacker's own packet, and no answer
