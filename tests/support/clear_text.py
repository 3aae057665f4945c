"""Real clear text against the real guard: two namespaces, both families, UDP, TCP and ``lo``.

Used by the kernel tests in a lane, and, where the kernel has nf_tables but no ESP, as a program
in the host's namespaces: ``python -m tests.support.clear_text`` tries every packet filter that
this kernel has and names it. Each check first shows that the packet passes without the guard.
"""

import contextlib
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sad.config import EndpointSettings
from sad.guard.backends import Backend, all_backends
from tests.support.daemon import wait_until
from tests.support.namespaces import Namespace, connect

EDGE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
UE: Final = {4: "192.0.2.2", 6: "2001:db8::2"}
SERVER: Final = 5064
CLIENT: Final = 5068
PLAIN: Final = 5080
ENDPOINTS: Final = (
    EndpointSettings(
        name="edge",
        addresses=(EDGE[4], EDGE[6]),
        server_port=SERVER,
        client_ports=(5068, 5069, 5070, 5071),
        users=("root",),
    ),
)
_FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_PATIENCE: Final = 20.0
_MORE_THAN_A_PACKET: Final = b"x" * 3000
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class World:
    """The edge, where the guard stands, and a user agent, one cable between them."""

    edge: Namespace
    ue: Namespace

    def apply(self, backend: Backend) -> None:
        """Put the guard up on the edge."""
        with self.edge.enter():
            backend.apply(ENDPOINTS)

    def remove(self, backend: Backend) -> None:
        """Take it down."""
        with self.edge.enter():
            assert backend.remove()

    def dropped(self, backend: Backend) -> dict[tuple[str, bool], int]:
        """Packets dropped, by (address, inbound)."""
        with self.edge.enter():
            counters = backend.counters()
        assert counters is not None, "the guard does not stand"
        return {(counter.address, counter.inbound): counter.packets for counter in counters}

    def usable(self) -> list[Backend]:
        """Return the backends that this kernel and system have."""
        with self.edge.enter():
            return [b for b in all_backends() if b.obstacle(ENDPOINTS) is None]


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Build both nodes with an address of each version."""
    with Namespace("edge") as edge, Namespace("ue") as ue:
        connect(edge, ue, (f"{EDGE[4]}/24", f"{UE[4]}/24"), (f"{EDGE[6]}/64", f"{UE[6]}/64"))
        yield World(edge, ue)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A packet's way: from a node's address and port to another's."""

    version: int
    source: Namespace
    source_address: Address
    target: Namespace
    target_address: Address

    def open(self, kind: socket.SocketKind) -> tuple[socket.socket, socket.socket]:
        """Open bound sockets at both ends: (sender, receiver)."""
        found = []
        for namespace, address in (
            (self.source, self.source_address),
            (self.target, self.target_address),
        ):
            with namespace.enter():
                end = socket.socket(_FAMILY[self.version], kind)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.settimeout(_PATIENCE)
            end.bind(address)
            found.append(end)
        return found[0], found[1]


def udp_passes(way: Way, payload: bytes = b"REGISTER") -> None:
    """Assert that a datagram arrives."""
    sender, receiver = way.open(socket.SOCK_DGRAM)
    with sender, receiver:
        sender.sendto(payload, way.target_address)
        assert receiver.recv(10_000) == payload


def tcp_passes(way: Way) -> None:
    """Assert that a connection is made and carries bytes."""
    client, server = way.open(socket.SOCK_STREAM)
    with client, server:
        server.listen()
        client.connect(way.target_address)
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(_PATIENCE)
            client.sendall(b"REGISTER")
            assert accepted.recv(100) == b"REGISTER"
        # the other side has gone first: its port, not ours, waits for stray packets
        assert client.recv(100) == b""


def udp_is_dropped(way: Way, counted: Callable[[], int], payload: bytes = b"REGISTER") -> None:
    """Assert that a datagram is counted by the guard and does not arrive."""
    before = counted()
    sender, receiver = way.open(socket.SOCK_DGRAM)
    with sender, receiver:
        # outbound the sender is told: sendto answers EPERM
        with contextlib.suppress(PermissionError):
            sender.sendto(payload, way.target_address)
        wait_until(lambda: counted() > before, f"the guard counts UDP {way}")
        receiver.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(f"{receiver.recv(10_000)!r} came through {way}")


def tcp_is_dropped(way: Way, counted: Callable[[], int]) -> None:
    """Assert that no connection is made and the guard counts the attempt."""
    before = counted()
    client, server = way.open(socket.SOCK_STREAM)
    with client, server:
        server.listen()
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect(way.target_address)
            raise AssertionError(f"connected at once: {way}")
        wait_until(lambda: counted() > before, f"the guard counts TCP {way}")
        server.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            server.accept()
            raise AssertionError(f"connected: {way}")


def ways(at: World, version: int, port: int = SERVER) -> dict[str, tuple[Way, bool]]:
    """Return the ways that touch a protected port of the edge, and whether they are inbound."""
    edge, ue = EDGE[version], UE[version]

    def way(source: Namespace, a: Address, target: Namespace, b: Address) -> Way:
        return Way(
            version=version,
            source=source,
            source_address=a,
            target=target,
            target_address=b,
        )

    return {
        "in": (way(at.ue, (ue, PLAIN), at.edge, (edge, port)), True),
        "out": (way(at.edge, (edge, port), at.ue, (ue, PLAIN)), False),
        "lo in": (way(at.edge, (edge, PLAIN), at.edge, (edge, port)), True),
        "lo out": (way(at.edge, (edge, port), at.edge, (edge, PLAIN)), False),
    }


