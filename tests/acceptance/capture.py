"""What passed between the machines, from the first scenario to the last.

tcpdump runs on ``ue``, which is never booted anew; what it wrote is fetched piece by piece.
"""

import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.acceptance.machines import Machine, wait_until
from tests.acceptance.plan import CLEAR_PROBE, EDGE, NAT_PORT, PROTECTED
from tests.support.sniffer import Packet, parse

_REMOTE: Final = "/var/tmp/acceptance.pcap"
_UNIT: Final = "acceptance-capture"
_ESP, _TCP, _UDP = 50, 6, 17
_UDP_HEADER = 8
_SHORTEST_ESP = 8  # SPI and sequence number
_FILE_HEADER, _PACKET_HEADER = 24, 16
TCP_RST: Final = 0x04


class Capture:
    """The wire of the access network."""

    def __init__(self, machine: Machine, local: Path) -> None:
        self._machine, self._local = machine, local
        self._packets: list[Packet] = []
        self._parsed = _FILE_HEADER
        local.write_bytes(b"")
        machine.shell(f"systemctl stop {_UNIT} 2>&1; rm -f {_REMOTE}", check=False)
        machine.run(
            *("systemd-run", "--quiet", f"--unit={_UNIT}", "tcpdump", "--interface=eth1"),
            *("--snapshot-length=0", "--buffer-size=16384", "--packet-buffered", "-Z", "root"),
            *("-w", _REMOTE),
        )
        wait_until(
            lambda: machine.shell(f"stat --format=%s {_REMOTE} || true").strip() >= "24",
            "tcpdump listens",
        )

    def packets(self) -> list[Packet]:
        """Every IP packet so far."""
        with self._local.open("ab") as local:
            local.write(self._machine.read(_REMOTE, self._local.stat().st_size))
        data = self._local.read_bytes()
        while self._parsed + _PACKET_HEADER <= len(data):
            (length,) = struct.unpack_from("<8xI", data, self._parsed)
            end = self._parsed + _PACKET_HEADER + length
            if end > len(data):
                break
            packet = parse(data[self._parsed + _PACKET_HEADER : end])
            if packet is not None:
                self._packets.append(packet)
            self._parsed = end
        return self._packets

    def stop(self) -> int:
        """End it; return how many packets the kernel could not hand over."""
        self._machine.run("systemctl", "stop", _UNIT)
        words = self._machine.out("journalctl", "--quiet", "--output=cat", f"--unit={_UNIT}")
        found = re.findall(r"(\d+) packets dropped by kernel", words)
        assert found, f"tcpdump did not say what it dropped: {words}"
        return int(found[-1])

    @property
    def bytes(self) -> bytes:
        """What was fetched."""
        return self._local.read_bytes()


def esp(packets: Iterable[Packet]) -> list[Packet]:
    """What passed as ESP."""
    return [p for p in packets if p.protocol == _ESP]


def encapsulated(packets: Iterable[Packet]) -> list[Packet]:
    """What passed as ESP in UDP (RFC 3948 2.1): an SPI, where IKE has four zero bytes."""
    inside = ((p, _inside_udp(p)) for p in packets)
    return [p for p, content in inside if len(content) > _SHORTEST_ESP and any(content[:4])]


def keep_alives(packets: Iterable[Packet]) -> list[Packet]:
    """The single bytes that keep a NAT awake (RFC 3948 2.3)."""
    return [p for p in packets if _inside_udp(p) == b"\xff"]


def _inside_udp(packet: Packet) -> bytes:
    """What UDP from or to the port of encapsulated ESP carries; the wire may have padded it."""
    if packet.protocol != _UDP or NAT_PORT not in (packet.source_port, packet.destination_port):
        return b""
    (length,) = struct.unpack_from("!H", packet.payload, 4)
    return packet.payload[_UDP_HEADER:length]


def clear(packets: Iterable[Packet]) -> list[Packet]:
    """What passed in clear on a protected port, but for what scenarios sent on purpose."""
    return [
        p
        for p in packets
        if p.protocol in (_TCP, _UDP)
        and {p.source_port, p.destination_port} & PROTECTED
        and not (CLEAR_PROBE in p.payload and p.source not in EDGE.values())
    ]


def is_reset_inside(packet: Packet) -> bool:
    """Whether an ESP packet with null encryption holds a TCP segment with RST."""
    segment = packet.payload[8:]
    return packet.protocol == _ESP and len(segment) > 13 and bool(segment[13] & TCP_RST)
