"""Clear text without end, from and to protected ports, and the count of what gets through.

One thread sends from both ends of a :mod:`tests.support.clear_text` world and watches: a sniffer
at the edge's cable says what left, the receiving sockets of the edge say what entered. Datagrams
between unprotected ports go with it both ways, as proof that both watchers are awake.
"""

import array
import contextlib
import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from tests.support.clear_text import CLIENT, EDGE, PLAIN, SERVER, UE, World
from tests.support.daemon import wait_until
from tests.support.sniffer import parse

UE_SERVER: Final = 6800
UE_CLIENTS: Final = (6802, 6804)
#: Of a turn, in which each way is tried once.
PAUSE_SECONDS: Final = 0.004
#: So many turns after an act what it let through has been counted.
SETTLED_TURNS: Final = 3

_TCP_EVERY: Final = 8
_PROTECTED: Final = range(SERVER, CLIENT + 4)
_FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_SO_ATTACH_FILTER: Final = 26
_SO_TIMESTAMPNS: Final = 35
# Classic BPF: of what leaves, everything but ESP, ICMP, ICMPv6, IPv6 options and what is no IP.
_LOAD_WORD, _LOAD_BYTE, _IF_EQUAL, _RETURN = 0x20, 0x30, 0x15, 0x06
_PACKET_TYPE, _PROTOCOL = 0xFFFFF004, 0xFFFFF000
_FILTER: Final = (
    (_LOAD_WORD, 0, 0, _PACKET_TYPE),
    (_IF_EQUAL, 0, 10, 4),  # PACKET_OUTGOING
    (_LOAD_WORD, 0, 0, _PROTOCOL),
    (_IF_EQUAL, 0, 2, 0x0800),
    (_LOAD_BYTE, 0, 0, 14 + 9),
    (_IF_EQUAL, 6, 5, 50),
    (_IF_EQUAL, 0, 5, 0x86DD),
    (_LOAD_BYTE, 0, 0, 14 + 6),
    (_IF_EQUAL, 3, 0, 50),
    (_IF_EQUAL, 2, 0, 0),
    (_IF_EQUAL, 1, 0, 58),
    (_IF_EQUAL, 0, 1, 1),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFF),
)


@dataclasses.dataclass(slots=True)
class Tally:
    """What was sent in a phase and what came of it; instants are of the real-time clock.

    ``seen`` and ``heard`` count the datagrams of unprotected ports that left and entered, which
    must never be 0; ``left`` and ``entered`` hold one instant for each clear packet that used a
    protected port.
    """

    sent: int = 0
    seen: int = 0
    heard: int = 0
    left: list[float] = dataclasses.field(default_factory=list)
    entered: list[float] = dataclasses.field(default_factory=list)

    @property
    def leaks(self) -> int:
        """Clear packets that passed, both ways."""
        return len(self.left) + len(self.entered)

    @property
    def window(self) -> float:
        """Seconds from the first to the last of them."""
        instants = self.left + self.entered
        return max(instants) - min(instants) if instants else 0.0


class _Sniffer:
    """What leaves by one interface and is neither ESP nor ICMP, with the kernel's instant."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL)
        )
        program = array.array("B", b"".join(struct.pack("=HBBI", *line) for line in _FILTER))
        address, _ = program.buffer_info()
        head = struct.pack("@HP", len(_FILTER), address)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind((interface, _ETH_P_ALL))

    def read(self) -> Iterator[tuple[int, float]]:
        """Yield (source port, instant) of what has left since the last call."""
        while True:
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(128, 64)
            except BlockingIOError:
                return
            packet = parse(frame)
            assert packet is not None
            assert packet.source in EDGE.values(), packet
            seconds, nanoseconds = struct.unpack("@ll", ancillary[0][2])
            yield packet.source_port, seconds + nanoseconds / 1e9

    def lost(self) -> int:
        """How many packets did not fit since the last call."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        return int(struct.unpack("@II", statistics)[1])

    def close(self) -> None:
        self._socket.close()


