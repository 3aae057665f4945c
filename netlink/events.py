"""The kernel's notices as a stream of events: expiry, and every change of the SAD and the SPD.

A notice is a hint and never the ledger: when the receive buffer runs over the kernel drops
notices and says so once, which becomes :class:`~netlink.model.Overrun`; a dump must then say what
is true. NETLINK_NO_ENOBUFS would hide exactly that and is never set. The group ACQUIRE is not
joined either: a listener there makes the kernel create larval associations.

Notices of new associations carry their keys: they are decoded in place and wiped.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from netlink import decode
from netlink.model import KernelEvent, Overrun
from netlink.sockets import ignore_port, open_socket
from netlink.uapi import XFRMNLGRP_EXPIRE, XFRMNLGRP_POLICY, XFRMNLGRP_SA

GROUPS: Final = (XFRMNLGRP_EXPIRE, XFRMNLGRP_SA, XFRMNLGRP_POLICY)
EVENT_BUFFER: Final = 8 << 20
DATAGRAMS_PER_WAKE_UP: Final = 256

_DATAGRAM_BYTES: Final = 65536


class EventStream:
    """Calls ``deliver`` with each event, in order, from the running loop until :meth:`close`.

    ``buffer_bytes`` is the receive buffer asked for; a notice costs about 1.3 KB of it. What was
    done over the netlink port ``ignored_port`` is not told: 20 000 endings of our own would else
    run the buffer over. ``opened`` may be a socket opened elsewhere (in another network
    namespace); it is closed with the stream. Raises OSError.
    """

    def __init__(
        self,
        deliver: Callable[[KernelEvent], None],
        *,
        buffer_bytes: int = EVENT_BUFFER,
        ignored_port: int | None = None,
        opened: socket.socket | None = None,
    ) -> None:
        self._deliver = deliver
        self._socket = open_socket(buffer_bytes, GROUPS) if opened is None else opened
        if ignored_port is not None:
            ignore_port(self._socket, ignored_port)
        self._buffer = bytearray(_DATAGRAM_BYTES)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._drain)

    def close(self) -> None:
        """Stop; notices not yet read are dropped. May be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _drain(self) -> None:
        """Read what lies there, but let the loop have its turn after a while."""
        used = 0
        try:
            for _ in range(DATAGRAMS_PER_WAKE_UP):
                try:
                    size = self._socket.recv_into(self._buffer)
                except BlockingIOError:
                    return
                except OSError:
                    # ENOBUFS by its nature; after any other error nothing is certain either.
                    self._deliver(Overrun())
                else:
                    used = max(used, size)
                    self._read(size)
                if self._socket.fileno() < 0:  # closed by the receiver of an event
                    return
        finally:
            self._buffer[:used] = bytes(used)

    def _read(self, size: int) -> None:
        try:
            for message in decode.messages(self._buffer, size):
                event = decode.event(self._buffer, message)
                if event is not None:
                    self._deliver(event)
        except decode.MalformedMessage:
            self._deliver(Overrun())  # something was said and not understood: ask the kernel
