"""What an attacker does to a real edge: from the access network, and from a protected UE."""

import asyncio
import re
from dataclasses import replace

import pytest

from tests.edge.raw import RawClient, offer, register
from tests.edge.world import (
    ACCESS_PORT,
    CORE,
    EDGE,
    EDGE_CORE,
    PORT_PS,
    UE,
    EdgeWorld,
    within,
)
from tests.support.daemon import wait_until
from tests.ue import home
from tests.ue.agent import Trace
from tests.ue.dialog import make_response, new_branch
from tests.ue.headers import Via
from tests.ue.sip import Request, Response, parse
from tests.ue.ue import Ue

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCESS = (EDGE[4], ACCESS_PORT)
KEYS = "ck=" + '"' + "00" * 16 + '"' + ", ik=" + '"' + "11" * 16 + '"'


async def quiet(raw: RawClient, seconds: float = 0.4) -> bool:
    return await asyncio.to_thread(raw.silence, seconds)


def reach_core(world: EdgeWorld) -> None:
    """Let the access network's hosts address the edge's core socket, as Linux allows."""
    command = ["ip", "route", "replace", f"{EDGE_CORE}/32", "via", EDGE[4]]
    world.ue.run(command)


async def test_edge_attacks_nobody_answers_for_the_core(world: EdgeWorld) -> None:
    """T33-7.2-d: a challenge that does not come from the core makes no set and goes nowhere.

    tm finds the transaction by the branch alone, and the attacker knows it: here from the core.
    """
    heard: list[Request] = []

    def keep(kind: str, _flow: object, data: bytes) -> None:
        message = parse(data, stream=False)
        if kind == "received" and isinstance(message, Request):
            heard.append(message)

    real = world.scscf.on_request
    world.scscf.on_request = lambda *_: None  # type: ignore[method-assign]  # a slow core
    world.scscf.on_trace = keep
    reach_core(world)
    try:
        with RawClient(world.ue, (UE[4], 0), ACCESS) as raw:
            raw.send(register(31, raw.local))
            await asyncio.to_thread(wait_until, lambda: heard, "the core has heard it")
            challenge = f'Digest realm="x", nonce="eA==", algorithm=AKAv1-MD5, {KEYS}'
            forged = make_response(heard[0], 401, headers=(("WWW-Authenticate", challenge),))
            for target in (ACCESS, (EDGE_CORE, 5060)):
                with RawClient(world.ue, (UE[4], 0), target) as elsewhere:
                    elsewhere.send(forged.encode())
            assert await quiet(raw)
    finally:
        world.scscf.on_request = real  # type: ignore[method-assign]  # as above
        world.scscf.on_trace = lambda *_: None
    assert world.states() == 0
    assert world.daemon.associations() == []


async def test_edge_attacks_no_reply_without_a_transaction(world: EdgeWorld) -> None:
    """A reply that answers nothing goes nowhere: not to its next Via, not into a UE's SAs."""
    victim = await world.new_ue(32)
    await within(victim.register())
    s = victim.channel().sa_set
    assert s is not None
    with (
        RawClient(world.ue, (UE[4], 0), ACCESS) as raw,
        RawClient(world.ue, (UE[4], 0), ACCESS) as third,
    ):
        for target in (third.local, (UE[4], s.port_us)):
            reply = (
                "SIP/2.0 401 Unauthorized\r\n"
                f"Via: SIP/2.0/UDP {EDGE[4]}:{ACCESS_PORT};branch=z9hG4bKforged.0\r\n"
                f"Via: SIP/2.0/UDP {target[0]}:{target[1]};branch=z9hG4bKnext\r\n"
                "From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: forged\r\n"
                f"CSeq: 1 MESSAGE\r\nWWW-Authenticate: Digest {KEYS}\r\nContent-Length: 0\r\n\r\n"
            )
            raw.send(reply.encode())
        assert await quiet(third)
    assert victim.violations == []


async def test_edge_attacks_the_core_socket_hears_only_the_core(world: EdgeWorld) -> None:
    """Design section 3: addressed from the access network the core socket refuses."""
    reach_core(world)
    victim = await world.new_ue(33)
    await within(victim.register())
    with RawClient(world.ue, (UE[4], 0), (EDGE_CORE, 5060)) as raw:
        template = register(33, raw.local, client=[]).without("Require", "Proxy-Require")
        template = template.with_rows("CSeq", "1 MESSAGE")
        template = template.with_rows("P-Asserted-Identity", "<sip:bank@bank.example>")
        request = replace(template, method="MESSAGE", uri=victim.contact(victim.channel()))
        assert (await asyncio.to_thread(raw.ask, request)).status == 403
    assert victim.messages.empty()


async def refused(ue: Ue, request: Request) -> int:
    return (await within(ue.send_request(request, ue.channel(), "attack"))).status


