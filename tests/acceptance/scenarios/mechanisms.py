"""Mechanisms and algorithms beside the usual ones, on Debian's own kernel."""

import secrets
import textwrap
from datetime import UTC, datetime, timedelta

from tests.acceptance import capture
from tests.acceptance.edge import SETTINGS
from tests.acceptance.machines import Failed, wait_until
from tests.acceptance.plan import EDGE, PATIENCE, UE
from tests.acceptance.runner import scenario
from tests.acceptance.world import World

_PORT = 5080
_KEY_FILE = "/etc/sad/keys.d/acceptance.toml"
_SPI_IN, _SPI_OUT = 4097, 8193
_MESSAGES = 20


@scenario("registration with aes-gcm")
def aes_gcm(world: World) -> None:
    """A phone whose SAs encrypt and authenticate in one (TS 33.203 Annex H), and an older one."""
    phones = world.phones
    phones.register("alice", 1, alg="null", ealg="aes-gcm")
    phones.register("bob", 2)
    assert phones.call("message", ue="alice", to="bob") == {"status": 200, "received": True}
    assert phones.call("message", ue="bob", to="alice") == {"status": 200, "received": True}
    used = {a["ipsec3gpp"]["encryptionAlgorithm"] for a in world.edge.associations()}
    assert used == {"aes-gcm", "aes-cbc"}
    for ue in ("alice", "bob"):
        assert phones.call("deregister", ue=ue)["status"] == 200
    world.edge.wait_empty()
    world.assert_protected()


@scenario("keys by hand, from file to their end")
def manual_keys(world: World) -> None:
    """Both sides have keys out of band; SIP passes in ESP until not_after, then not at all."""
    edge = world.edge
    integrity, encryption = secrets.token_bytes(32), secrets.token_bytes(16)
    world.keys += [integrity, encryption]
    lasting = timedelta(seconds=PATIENCE / 2)
    edge.machine.write(SETTINGS, edge.settings + _ENDPOINT)
    now = datetime.fromtimestamp(float(edge.machine.out("date", "+%s")), tz=UTC)
    edge.machine.write(
        _KEY_FILE,
        _KEY_SET.format(
            integrity=integrity.hex(),
            encryption=encryption.hex(),
            begin=(now - timedelta(minutes=1)).isoformat(),
            end=(now + lasting).isoformat(),
        ),
    )
    try:
        edge.machine.shell(f"chown root:sad {_KEY_FILE}; chmod 640 {_KEY_FILE}")
        cursor = edge.cursor()
        edge.machine.run("systemctl", "reload", "sad.service")
        wait_until(lambda: edge.count() == 2, "one SA each way")
        _answer(world)
        # By a file: what is given to sudo stands in its log.
        world.ue.write("/run/acceptance.xfrm", _peer(integrity.hex(), encryption.hex()))
        world.ue.shell("ip -batch /run/acceptance.xfrm; rm /run/acceptance.xfrm")
        wait_until(lambda: _exchange(world, 1), "the edge answers")
        assert _exchange(world, _MESSAGES) == _MESSAGES
        world.look("messages have passed")
        packets = world.wire()
        spis = {p.spi for p in capture.esp(packets)}
        assert {_SPI_IN, _SPI_OUT} <= spis, spis
        assert not [p for p in packets if _PORT in (p.source_port, p.destination_port)]

        wait_until(lambda: edge.count() == 0, "the keys have expired")
        assert "keyExpired" in edge.since(cursor)
        assert _exchange(world, 3) == 0
        sent = [p for p in world.wire() if p.source == EDGE[4]]
        assert not [p for p in sent if _PORT in (p.source_port, p.destination_port)]
    finally:
        edge.machine.write(SETTINGS, edge.settings)
        edge.machine.shell(
            f"rm -f {_KEY_FILE}; systemctl stop acceptance-answer; systemctl reload sad.service",
            check=False,
        )
        world.ue.shell("ip xfrm policy flush; ip xfrm state flush")


_ENDPOINT = f"""
[[endpoint]]
name = "peering"
addresses = ["{EDGE[4]}"]
server_port = {_PORT}
client_ports = "5084-5085"
users = ["kamailio"]
profile = "rfc3329"
mechanisms = ["ipsec-man"]
accept_unreplayed_verify = true
"""

_KEY_SET = f"""
[[key_set]]
name = "acceptance"
endpoint = "peering"
peer_address = "{UE[4]}"
spi_in = {_SPI_IN}
spi_out = {_SPI_OUT}
local_ports = [{_PORT}]
peer_ports = [{_PORT}]
integrity = "hmac-sha-256-128"
encryption = "aes-cbc-128"
integrity_key = "{{integrity}}"
encryption_key = "{{encryption}}"
not_before = {{begin}}
not_after = {{end}}
"""


def _peer(integrity: str, encryption: str) -> str:
    """The other side, made of nothing but ip xfrm."""
    algorithms = (
        f"auth-trunc hmac(sha256) 0x{integrity} 128 enc cbc(aes) 0x{encryption} mode transport"
    )
    ports = f"sport {_PORT} dport {_PORT}"
    lines = []
    for source, destination, spi, direction in (
        (UE[4], EDGE[4], _SPI_IN, "out"),
        (EDGE[4], UE[4], _SPI_OUT, "in"),
    ):
        ends = f"src {source} dst {destination}"
        lines.append(f"xfrm state add {ends} proto esp spi {spi} reqid {spi} {algorithms}")
        lines.append(
            f"xfrm policy add {ends} proto udp {ports} dir {direction} "
            f"tmpl {ends} proto esp reqid {spi} mode transport"
        )
    return "\n".join([*lines, ""])


def _answer(world: World) -> None:
    """Have the edge answer whatever comes."""
    program = textwrap.dedent(f"""
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("{EDGE[4]}", {_PORT}))
        while True:
            s.sendto(*s.recvfrom(2048))
    """)
    world.edge.machine.run(
        *("systemd-run", "--quiet", "--unit=acceptance-answer", "python3", "-c", program)
    )


def _exchange(world: World, messages: int) -> int:
    """Send some messages from the protected port; return how many were answered."""
    program = textwrap.dedent(f"""
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("{UE[4]}", {_PORT}))
        s.settimeout(5)
        answered = 0
        for number in range({messages}):
            try:
                s.sendto(b"OPTIONS sip:edge SIP/2.0 %d" % number, ("{EDGE[4]}", {_PORT}))
                answered += bool(s.recv(2048))
            except OSError:
                pass
        print(answered)
    """)
    try:
        return int(world.ue.out("python3", "-c", program))
    except ValueError as error:
        raise Failed("the peer counts no answers") from error
