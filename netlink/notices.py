"""Notices of the kernel over a netlink multicast group, as a stream of events.

A notice is a hint and never the ledger: when the receive buffer runs over the kernel drops
notices and says so once, which becomes :class:`~netlink.model.Overrun`; somebody must then ask
the kernel what is true. NETLINK_NO_ENOBUFS would hide exactly that and is never set.

What a datagram held is wiped after it was read: notices of new associations carry their keys.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

from netlink import datagrams, decode
from netlink.datagrams import Datagrams
from netlink.model import Overrun
from netlink.uapi import NLMSG_HDRLEN

E = TypeVar("E")

Reader: TypeAlias = Callable[[decode.Buffer, int, int, int], E | None]
"""Decodes the body of a message, from where to where, and the port of whoever caused it."""

DATAGRAMS_PER_WAKE_UP: Final = 256

_HEADER: Final = struct.Struct("=IH6xI")  # of struct nlmsghdr length, type and port


class NoticeStream(Generic[E]):
    """Calls ``deliver`` with each event, in order, from the running loop until :meth:`close`.

    ``readers`` decode messages of their types, to None if one says nothing; all others say
    nothing either. The socket is closed with the stream.
    """

    def __init__(
        self,
        deliver: Callable[[E | Overrun], None],
        opened: socket.socket,
        readers: Mapping[int, Reader[E]],
    ) -> None:
        self._deliver = deliver
        self._socket = opened
        self._reader_of = readers.get
        self._closed = False
        self._datagrams = Datagrams(opened)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._drain)

    def close(self) -> None:
        """Stop; notices not yet read are dropped. May be called twice."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _drain(self) -> None:
        """Read what lies there, but let the loop have its turn after a while."""
        left = DATAGRAMS_PER_WAKE_UP
        while left > 0 and not self._closed:  # by the receiver of an event
            wanted = min(left, datagrams.MOST)
            try:
                sizes = self._datagrams.receive(wanted)
            except BlockingIOError:
                return
            except OSError:
                # ENOBUFS by its nature; after any other error nothing is certain either.
                self._deliver(Overrun())
                left -= 1
                continue
            try:
                self._read(sizes)
            finally:
                self._datagrams.wipe(len(sizes))
            if len(sizes) < wanted:
                return
            left -= wanted

    def _read(self, sizes: Sequence[int]) -> None:
        buffer, slot, reader_of = self._datagrams.buffer, datagrams.SLOT, self._reader_of
        start = 0
        for size in sizes:
            try:
                length, kind, port_id = _HEADER.unpack_from(buffer, start)
                if length == size and NLMSG_HDRLEN <= size <= slot:  # a message, as is the rule
                    read = reader_of(kind)
                    if read is not None:
                        event = read(buffer, start + NLMSG_HDRLEN, start + size, port_id)
                        if event is not None:
                            self._deliver(event)
                else:
                    self._read_each(start, size)
            except decode.MalformedMessage:
                self._deliver(Overrun())  # something was said and not understood: ask the kernel
            except Exception as error:  # noqa: BLE001 - a receiver's, and no reason to lose the next
                text = "a receiver of notices failed"
                self._loop.call_exception_handler({"message": text, "exception": error})
            if self._closed:
                return
            start += slot

    def _read_each(self, start: int, size: int) -> None:
        """Read a datagram of another number of messages than one."""
        if size > datagrams.SLOT:
            raise decode.MalformedMessage(f"{size} bytes, of which not all are here")
        with memoryview(self._datagrams.buffer) as view, view[start : start + size] as datagram:
            for message in decode.messages(datagram, size):
                read = self._reader_of(message.type)
                event = read and read(datagram, message.start, message.end, message.port_id)
                if event is not None:
                    self._deliver(event)
