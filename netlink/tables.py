"""Whole tables of the kernel, read in slices that leave the loop its turns.

The kernel fills the next datagram of a dump while the last one is fetched, so a nonblocking read
always finds something until the end. One dump at a time; a table of 100 000 associations takes
many slices, and what changes meanwhile may be in the result or not.
"""

import asyncio
import errno
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, TypeVar

from netlink import decode
from netlink.errors import DumpInterrupted, KernelClosed, KernelError
from netlink.interface import KnownEntries
from netlink.reference import dump_request
from netlink.sockets import open_socket
from netlink.uapi import NETLINK_XFRM, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_HDRLEN
from netlink.walk import HEADER, cut_short

T = TypeVar("T")

ATTEMPTS: Final = 5
SLICE_SECONDS: Final = 0.002

_BUFFER_BYTES: Final = 65536  # the kernel fills up to 32 KiB a datagram if it may
_STATUS: Final = struct.Struct("=i")


class TableReader:
    """Reads whole tables over one socket of its own."""

    def __init__(self, opened: socket.socket, *, family: int = NETLINK_XFRM) -> None:
        self._socket = opened
        self._family = family
        self._turn = asyncio.Lock()
        self._sequence = 0
        self._unfinished = False
        self._closed = False
        self._buffer = bytearray(_BUFFER_BYTES)

    async def read(
        self,
        message_type: int,
        decoder: Callable[[decode.Buffer, int, int], T | None],
        known: KnownEntries | None = None,
    ) -> list[T]:
        """Return every entry of a table of XFRM that is not known; as :meth:`read_dump`."""
        if known is None:
            return await self.read_dump(lambda number: dump_request(message_type, number), decoder)

        def encode(number: int) -> bytes:
            known.begin()  # before each attempt: what changed under the last one is void
            return dump_request(message_type, number)

        def decode_unknown(buffer: decode.Buffer, start: int, end: int) -> T | None:
            return None if holds(buffer, start, end) else decoder(buffer, start, end)

        holds = known.holds
        return await self.read_dump(encode, decode_unknown)

    async def read_dump(
        self,
        encode: Callable[[int], bytes],
        decoder: Callable[[decode.Buffer, int, int], T | None],
    ) -> list[T]:
        """Send a request for a dump; return every entry that the decoder has words for.

        Raises KernelError, MalformedMessage, KernelClosed, DumpInterrupted.
        """
        async with self._turn:
            if self._unfinished:  # its caller was cancelled: the kernel has more to say
                await self._collect(lambda _buffer, _start, _end: None)
            for _ in range(ATTEMPTS):
                self._send(encode)
                found, consistent = await self._collect(decoder)
                if consistent:
                    return found
        raise DumpInterrupted(f"the table changed under {ATTEMPTS} dumps")

    def close(self) -> None:
        """Close the socket; a dump under way ends with KernelClosed."""
        self._closed = True
        self._socket.close()

    def _send(self, encode: Callable[[int], bytes]) -> None:
        if self._closed:
            raise KernelClosed
        self._sequence = self._sequence % 0xFFFF_FFFF + 1
        try:
            self._socket.send(encode(self._sequence))
        except OSError as error:
            raise KernelError(error.errno or errno.EIO, "the send was refused") from error
        self._unfinished = True

    async def _collect(
        self, decoder: Callable[[decode.Buffer, int, int], T | None]
    ) -> tuple[list[T], bool]:
        """Read to the end of a dump; the flag says whether it is whole and consistent."""
        found: list[T] = []
        consistent = True
        slice_end = time.monotonic() + SLICE_SECONDS
        while self._unfinished:
            size = self._receive()
            if size is None:
                consistent = False
                continue
            try:
                consistent &= self._take(size, decoder, found)
            finally:
                self._buffer[:size] = bytes(size)  # it held keys
            if time.monotonic() >= slice_end:
                await asyncio.sleep(0)
                slice_end = time.monotonic() + SLICE_SECONDS
        return found, consistent

    def _take(
        self,
        size: int,
        decoder: Callable[[decode.Buffer, int, int], T | None],
        found: list[T],
    ) -> bool:
        """Add the entries of one datagram; return whether it is part of a consistent dump.

        A walk of its own: that of :mod:`netlink.walk` makes a value of each message, which takes
        as long as everything else that is done with an entry that is known.
        """
        buffer, head_of = self._buffer, HEADER.unpack_from
        consistent = True
        offset = 0
        while offset < size:
            if size - offset < NLMSG_HDRLEN:
                raise cut_short(size - offset)
            length, kind, flags, sequence, port_id = head_of(buffer, offset)
            end = offset + length
            if length < NLMSG_HDRLEN or end > size:
                raise cut_short(size - offset, length)
            start = offset + NLMSG_HDRLEN
            if flags & NLM_F_DUMP_INTR:
                consistent = False
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                self._end(decode.Message(kind, flags, sequence, port_id, start, end))
                break
            entry = decoder(buffer, start, end)
            if entry is not None:
                found.append(entry)
            offset = (end + 3) & ~3
        return consistent

    def _receive(self) -> int | None:
        """Return the size of the next datagram, None if the kernel lost its place."""
        if self._closed:
            raise KernelClosed
        try:
            return self._socket.recv_into(self._buffer)
        except BlockingIOError:
            # A dump that ran out of memory stays unfinished in the kernel as long as its socket:
            # the end will never come, and the next dump must not hear EBUSY.
            self._replace()
            self._unfinished = False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise KernelError(error.errno or errno.EIO, "the dump broke off") from error
        return None

    def _replace(self) -> None:
        size = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._socket.close()
        self._socket = open_socket(
            size // 2, family=self._family
        )  # the kernel doubles what is asked for

    def _end(self, message: decode.Message) -> None:
        """Note the end of the dump; raise what the kernel ended it with."""
        self._unfinished = False
        if message.type == NLMSG_ERROR:
            raise KernelError(*decode.answer(self._buffer, message))
        if message.end - message.start >= _STATUS.size:
            (status,) = _STATUS.unpack_from(self._buffer, message.start)
            if status:
                raise KernelError(-status, "the dump broke off")
