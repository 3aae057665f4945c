"""Datagrams of a nonblocking socket by the dozen: recvmmsg(2), which Python's socket module lacks.

A notice is a datagram, and a system call for each takes as long as reading what it says.
"""

import ctypes
import os
import socket
from typing import Final

#: Bytes kept of a datagram; what is longer is told, and cut. Notices of XFRM have 200 to 1300.
SLOT: Final = 2112
#: Datagrams of one call.
MOST: Final = 32

_ZEROS: Final = memoryview(bytes(MOST * SLOT))
_receive_many: Final = ctypes.CDLL(None, use_errno=True).recvmmsg


class _Vector(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """``struct msghdr``."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Received(ctypes.Structure):
    """``struct mmsghdr``."""

    _fields_ = (("header", _Header), ("size", ctypes.c_uint32))


class Datagrams:
    """What was received last: datagram n lies in ``buffer`` from n times ``SLOT`` on."""

    __slots__ = ("_received", "_sizes", "_socket", "_vectors", "buffer")

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self.buffer = bytearray(MOST * SLOT)
        held = (ctypes.c_char * len(self.buffer)).from_buffer(self.buffer)
        begin = ctypes.addressof(held)
        # The kernel writes where these point: they live as long as the buffer.
        self._vectors = (_Vector * MOST)(*[_Vector(begin + n * SLOT, SLOT) for n in range(MOST)])
        self._received = (_Received * MOST)()
        for received, vector in zip(self._received, self._vectors, strict=True):
            received.header.vectors = ctypes.pointer(vector)
            received.header.vector_count = 1
        words = memoryview(self._received).cast("B").cast("I")
        self._sizes = words[_Received.size.offset // 4 :: ctypes.sizeof(_Received) // 4]

    def receive(self, most: int) -> list[int]:
        """Return the sizes of so many datagrams or fewer, ``MOST`` at most.

        A size beyond ``SLOT`` is that of a datagram of which the rest is gone. Raises OSError:
        BlockingIOError if there is none.
        """
        count = _receive_many(
            self._socket.fileno(),
            self._received,
            min(most, MOST),
            socket.MSG_DONTWAIT | socket.MSG_TRUNC,
            None,
        )
        if count < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return self._sizes[:count].tolist()

    def wipe(self, count: int) -> None:
        """Overwrite so many datagrams with zeros."""
        with memoryview(self.buffer) as view:
            view[: count * SLOT] = _ZEROS[: count * SLOT]
