"""Which IVs captured ESP packets of one key bear, and whether one of them occurs twice (T33-I-b).

Pure, for aes-gcm and aes-gmac, whose 8-byte IV stands behind the sequence number (RFC 4106 3.1,
RFC 4543 3.1). Give it the packets of one SA set, both directions.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from tests.support.sniffer import Packet

_HEAD = struct.Struct("!IIQ")


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
