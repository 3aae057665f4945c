"""Real TCP connections between an edge and a user agent, a cable between their namespaces."""

import contextlib
import socket
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, Self

from netlink.connection_events import ConnectionEvents
from netlink.connections import KernelConnections
from netlink.tcp import ConnectionEvent, TcpConnection
from tests.support.daemon import PATIENCE
from tests.support.namespaces import Namespace, connect

EDGE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
UE: Final = {4: "192.0.2.2", 6: "2001:db8::2"}
NOBODY: Final = {4: "192.0.2.9", 6: "2001:db8::9"}
SERVER_PORT: Final = 5064
FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
TCP_ESTABLISHED: Final = 1
_SOCKOPT_STATE: Final = 1  # bytes of tcp_info up to the state


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of a connection; the edge's may not be accepted yet."""

    ue: socket.socket
    edge: socket.socket | None


class TcpWorld:
    """Implements the world of :mod:`tests.support.connections_contract`."""

    def __init__(
        self,
        edge: Namespace,
        ue: Namespace,
        stack: contextlib.ExitStack,
        server_port: int = SERVER_PORT,
    ) -> None:
        self.server_port = server_port
        self.edge = edge
        self.ue = ue
        self.ends: dict[TcpConnection, Ends] = {}
        self._stack = stack
        with edge.enter():
            self.connections = KernelConnections.open()
        stack.callback(self.connections.close)
        self.listeners = {v: self.listen(EDGE[v], server_port) for v in (4, 6)}

    def listen(self, address: str, port: int = SERVER_PORT, **options: bool) -> socket.socket:
        """Listen on the edge; options are those of :func:`socket.create_server`."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.edge.enter():
            opened = socket.create_server((address, port), family=family, backlog=4096, **options)
        return self.keep(opened)

    def keep(self, opened: socket.socket) -> socket.socket:
        """Have a socket closed with the world."""
        opened.settimeout(PATIENCE)
        self._stack.callback(opened.close)
        return opened

    def dial(
        self, version: int, port: int | None = None, *, own_port: int = 0
    ) -> tuple[TcpConnection, socket.socket]:
        """Connect from the user agent; nobody accepts."""
        port = port or self.server_port
        with self.ue.enter():
            opened = socket.socket(FAMILY[version])
        self.keep(opened)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((UE[version], own_port))
        opened.connect((EDGE[version], port))
        return TcpConnection(EDGE[version], port, UE[version], opened.getsockname()[1]), opened

    def open(self, version: int, *, own_port: int = 0) -> TcpConnection:
        """Connect and accept."""
        named, ue = self.dial(version, own_port=own_port)
        self.ends[named] = Ends(ue, self.keep(self.listeners[version].accept()[0]))
        return named

    def reopen(self, connection: TcpConnection) -> None:
        """Connect and accept between ports that were used before."""
        version = 6 if ":" in connection.local_address else 4
        assert self.open(version, own_port=connection.peer_port) == connection

    def close(self, connection: TcpConnection) -> None:
        """Have both programs close theirs, the user agent's first."""
        ends = self.ends.pop(connection)
        ends.ue.close()
        if ends.edge is not None:
            ends.edge.close()

    def destroy(self, connection: TcpConnection) -> None:
        """Have a second program end one."""
        family = "-6" if ":" in connection.local_address else "-4"
        peer = f"dport = :{connection.peer_port}"
        self.edge.run(["ss", "-K", family, "-Htn", "state", "established", f"( {peer} )"])

    def listen_for_endings(
        self, deliver: Callable[[ConnectionEvent], None], local_ports: Collection[int]
    ) -> ConnectionEvents:
        """Hear the kernel of the edge."""
        with self.edge.enter():
            return ConnectionEvents(deliver, local_ports)

    def is_alive(self, connection: TcpConnection) -> bool:
        """Whether both ends are established; asks them, so that no error is used up."""
        ends = self.ends[connection]
        return all(end is None or state_of(end) == TCP_ESTABLISHED for end in (ends.ue, ends.edge))

    @classmethod
    @contextlib.contextmanager
    def made(cls, server_port: int = SERVER_PORT) -> Iterator[Self]:
        """Give one for a test."""
        with contextlib.ExitStack() as stack:
            edge = stack.enter_context(Namespace("edge"))
            ue = stack.enter_context(Namespace("ue"))
            connect(
                edge,
                ue,
                *(
                    (f"{EDGE[v]}/{length}", f"{UE[v]}/{length}")
                    for v, length in ((4, 24), (6, 64))
                ),
            )
            yield cls(edge, ue, stack, server_port)


def state_of(opened: socket.socket) -> int:
    """Return the state of a socket by the kernel's number."""
    return opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SOCKOPT_STATE)[0]
