"""An eye on a wire: an AF_PACKET socket that says what passed as ESP and what in clear."""

import dataclasses
import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Self

_ETH_P_ALL = 3
_IPV4, _IPV6 = 0x0800, 0x86DD
_ESP, _TCP, _UDP, _FRAGMENT = 50, 6, 17, 44


@dataclasses.dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet: protocol 50 is ESP; ports are 0 where there are none.

    ``size`` is the whole packet's. Of a ``fragment`` only the first has ports or SPI.
    """

    protocol: int
    source: str
    destination: str
    source_port: int
    destination_port: int
    spi: int
    payload: bytes
    size: int = 0
    fragment: bool = False


def parse(frame: bytes) -> Packet | None:
    """Read an Ethernet frame; None for what is no IP."""
    (ether_type,) = struct.unpack_from("!H", frame, 12)
    body = frame[14:]
    if ether_type == _IPV4:
        length = (body[0] & 0xF) * 4
        protocol, family = body[9], socket.AF_INET
        source, destination = body[12:16], body[16:20]
        place = struct.unpack_from("!H", body, 6)[0]
        fragment, rest = bool(place & 0x3FFF), bool(place & 0x1FFF)
    elif ether_type == _IPV6:
        length, protocol, family = 40, body[6], socket.AF_INET6
        source, destination = body[8:24], body[24:40]
        fragment = rest = False
        if protocol == _FRAGMENT:
            protocol, place = body[40], struct.unpack_from("!H", body, 42)[0]
            length, fragment, rest = 48, True, bool(place & 0xFFF8)
    else:
        return None
    data = body[length:]
    headed = len(data) >= 4 and not rest
    ports = struct.unpack_from("!HH", data) if headed and protocol in (_TCP, _UDP) else (0, 0)
    spi = struct.unpack_from("!I", data)[0] if headed and protocol == _ESP else 0
    return Packet(
        protocol,
        socket.inet_ntop(family, source),
        socket.inet_ntop(family, destination),
        ports[0],
        ports[1],
        spi,
        data,
        len(body),
        fragment,
    )


class Sniffer:
    """Collects what crosses one interface from its creation on.

    Make it inside the network namespace; the kernel queues packets until they are read.
    """

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind((interface, _ETH_P_ALL))
        self._packets: list[Packet] = []

    def packets(self) -> list[Packet]:
        """Everything seen so far."""
        while True:
            try:
                frame = self._socket.recv(65535)
            except BlockingIOError:
                return list(self._packets)
            packet = parse(frame)
            if packet is not None:
                self._packets.append(packet)

    def forget(self) -> None:
        """Begin anew: what was seen so far does not count."""
        self.packets()
        self._packets.clear()

    def esp(self) -> list[Packet]:
        """What passed as ESP."""
        return [p for p in self.packets() if p.protocol == _ESP]

    def clear_on(self, ports: Iterable[int]) -> list[Packet]:
        """What passed in clear to or from one of these ports."""
        wanted = set(ports)
        return [
            p
            for p in self.packets()
            if p.protocol in (_TCP, _UDP) and {p.source_port, p.destination_port} & wanted
        ]

    def saw_bytes(self, content: bytes) -> bool:
        """Whether these bytes were readable on the wire."""
        return any(content in p.payload for p in self.packets())

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
