"""The UDP socket of encapsulated ESP beside other programs: refused, shared, handed over."""

import asyncio
import contextlib
import dataclasses
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from sad.mechanisms.probe import NodeUnfit
from sad.mechanisms.udp_sockets import UdpSockets, holders
from sad.model.encapsulation import UdpEncapsulation
from tests.support.daemon import Daemon, endpoint_settings
from tests.support.make import association, endpoint, sa_set
from tests.support.namespaces import Namespace, connect
from tests.support.nat_world import nat_world

pytestmark = pytest.mark.kernel

LOCAL, PEER = "10.10.0.1", "10.10.0.2"
BEHIND = endpoint(addresses=(LOCAL,), nat_port=4500, nat_networks=("192.168.0.0/16",))


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    with Namespace("here") as here, Namespace("there") as there:
        connect(here, there, (f"{LOCAL}/24", f"{PEER}/24"), None)
        yield here, there


def bound(namespace: Namespace, address: str, *, shared: bool) -> socket.socket:
    """Bind UDP port 4500; ``shared``: with SO_REUSEADDR, as systemd and strongSwan do."""
    with namespace.enter():
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
    try:
        opened.bind((address, 4500))
    except OSError:
        opened.close()
        raise
    opened.settimeout(5)
    return opened


@contextlib.contextmanager
def udp_sockets(*handed_over: socket.socket) -> Iterator[UdpSockets]:
    sockets = UdpSockets(handed_over)
    try:
        yield sockets
    finally:
        sockets.close()


@pytest.mark.parametrize("shared", [False, True])
async def test_nat_socket_is_refused_where_another_has_the_port(
    ends: tuple[Namespace, Namespace], shared: bool
) -> None:
    """Never touch what is not ours: who binds last would take the other's IKE away."""
    here, _ = ends
    with bound(here, "0.0.0.0", shared=shared), udp_sockets() as sockets:
        with here.enter(), pytest.raises(NodeUnfit, match="another program has it") as refused:
            sockets.use([BEHIND])
        assert 'nat_socket = "shared"' in refused.value.hint

        elsewhere = dataclasses.replace(BEHIND, nat_shared=True)
        with here.enter():
            sockets.use([elsewhere])


@pytest.mark.parametrize("address", ["0.0.0.0", LOCAL])
async def test_nat_socket_is_taken_over_unless_another_is_there(
    ends: tuple[Namespace, Namespace], address: str
) -> None:
    """Systemd binds with SO_REUSEADDR, so the table of sockets is asked who else is there."""
    here, _ = ends
    with (
        bound(here, address, shared=True) as given,
        udp_sockets(given) as sockets,
        here.enter(),
    ):
        sockets.use([BEHIND])
    other = bound(here, "0.0.0.0", shared=True)
    with (
        other,
        bound(here, address, shared=True) as given,
        udp_sockets(given) as sockets,
        here.enter(),
        pytest.raises(NodeUnfit, match="another program has it"),
    ):
        sockets.use([BEHIND])


async def test_nat_socket_keeps_the_way_open(ends: tuple[Namespace, Namespace]) -> None:
    """RFC 3948 2.3: one byte of ones from port 4500 of the set's address to each NAT port once."""
    here, there = ends
    udp = UdpEncapsulation(peer_address=PEER, peer_port=4500)
    values = {"pcscf_address": LOCAL, "ue_address": "192.168.7.2"}
    known = association(sa_set=sa_set(**values, encapsulation=udp))
    unknown = association(sa_set=sa_set(**values, encapsulation=structs.replace(udp, peer_port=0)))
    with (
        bound(there, PEER, shared=False) as nat,
        bound(here, "0.0.0.0", shared=True) as given,
        udp_sockets(given) as sockets,
    ):
        with here.enter():
            sockets.use([BEHIND])
        sending = asyncio.create_task(
            sockets.keep_alive(lambda: 0.2, lambda: [known, known, unknown, association()])
        )
        received = await asyncio.to_thread(nat.recvfrom, 100)
        sending.cancel()
        nat.setblocking(False)
        with pytest.raises(BlockingIOError):
            nat.recv(100)

    assert received == (b"\xff", (LOCAL, 4500))


def test_nat_socket_table_is_read() -> None:
    """/proc/net/udp and udp6: exact address or any, the port, and nobody's else."""
    here = socket.ntohl(int.from_bytes(socket.inet_aton(LOCAL), "big"))
    rows = (f"{here:08X}:1194 7", "00000000:1194 8", "0100007F:1194 9", f"{here:08X}:1195 10")
    table = "sl local_address ...\n" + "\n".join(
        f"{n}: {end} 00000000:0000 07 0:0 00:0 0 0 0 {inode} 2 0 0"
        for n, (end, inode) in enumerate(row.split() for row in rows)
    )

    assert holders(table, LOCAL, 4500) == {7, 8}
    assert holders(table, "10.10.0.9", 4500) == {8}


async def test_nat_beside_a_real_strongswan(tmp_path: Path) -> None:
    """Its port is refused to a socket of our own; shared, its socket takes our ESP out, too."""
    shared = 'nat_traversal = true\nnat_networks = ["192.168.0.0/16"]\nnat_socket = "shared"\n'
    with nat_world(tmp_path, nat=shared, count=1, charon=True) as world:
        with (
            udp_sockets() as own,
            world.edge.enter(),
            pytest.raises(NodeUnfit, match="another program has it"),
        ):
            own.use([BEHIND])

        association = world.registered(0)
        for source, destination in world.port_pairs(association):
            assert world.udp(source, destination, b"by the socket of strongSwan")


#: What systemd does for sad.socket and sad-encap.socket, in the words of sd_listen_fds(3).
_ACTIVATE = """
import os, socket, sys
path, *command = sys.argv[1:]
varlink = socket.socket(socket.AF_UNIX)
varlink.bind(path)
varlink.listen()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
udp.bind(("0.0.0.0", 4500))
first, second = os.dup(varlink.fileno()), os.dup(udp.fileno())
varlink.close(), udp.close()
os.dup2(second, 13), os.dup2(first, 3), os.dup2(13, 4)
os.environ |= {
    "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "varlink:encapsulation"
}
os.execv(command[0], command)
"""


def test_nat_socket_comes_from_the_service_manager(
    ends: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    """Design 1: the sandbox knows no IP, so the daemon is given the socket; nobody else has it."""
    here, _ = ends
    nat = 'nat_traversal = true\nnat_networks = ["192.168.0.0/16"]\n'
    settings = endpoint_settings("access", (LOCAL,), 5064, "5068-5071", extra=nat)
    daemon = Daemon(here, tmp_path / "sad", settings)
    daemon.spawn(wrapper=(sys.executable, "-c", _ACTIVATE, str(daemon.socket)))
    try:
        daemon.wait_ready()
        with pytest.raises(OSError, match="in use"):
            bound(here, LOCAL, shared=False)
    finally:
        daemon.stop()
