"""Walking a datagram of netlink messages and the attributes of one, in place.

A buffer that breaks its own lengths raises :class:`MalformedMessage`. What the bodies mean is
:mod:`netlink.decode`'s.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from netlink.uapi import NLMSG_HDRLEN

Buffer: TypeAlias = bytes | bytearray | memoryview

NLA_TYPE_MASK: Final = 0x3FFF

#: struct nlmsghdr: length, type, flags, sequence, port.
HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_HEAD_SIZE: Final = 4


class MalformedMessage(Exception):
    """A buffer whose lengths contradict each other; its text never holds a byte of it."""


class Message(NamedTuple):
    """Header of one message and the place of its body in the buffer.

    ``port_id`` is the netlink port of whoever caused it, 0 for the kernel itself.
    """

    type: int
    flags: int
    sequence: int
    port_id: int
    start: int
    end: int


def cut_short(left: int, claimed: int | None = None) -> MalformedMessage:
    """Return what is wrong with a message of which ``left`` bytes are left in the datagram."""
    if claimed is None:
        return MalformedMessage(f"{left} bytes are left where a header should be")
    return MalformedMessage(f"a message claims {claimed} of {left} bytes")


def messages(buffer: Buffer, size: int) -> Iterator[Message]:
    """Walk the messages of one datagram of ``size`` bytes."""
    offset = 0
    while offset < size:
        if size - offset < NLMSG_HDRLEN:
            raise cut_short(size - offset)
        length, kind, flags, sequence, port_id = HEADER.unpack_from(buffer, offset)
        end = offset + length
        if length < NLMSG_HDRLEN or end > size:
            raise cut_short(size - offset, length)
        yield Message(kind, flags, sequence, port_id, offset + NLMSG_HDRLEN, end)
        offset = (end + 3) & ~3


def attribute(
    buffer: Buffer, start: int, end: int, wanted: int, size: int
) -> tuple[int, int] | None:
    """Return where the value of an attribute starts and ends, None if it is absent.

    The values of the others stay unread. A value shorter than ``size`` is malformed.
    """
    unpack = _ATTRIBUTE.unpack_from
    offset = (start + 3) & ~3
    while end - offset >= _HEAD_SIZE:
        length, kind = unpack(buffer, offset)
        if length < _HEAD_SIZE or offset + length > end:
            raise MalformedMessage(f"an attribute claims {length} of {end - offset} bytes")
        if kind & NLA_TYPE_MASK == wanted:
            require(offset + _HEAD_SIZE, offset + length, size)
            return offset + _HEAD_SIZE, offset + length
        offset = (offset + length + 3) & ~3
    return None


def require(start: int, end: int, size: int) -> None:
    """Raise MalformedMessage unless ``size`` bytes lie there."""
    if end - start < size:
        raise MalformedMessage(f"a struct of {size} bytes in {end - start}")
