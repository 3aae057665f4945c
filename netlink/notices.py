"""Notices of the kernel over a netlink multicast group, as a stream of events.

A notice is a hint and never the ledger: when the receive buffer runs over the kernel drops
notices and says so once, which becomes :class:`~netlink.model.Overrun`; somebody must then ask
the kernel what is true. NETLINK_NO_ENOBUFS would hide exactly that and is never set.

What a datagram held is wiped after it was read: notices of new associations carry their keys.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from netlink import decode
from netlink.model import Overrun

E = TypeVar("E")

DATAGRAMS_PER_WAKE_UP: Final = 256

_DATAGRAM_BYTES: Final = 65536


class NoticeStream(Generic[E]):
    """Calls ``deliver`` with each event, in order, from the running loop until :meth:`close`.

    ``read`` decodes a message in the buffer, to None if it says nothing. The socket is closed
    with the stream.
    """

    def __init__(
        self,
        deliver: Callable[[E | Overrun], None],
        opened: socket.socket,
        read: Callable[[decode.Buffer, decode.Message], E | None],
    ) -> None:
        self._deliver = deliver
        self._socket = opened
        self._event_of = read
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
                event = self._event_of(self._buffer, message)
                if event is not None:
                    self._deliver(event)
        except decode.MalformedMessage:
            self._deliver(Overrun())  # something was said and not understood: ask the kernel