async def test_edge_attacks_routes_of_a_protected_ue(world: EdgeWorld) -> None:
    """TS 24.229 5.2.6.3: Route and To tag of a UE's own invention reach nobody but the core."""
    ue = await world.new_ue(34)
    await within(ue.register())
    own = f"<sip:{EDGE[4]}:{PORT_PS};lr>"
    message = ue.new_request("MESSAGE", home.public_identity(34))
    tagged = message.with_rows("To", f"{message.one('To')};tag=invented")
    token = f"<sip:{EDGE_CORE}:5060;lr>"
    for way in (token, f"<sip:{UE[4]}:7777;lr>", "<sip:blackhole.example.org;lr>"):
        assert await refused(ue, tagged.with_rows("Route", own, way)) == 403
    assert await refused(ue, replace(tagged.with_rows("Route", own), uri=f"sip:x@{UE[4]}")) == 403
    doubled = f"<sip:{EDGE[4]}:{PORT_PS};lr;r2=on>"
    initial = message.with_rows("Route", doubled, *ue.service_route)
    assert await refused(ue, replace(initial, uri=f"sip:x@{CORE}:7777")) == 403
    assert await refused(ue, message.with_rows("Route", own, token)) == 403
    assert (await within(ue.message(home.public_identity(34), "the right way"))).status == 200
    await within(ue.messages.get())


async def test_edge_attacks_a_notify_of_a_user_ends_nothing(world: EdgeWorld) -> None:
    """T24-D-3: a NOTIFY that a user agent sends through the core is no word of the network."""
    attacker, victim = await world.new_ue(35), await world.new_ue(36)
    await within(attacker.register())
    await within(victim.register())
    aor = home.public_identity(36)
    document = (
        '<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" '
        f'state="full"><registration aor="{aor}" id="a" state="terminated"/></reginfo>'
    )
    headers = (
        ("Event", "reg"),
        ("Subscription-State", "terminated"),
        ("Content-Type", "application/reginfo+xml"),
    )
    await within(attacker.request("NOTIFY", aor, headers, document.encode()))
    states = [
        a["state"]
        for a in world.daemon.associations()
        if a["registration"]["privateIdentity"] == home.private_identity(36)
    ]
    assert states == ["inUse"]


async def test_edge_attacks_connections_that_the_edge_opened(world: EdgeWorld) -> None:
    """T33-7.1-d: what a UE sends on them is protected, and known as such."""
    answers: list[str] = []

    def on_trace(trace: Trace) -> None:
        if (
            trace.kind == "received"
            and trace.text.startswith("SIP/2.0")
            and "MESSAGE" in str(trace.raw)
        ):
            answers.append(trace.text)

    ue = await world.new_ue(37, transport="TCP", on_trace=on_trace)
    await within(ue.register())
    await within(ue.message(home.public_identity(37), "opens the connection to port_us"))
    await within(ue.messages.get())
    (connection,) = ue._peer_connections
    request = ue.new_request("MESSAGE", home.public_identity(37), (("Content-Type", "a/b"),))
    via = Via("TCP", *ue.channel().local_server, (("branch", new_branch()),))
    answers.clear()
    connection.send(request.prepend("Via", str(via)).encode())
    await asyncio.to_thread(wait_until, lambda: answers, "an answer")
    assert answers == ["SIP/2.0 200 OK"]


async def test_edge_attacks_ports_of_one_who_is_gone(world: EdgeWorld) -> None:
    """T24-P-5: who gets the ports of a set that an operator ended is not taken for its owner."""
    ports = {"port_us": 15001, "protected_ports": (15000, 15000)}
    owner = await world.new_ue(38, **ports)
    await within(owner.register())
    world.daemon.call("Release", privateIdentity=home.private_identity(38))
    await world.gone()
    await world.drop(owner)
    other = await world.new_ue(39, **ports)
    attempt = await within(other.begin())
    assert attempt.response.status == 401
    assert attempt.channel is not None
    identity = home.public_identity(38)
    rows = (
        ("Max-Forwards", "70"),
        ("Route", f"<sip:{EDGE[4]}:{PORT_PS};lr>"),
        ("From", f"<{identity}>;tag=x"),
        ("To", f"<{identity}>"),
        ("Call-ID", "gone"),
        ("CSeq", "1 MESSAGE"),
    )
    request = Request(rows, b"", "MESSAGE", identity)
    answer = await within(other.send_request(request, attempt.channel, "attack"))
    assert answer.status == 403


