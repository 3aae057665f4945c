"""NAT traversal, put together: the UDP sockets, and what follows NATs that move."""

import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack

from netlink.model import KernelEvent
from sad.mechanisms.udp_sockets import UdpSockets
from sad.model.endpoint import Endpoint
from sad.runtime.mappings import NatMappings
from sad.runtime.state import Shared


def by_kind(
    handed_over: Iterable[tuple[str, socket.socket]],
) -> tuple[list[socket.socket], list[socket.socket]]:
    """Return the stream sockets of what systemd handed over, and the datagram sockets."""
    streams: list[socket.socket] = []
    datagrams: list[socket.socket] = []
    for _, opened in handed_over:
        (datagrams if opened.type == socket.SOCK_DGRAM else streams).append(opened)
    return streams, datagrams


class NatTraversal:
    """Owns the sockets; closed with the daemon. ``datagrams`` are those handed over."""

    def __init__(
        self, stack: AsyncExitStack, shared: Shared, datagrams: Iterable[socket.socket]
    ) -> None:
        self._shared = shared
        self._sockets = UdpSockets(datagrams)
        stack.callback(self._sockets.close)
        self._mappings = NatMappings(shared)

    def use(self, endpoints: Iterable[Endpoint]) -> None:
        """Have the sockets that endpoints want. Raises NodeUnfit."""
        self._sockets.use(endpoints)

    def notice(self, event: KernelEvent) -> None:
        """Look at a kernel notice."""
        self._mappings.notice(event)

    async def run(self) -> None:
        """Send keep-alive packets until cancelled."""
        shared = self._shared
        await self._sockets.keep_alive(
            lambda: shared.settings.lifetimes.nat_keepalive, lambda: shared.table
        )
