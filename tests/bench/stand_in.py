"""What stands in for the kernel where the daemon's own work is measured: it takes everything.

An answer costs it next to nothing, and what it does cost is counted, to be taken off. It keeps
the SAs that were added, for whoever asks about one; it has no policies, no timers, no errors.
"""

import collections
import socket
import struct
import time
from typing import Final, cast

from netlink.uapi import (
    NLM_F_ACK,
    NLM_F_CAPPED,
    NLMSG_ERROR,
    XFRM_MSG_DELSA,
    XFRM_MSG_GETSA,
    XFRM_MSG_NEWSA,
)

PORT_ID: Final = 4711

_HEADER: Final = struct.Struct("=IHHII")
_ACKNOWLEDGEMENT: Final = struct.Struct("=IHHIIi16x")
_HEAD: Final = 16
_SA: Final = slice(_HEAD, _HEAD + 224)  # struct xfrm_usersa_info
_ID_OF_SA: Final = slice(_HEAD + 56, _HEAD + 76)  # destination and SPI
_ID: Final = slice(_HEAD, _HEAD + 20)  # ... of struct xfrm_usersa_id
_ADD_TIME: Final = struct.Struct("=Q")
_ADD_TIME_AT: Final = _HEAD + 56 + 24 + 16 + 64 + 16


class KernelStandIn:
    """Implements of ``socket.socket`` what :mod:`netlink.requests` uses of it."""

    def __init__(self) -> None:
        self._sas: dict[bytes, bytes] = {}
        self._answers: collections.deque[bytes] = collections.deque()
        self.nanoseconds = 0
        """CPU time that it has taken itself."""
        self.messages = 0
        self.sends = 0

    def __len__(self) -> int:
        return len(self._sas)

    def getsockname(self) -> tuple[int, int]:
        return PORT_ID, 0

    def getsockopt(self, _level: int, name: int) -> int:
        return {socket.SO_SNDBUF: 1 << 18, socket.SO_RCVBUF: 1 << 21}[name]

    def send(self, view: memoryview) -> int:
        begun = time.thread_time_ns()
        offset, size = 0, len(view)
        while offset < size:
            length, kind, flags, sequence, _ = _HEADER.unpack_from(view, offset)
            self._take(view[offset : offset + length], kind, sequence)
            if flags & NLM_F_ACK:
                header = _ACKNOWLEDGEMENT.size, NLMSG_ERROR, NLM_F_CAPPED, sequence, PORT_ID, 0
                self._answers.append(_ACKNOWLEDGEMENT.pack(*header))
            self.messages += 1
            offset += length + 3 & ~3
        self.sends += 1
        self.nanoseconds += time.thread_time_ns() - begun
        return size

    def _take(self, message: memoryview, kind: int, sequence: int) -> None:
        if kind == XFRM_MSG_NEWSA:
            body = bytearray(message[_SA])
            _ADD_TIME.pack_into(body, _ADD_TIME_AT - _HEAD, int(time.time()))
            self._sas[bytes(message[_ID_OF_SA])] = bytes(body)
        elif kind == XFRM_MSG_GETSA:
            body_of_it = self._sas[bytes(message[_ID])]
            header = _HEAD + len(body_of_it), XFRM_MSG_NEWSA, 0, sequence, PORT_ID
            self._answers.append(_HEADER.pack(*header) + body_of_it)
        elif kind == XFRM_MSG_DELSA:
            self._sas.pop(bytes(message[_ID]), None)

    def recv_into(self, buffer: bytearray) -> int:
        begun = time.thread_time_ns()
        try:
            if not self._answers:
                raise BlockingIOError
            answer = self._answers.popleft()
            buffer[: len(answer)] = answer
            return len(answer)
        finally:
            self.nanoseconds += time.thread_time_ns() - begun

    def close(self) -> None:
        self._sas.clear()

    def as_socket(self) -> socket.socket:
        """Return it for whoever wants a socket."""
        return cast("socket.socket", self)