async def test_edge_attacks_many_name_one_identity(world: EdgeWorld) -> None:
    """Design section 6: REGISTERs in clear with a subscriber's name do not lock him out."""
    world.scscf.add(home.subscriber(40))
    for number in range(6):
        address = f"10.20.77.{number + 1}"
        world.own_address(address)
        with RawClient(world.ue, (address, 0), ACCESS) as raw:
            answer = await asyncio.to_thread(raw.ask, register(40, raw.local))
            assert answer.status == 401
    victim = await world.new_ue(40)
    assert (await within(victim.register())).status == 200
    await within(victim.deregister())


async def test_edge_attacks_headers_of_the_network(world: EdgeWorld) -> None:
    """T24-P-1: what only the network may say, and a UE's own way, do not pass."""
    extra = (
        ("P-Charging-Vector", "icid-value=forged"),
        ("P-Charging-Function-Addresses", "ccf=[1::1]"),
        ("P-Asserted-Identity", "<sip:bank@bank.example>"),
        ("P-Served-User", "<sip:bank@bank.example>"),
        ("Resource-Priority", "wps.0"),
        ("P-Access-Network-Info", "3GPP-E-UTRAN-FDD;network-provided"),
        ("Route", "<sip:10.30.0.66:5060;lr>"),
        ("Path", "<sip:evil@10.30.0.66;lr>"),
    )
    heard: list[bytes] = []
    world.scscf.on_trace = lambda kind, _flow, data: (
        heard.append(data) if kind == "received" else None
    )
    world.scscf.add(home.subscriber(41))
    try:
        with RawClient(world.ue, (UE[4], 0), ACCESS) as raw:
            answer = await asyncio.to_thread(raw.ask, register(41, raw.local, extra=extra))
            assert answer.status == 401
    finally:
        world.scscf.on_trace = lambda *_: None
    for name, value in extra:
        assert not any(value.encode() in data for data in heard), name


async def test_edge_attacks_a_flood_costs_others_nothing(world: EdgeWorld) -> None:
    """Design section 6: 503 with Retry-After beyond the rate; established UEs are served."""
    ue = await world.new_ue(42)
    await within(ue.register())
    usual = world.daemon.config.read_text()
    # So few that the slowest machine sends more.
    world.daemon.reload(usual + "\n[limits]\noffers_per_second_per_address = 1\n")
    with RawClient(world.ue, (UE[4], 0), ACCESS) as raw:
        for number in range(400):
            raw.send(register(43, raw.local, client=[offer(port=20000 + number)]))
        assert (await within(ue.message(home.public_identity(42), "in the flood"))).status == 200
        answers = await asyncio.to_thread(raw.receive_all)
    world.daemon.reload(usual)
    busy = [a for a in answers if a.status == 503]
    assert busy
    assert all(a.rows("Retry-After") for a in busy)
    assert {a.status for a in answers} <= {404, 503}


async def test_edge_attacks_a_flood_from_everywhere(world: EdgeWorld) -> None:
    """Design section 6: spoofed or not, many addresses share one rate; the established go on."""
    ue = await world.new_ue(44)
    await within(ue.register())
    for number in range(40):
        world.own_address(f"10.20.78.{number + 1}")
        with RawClient(world.ue, (f"10.20.78.{number + 1}", 0), ACCESS) as raw:
            for _ in range(5):
                raw.send(register(45, raw.local))
    assert (await within(ue.message(home.public_identity(44), "in the flood"))).status == 200
    await within(ue.messages.get())
    (own,) = [a for a in world.daemon.associations() if a["state"] == "inUse"]
    assert own["registration"]["privateIdentity"] == home.private_identity(44)


@pytest.mark.parametrize("left_out", ["ik", "ck and ik", "neither, but 31 digits"])
async def test_edge_attacks_challenges_with_bad_keys(world: EdgeWorld, left_out: str) -> None:
    """T33-7.2-d: ck without ik, no keys, a short key: 503, and nothing of them leaves."""
    real = world.scscf.registrar.register

    def spoiled(request: Request, now: float) -> Response:
        response = real(request, now)
        value = response.one("WWW-Authenticate")
        if left_out == "neither, but 31 digits":
            value = re.sub(r'(ik="[0-9a-f]{31})[0-9a-f]', r"\1", value)
        else:
            value = re.sub(r', ik="[0-9a-f]*"', "", value)
            value = value if left_out == "ik" else re.sub(r', ck="[0-9a-f]*"', "", value)
        assert value != response.one("WWW-Authenticate")
        return response.with_rows("WWW-Authenticate", value)

    received: list[bytes] = []
    ue = await world.new_ue(46, on_trace=lambda trace: received.append(trace.raw))
    world.scscf.registrar.register = spoiled  # type: ignore[method-assign]  # put back below
    try:
        assert (await within(ue.begin())).response.status == 503
    finally:
        world.scscf.registrar.register = real  # type: ignore[method-assign]  # as above
    assert not any(b"ck=" in raw for raw in received)
    assert world.states() == 0
