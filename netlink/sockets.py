"""Opening sockets of netlink, in the network namespace of the thread that opens them."""

import socket
from collections.abc import Iterable
from typing import Final

from netlink.uapi import (
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_CAP_ACK,
    NETLINK_EXT_ACK,
    NETLINK_XFRM,
    SOL_NETLINK,
)

_SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h; not in Python's socket module


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
        for group in groups:
            opened.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
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
