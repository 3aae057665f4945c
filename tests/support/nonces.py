"""Which IVs captured ESP packets of one key bear, and whether one of them occurs twice (T33-I-b).

For aes-gcm and aes-gmac, whose 8-byte IV stands behind the sequence number (RFC 4106 3.1, RFC 4543
3.1). Give it the packets of one SA set, both directions. Of a capture of one phone (``tcpdump -w
FILE esp`` while it registers once and talks), ``python -m tests.support.nonces FILE`` says what
its IVs are made of.
"""

import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.sniffer import Packet, parse

_HEAD = struct.Struct("!IIQ")
_ESP = 50
_ETHERNET = 1
#: Of classic capture files: microseconds or nanoseconds, as the machine that wrote them.
_MAGICS = (0xA1B2C3D4, 0xA1B23C4D)


class Sent(NamedTuple):
    """What is readable of one packet: its SA, its number, its IV as a number."""

    spi: int
    sequence: int
    iv: int


def sent(packet: Packet) -> Sent:
    """Read an ESP packet."""
    return Sent(*_HEAD.unpack_from(packet.payload))


def masks(packets: Iterable[Packet]) -> dict[int, set[int]]:
    """Return by SPI what IVs are the XOR of with sequence numbers: of seqiv one value a life."""
    found: dict[int, set[int]] = {}
    for one in map(sent, packets):
        found.setdefault(one.spi, set()).add(one.iv ^ one.sequence)
    return found


def repeats(packets: Iterable[Packet]) -> list[tuple[Sent, Sent]]:
    """Return the pairs of different packets with one IV; a packet seen twice is no pair."""
    first: dict[int, Packet] = {}
    found = []
    for packet in packets:
        known = first.setdefault(sent(packet).iv, packet)
        if known.payload != packet.payload:
            found.append((sent(known), sent(packet)))
    return found


def read_capture(content: bytes) -> Iterator[Packet]:
    """Yield the ESP packets of a capture file of Ethernet (``tcpdump -w``).

    Fragments but the first have no IV and are left out. Raises ValueError for anything else.
    """
    order = next(
        (o for o in "<>" if struct.unpack_from(f"{o}I", content.ljust(24))[0] in _MAGICS), None
    )
    if order is None or struct.unpack_from(f"{order}I", content, 20)[0] != _ETHERNET:
        raise ValueError("no capture file of Ethernet: write it with tcpdump -w")
    offset = 24
    while offset + 16 <= len(content):
        (size,) = struct.unpack_from(f"{order}I", content, offset + 8)
        packet = parse(content[offset + 16 : offset + 16 + size])
        offset += 16 + size
        if packet is not None and packet.protocol == _ESP and packet.spi:
            yield packet


def report(packets: Iterable[Packet]) -> list[str]:
    """Say of each SA what its IVs are made of, then every IV that occurs twice."""
    seen = list(packets)
    counts = {spi: sum(p.spi == spi for p in seen) for spi in dict.fromkeys(p.spi for p in seen)}
    lines = []
    for spi, values in masks(seen).items():
        kind = "its number alone" if values == {0} else "its number XOR one value of this SA"
        if len(values) > 1:
            kind = f"{len(values)} values XOR numbers: another generator, or rebuilt"
        lines.append(f"SPI {spi:#010x}: {counts[spi]} packets, IV is {kind}")
    found = repeats(seen)
    lines += [
        f"IV {one.iv:016x} TWICE: SPI {one.spi:#010x} number {one.sequence}, "
        f"SPI {two.spi:#010x} number {two.sequence}"
        for one, two in found
    ]
    lines.append(f"{len(seen)} packets, {len(found)} IVs twice")
    return lines


def main() -> int:
    """Report on the file named on the command line; 1 if an IV occurs twice."""
    lines = report(read_capture(Path(sys.argv[1]).read_bytes()))
    print(*lines, sep="\n")
    return int("TWICE" in "".join(lines))


if __name__ == "__main__":
    sys.exit(main())
