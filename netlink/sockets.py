"""Opening sockets of netlink, in the network namespace of the thread that opens them."""

import ctypes
import socket
import struct
from collections.abc import Collection, Iterable
from typing import Final

from netlink.uapi import (
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_CAP_ACK,
    NETLINK_EXT_ACK,
    NETLINK_XFRM,
    SOL_NETLINK,
)

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; not in Python's socket module
_SO_RCVBUFFORCE: Final = 33

# linux/filter.h: one instruction, and the program that points to them.
_INSTRUCTION: Final = struct.Struct("=HBBI")
_PROGRAM: Final = struct.Struct("@HP")
_LOAD_WORD, _LOAD_HALF_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x28, 0x15, 0x06
_DROP, _KEEP = (_RETURN, 0, 0, 0), (_RETURN, 0, 0, 0xFFFF_FFFF)
_PORT_ID_OFFSET: Final = 12  # struct nlmsghdr


def open_socket(
    receive_buffer: int, groups: Iterable[int] = (), *, family: int = NETLINK_XFRM
) -> socket.socket:
    """Return a bound nonblocking socket with a receive buffer of about that many bytes.

    Error answers carry the kernel's words and no echo of the request. Raises OSError.
    """
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    opened = socket.socket(socket.AF_NETLINK, kind, family)
    try:
        opened.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        opened.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        set_receive_buffer(opened, receive_buffer)
        opened.bind((0, 0))
        join_groups(opened, groups)
    except BaseException:
        opened.close()
        raise
    return opened


def set_receive_buffer(opened: socket.socket, size: int) -> None:
    """Ask for a receive buffer beyond net.core.rmem_max, else for what that allows."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:  # needs CAP_NET_ADMIN in the first user namespace
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def ignore_port(opened: socket.socket, port_id: int) -> None:
    """Have the kernel keep back the notices of what was done over one netlink port.

    They take no room in the receive buffer, and are no reason for an overrun. Raises OSError.
    """
    # A filter loads words in network order, and netlink's header is in the host's.
    (loaded,) = struct.unpack("!I", struct.pack("=I", port_id))
    _attach(
        opened,
        [(_LOAD_WORD, 0, 0, _PORT_ID_OFFSET), (_JUMP_IF_EQUAL, 0, 1, loaded), _DROP, _KEEP],
    )


def only_with_half_word(opened: socket.socket, offset: int, wanted: Collection[int]) -> None:
    """Have the kernel keep back all but what has one of these 16-bit numbers at an offset.

    The numbers lie there in network order. A filter that was attached before is replaced in one
    step. Raises OSError.
    """
    program = [(_LOAD_HALF_WORD, 0, 0, offset)]
    for number in wanted:
        program += [(_JUMP_IF_EQUAL, 0, 1, number), _KEEP]
    _attach(opened, [*program, _DROP])


def join_groups(opened: socket.socket, groups: Iterable[int]) -> None:
    """Have the notices of these multicast groups delivered. Raises OSError."""
    for group in groups:
        opened.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)


def _attach(opened: socket.socket, instructions: Collection[tuple[int, int, int, int]]) -> None:
    program = b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)
    held = ctypes.create_string_buffer(program, len(program))
    opened.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        _PROGRAM.pack(len(instructions), ctypes.addressof(held)),
    )