def check_clear_text(at: World, backend: Backend) -> None:
    """IPS-8, T33-7.1-e: without the guard every way is open; with it none, and all is counted."""
    for version in (4, 6):
        for way, _ in ways(at, version).values():
            udp_passes(way)
            tcp_passes(way)
    at.apply(backend)
    try:
        for version in (4, 6):
            for way, inbound in (*ways(at, version).values(), *ways(at, version, CLIENT).values()):

                def counted(key: tuple[str, bool] = (EDGE[version], inbound)) -> int:
                    return at.dropped(backend)[key]

                udp_is_dropped(way, counted)
                tcp_is_dropped(way, counted)
                if way.source is at.ue:
                    # IPv6 fragments reach the rules before they are put together again
                    udp_is_dropped(way, counted, _MORE_THAN_A_PACKET)
            for way, _ in ways(at, version, PLAIN + 1).values():
                udp_passes(way, _MORE_THAN_A_PACKET)
                tcp_passes(way)
    finally:
        at.remove(backend)
    for version in (4, 6):
        udp_passes(ways(at, version)["in"][0])


def check_loopback_without_policies(at: World, backend: Backend) -> None:
    """IPv4 ``lo`` bypasses the SPD: a block policy does not close the port; the guard does."""
    way, _ = ways(at, 4)["lo in"]
    for direction, selector in (("in", "dst"), ("out", "src")):
        policy = f"dir {direction} {selector} {EDGE[4]}/32 action block"
        at.edge.run(["ip", "xfrm", "policy", "add", *policy.split()])
    try:
        udp_passes(way)
        at.apply(backend)
        udp_is_dropped(way, lambda: at.dropped(backend)[EDGE[4], True])
        at.remove(backend)
    finally:
        at.edge.run(["ip", "xfrm", "policy", "flush"])


_FOREIGN: Final = {
    "nft": (
        "nft add table inet other",
        "nft add chain inet other c { type filter hook input priority -500; policy accept; }",
        "nft add rule inet other c udp dport 5064 accept",
    ),
    "iptables": (
        "TOOL -t mangle -N OTHER",
        "TOOL -t mangle -A OTHER -p udp --dport 5064 -j ACCEPT",
        "TOOL -t mangle -A INPUT -j OTHER",
        "TOOL -t filter -A INPUT -p udp --dport 5064 -j ACCEPT",
    ),
}


def check_foreign_rules(at: World, backend: Backend) -> None:
    """Nobody else's rule is touched, and an earlier foreign accept does not open the port."""
    tools = [backend.name] if backend.name == "nft" else [backend.name, f"ip6{backend.name[2:]}"]
    for tool in tools:
        for command in _FOREIGN["nft" if tool == "nft" else "iptables"]:
            at.edge.run(command.replace("TOOL", tool).split())
    listing = (
        [["nft", "list", "ruleset"]] if tools == ["nft"] else [[f"{tool}-save"] for tool in tools]
    )

    def rules() -> str:
        text = "".join(at.edge.run(command).stdout for command in listing)
        return re.sub(r"(?m)^#.*\n|\[\d+:\d+\]|packets \d+ bytes \d+", "", text)

    before = rules()
    at.apply(backend)
    once = rules()
    at.apply(backend)
    assert rules() == once != before
    for version in (4, 6):
        way, _ = ways(at, version)["in"]
        udp_is_dropped(way, lambda v=version: at.dropped(backend)[EDGE[v], True])  # type: ignore[misc] # v is bound now
    at.remove(backend)
    assert rules() == before
    with at.edge.enter():
        assert not backend.remove()
        assert backend.counters() is None


def check_command_line(at: World, names: list[str]) -> None:
    """``sad-guard``: apply twice, show, change of the tool, remove; status and words of each."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "sad.toml"
        config.write_text(
            f'[[endpoint]]\nname = "edge"\naddresses = ["{EDGE[4]}", "{EDGE[6]}"]\n'
            f'server_port = {SERVER}\nclient_ports = "5068-5071"\nusers = ["nobody-yet"]\n'
        )

        def guard(*arguments: str) -> str:
            command = [sys.executable, "-m", "sad.guard", "--config", str(config), *arguments]
            done = at.edge.run(command, check=False)
            return f"{done.returncode} {done.stdout}{done.stderr}"

        assert guard("show").startswith("1 there are no guard rules")
        assert guard("apply") == f"0 applied with {names[0]}: edge\n"
        udp_is_dropped(ways(at, 6)["in"][0], lambda: int("dropped 1 packets" in guard("show")))
        for name in reversed(names):
            assert guard("--backend", name, "apply") == f"0 applied with {name}: edge\n"
            assert re.findall(r"(?m)^(?:0 )?(\S+):$", guard("show")) == [name]
        config.write_text("")
        assert guard("apply") == f"0 applied with {names[0]}: no endpoint\n"
        udp_passes(ways(at, 6)["in"][0])
        config.write_text("[[endpoint]]\nname = 1\n")
        assert guard("apply").startswith(f"78 {config}:1: endpoint[0]")
        assert guard("remove").startswith("0 removed from: ")
        assert guard("remove") == "0 removed from: nothing was there\n"


def main() -> int:
    """Run all checks with every backend of this kernel; name them."""
    with world() as at:
        backends = at.usable()
        for backend in backends:
            check_clear_text(at, backend)
            check_loopback_without_policies(at, backend)
            check_foreign_rules(at, backend)
            print(f"{backend.name}: clear text is dropped")
        check_command_line(at, [backend.name for backend in backends])
    return 0


if __name__ == "__main__":
    sys.exit(main())
