"""The kernel's notices of TCP sockets that are freed, of the local ports that are watched.

A connection that ends is told when its program closes it, not when the RST arrives. The kernel
tells of every TCP socket of the network namespace: a filter in it keeps those of other ports out
of the receive buffer, so that they are no reason for an overrun.
"""

import socket
from collections.abc import Callable, Collection
from typing import Final

from netlink import decode, diag
from netlink.notices import NoticeStream
from netlink.sockets import join_groups, only_with_half_word, open_socket
from netlink.tcp import ConnectionEnded, ConnectionEvent
from netlink.uapi import (
    NETLINK_SOCK_DIAG,
    SKNLGRP_INET6_TCP_DESTROY,
    SKNLGRP_INET_TCP_DESTROY,
    SOCK_DIAG_BY_FAMILY,
)

GROUPS: Final = (SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY)
EVENT_BUFFER: Final = 2 << 20


class ConnectionEvents(NoticeStream[ConnectionEvent]):
    """Calls ``deliver`` with each ending, from the running loop until :meth:`close`.

    Raises OSError.
    """

    def __init__(
        self,
        deliver: Callable[[ConnectionEvent], None],
        local_ports: Collection[int],
        *,
        buffer_bytes: int = EVENT_BUFFER,
    ) -> None:
        opened = open_socket(buffer_bytes, family=NETLINK_SOCK_DIAG)
        try:
            only_with_half_word(opened, diag.LOCAL_PORT_OFFSET, local_ports)
            join_groups(opened, GROUPS)
        except BaseException:
            opened.close()
            raise
        self._opened: socket.socket = opened
        super().__init__(deliver, opened, _NOTICES)

    def watch(self, local_ports: Collection[int]) -> None:
        """Tell of these ports from now on. Raises OSError."""
        only_with_half_word(self._opened, diag.LOCAL_PORT_OFFSET, local_ports)


def _ended(buffer: decode.Buffer, start: int, end: int, _port_id: int) -> ConnectionEnded:
    return ConnectionEnded(diag.observed(buffer, start, end).id)


_NOTICES: Final = {SOCK_DIAG_BY_FAMILY: _ended}
