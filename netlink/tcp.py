"""TCP connections as the kernel sees them, as immutable values. Pure.

The addresses and ports of a connection name it only while it lasts: the next one may have the
same. Its cookie is never given twice, so the two together name one connection for ever.
"""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from netlink.model import Overrun


@dataclass(frozen=True, slots=True)
class TcpConnection:
    """Identity of a TCP connection on this node, whoever of the two opened it."""

    local_address: str
    local_port: int
    peer_address: str
    peer_port: int


class TcpState(enum.IntEnum):
    """The kernel's states (net/tcp_states.h); those of RFC 9293 3.3.2 and three of its own."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12
    BOUND_INACTIVE = 13


#: A program here still holds the connection and may send on it.
OPEN_STATES = frozenset({TcpState.ESTABLISHED, TcpState.CLOSE_WAIT})


@dataclass(frozen=True, slots=True)
class ConnectionId:
    """Identity of a connection that outlives it: no other one is ever called the same."""

    connection: TcpConnection
    cookie: int


@dataclass(frozen=True, slots=True)
class ObservedConnection:
    """A socket of TCP as looked up or dumped."""

    id: ConnectionId
    state: TcpState

    @property
    def is_open(self) -> bool:
        """Whether a program here may still send on it."""
        return self.state in OPEN_STATES


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """A socket was freed: the connection had ended and its program closed it.

    Where the program is late with that, so is this notice.
    """

    id: ConnectionId


ConnectionEvent: TypeAlias = ConnectionEnded | Overrun