class ClearTraffic:
    """The sender and its watchers, from construction to the end of the block."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._turns = 0
        self._ending = threading.Event()
        self._error: BaseException | None = None
        self._tally = Tally()
        with contextlib.ExitStack() as stack:
            with world.edge.enter():
                (interface,) = (n for _, n in socket.if_nameindex() if n.startswith("ue"))
                self._sniffer = _Sniffer(interface)
            stack.callback(self._sniffer.close)
            self._edge = {
                (version, port): stack.enter_context(_udp(world, version, port, edge=True))
                for version in _FAMILY
                for port in (SERVER, CLIENT, PLAIN)
            }
            self._ue = {
                (version, port): stack.enter_context(_udp(world, version, port, edge=False))
                for version in _FAMILY
                for port in (UE_SERVER, *UE_CLIENTS, PLAIN)
            }
            self._listeners = [
                stack.enter_context(_listener(world, version)) for version in _FAMILY
            ]
            self._sockets = stack.pop_all()
        self._thread = threading.Thread(target=self._run, name="clear-traffic")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._sockets.close()

    @contextlib.contextmanager
    def phase(self) -> Iterator[Tally]:
        """Count what happens from here to some turns after the end of the block."""
        self.wait_turns()
        tally = self._tally = Tally()
        yield tally
        self.wait_turns()
        assert tally.seen, "the sniffer sleeps"
        assert tally.heard, "the receivers sleep"
        assert self._sniffer.lost() == 0, "the sniffer was too slow"

    def wait_turns(self, turns: int = SETTLED_TURNS) -> None:
        """Wait until every way was tried so many times from now on."""
        until = self._turns + turns + 1

        def turned() -> bool:
            assert self._error is None, self._error
            return self._turns >= until

        wait_until(turned, "the clear traffic goes on")

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                tally = self._tally
                self._send(tally)
                if self._turns % _TCP_EVERY == 0:
                    self._connect(tally)
                self._watch(tally)
                self._turns += 1
                time.sleep(PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - shown to whoever waits
            self._error = error

    def _send(self, tally: Tally) -> None:
        for (version, port), sock in self._edge.items():
            # From protected ports also to the ports of a set: those packets may leave as ESP.
            targets = (PLAIN,) if port == PLAIN else (PLAIN, UE_SERVER, UE_CLIENTS[0])
            for target in targets:
                tally.sent += 1
                with contextlib.suppress(OSError):  # EPERM: a policy or the guard refused it
                    sock.sendto(b"clear", (UE[version], target))
        for (version, port), sock in self._ue.items():
            for target in (PLAIN,) if port == PLAIN else (SERVER, CLIENT):
                tally.sent += 1
                sock.sendto(b"clear", (EDGE[version], target))

    def _connect(self, tally: Tally) -> None:
        for version, family in _FAMILY.items():
            for namespace, own, peer in (
                (self._world.edge, (EDGE[version], CLIENT + 1), (UE[version], PLAIN)),
                (self._world.ue, (UE[version], UE_CLIENTS[1]), (EDGE[version], SERVER)),
            ):
                with namespace.enter():
                    client = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                with client, contextlib.suppress(OSError):  # EINPROGRESS, EPERM, and what lingers
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    client.bind(own)
                    tally.sent += 1
                    client.connect(peer)

    def _watch(self, tally: Tally) -> None:
        for (_, port), sock in self._edge.items():
            for _ in _received(sock):
                if port == PLAIN:
                    tally.heard += 1
                else:
                    tally.entered.append(time.time())
        for listener in self._listeners:
            with contextlib.suppress(BlockingIOError):
                listener.accept()[0].close()
                tally.entered.append(time.time())
        for port, instant in self._sniffer.read():
            if port == PLAIN:
                tally.seen += 1
            else:
                assert port in _PROTECTED, f"somebody else's packet from port {port}"
                tally.left.append(instant)


def _received(sock: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(BlockingIOError):
        while True:
            yield sock.recv(64)


def _udp(world: World, version: int, port: int, *, edge: bool) -> socket.socket:
    with (world.edge if edge else world.ue).enter():
        sock = socket.socket(_FAMILY[version], socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(((EDGE if edge else UE)[version], port))
    return sock


def _listener(world: World, version: int) -> socket.socket:
    with world.edge.enter():
        sock = socket.socket(_FAMILY[version], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((EDGE[version], SERVER))
    sock.listen()
    return sock
