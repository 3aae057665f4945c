"""A netlink socket without a kernel: each send is answered by a script, at once, as XFRM does.

It exists for what a real kernel cannot be made to do on demand: a lost answer, a missing fence, a
refused send.
"""

import collections
import errno
import socket
from collections.abc import Callable, Iterable
from typing import Final, cast

from netlink import decode
from netlink.decode import Message
from netlink.requests import RequestSocket
from netlink.uapi import NLM_F_ACK
from tests.support.kernel_messages import error

PORT_ID: Final = 4711

Answer = bytes | OSError
Script = Callable[[list[Message], bytes], Iterable[Answer]]


def overrun() -> OSError:
    """What the next recv raises after the kernel had to drop an answer."""
    return OSError(errno.ENOBUFS, "No buffer space available")


def acknowledge(messages: list[Message], _sent: bytes) -> list[Answer]:
    """Answer like a kernel that takes everything."""
    return [error(m.sequence) for m in messages if m.flags & NLM_F_ACK]


class ScriptedSocket:
    """Implements of ``socket.socket`` what :mod:`netlink` uses of it."""

    def __init__(
        self, *scripts: Script, send_buffer: int = 1 << 20, receive_buffer: int = 1 << 20
    ) -> None:
        self.scripts = collections.deque(scripts)
        self.sent: list[list[Message]] = []
        self.closed = False
        self._buffers = {socket.SO_SNDBUF: send_buffer, socket.SO_RCVBUF: receive_buffer}
        self._queue: collections.deque[Answer] = collections.deque()

    def getsockname(self) -> tuple[int, int]:
        return PORT_ID, 0

    def getsockopt(self, _level: int, name: int) -> int:
        return self._buffers[name]

    def send(self, view: bytes | memoryview) -> int:
        if self.closed:
            raise OSError(errno.EBADF, "Bad file descriptor")
        data = bytes(view)
        messages = list(decode.messages(data, len(data)))
        script = self.scripts.popleft() if self.scripts else acknowledge
        answers = list(script(messages, data))  # a refusal is raised before anything is noted
        self.sent.append(messages)
        self._queue.extend(answers)
        return len(data)

    def recv_into(self, buffer: bytearray) -> int:
        if self.closed:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if not self._queue:
            raise BlockingIOError
        answer = self._queue.popleft()
        if isinstance(answer, OSError):
            raise answer
        buffer[: len(answer)] = answer
        return len(answer)

    @property
    def unread(self) -> int:
        """How many answers nobody has fetched."""
        return len(self._queue)

    def close(self) -> None:
        self.closed = True


def opened(scripted: ScriptedSocket) -> RequestSocket:
    return RequestSocket(cast("object", scripted))  # type: ignore[arg-type]  # it quacks


def refuse(*positions: int, number: int = errno.ESRCH, words: str = "") -> Script:
    """Refuse the messages at these positions of the send, acknowledge where it is asked for."""

    def script(messages: list[Message], sent: bytes) -> Iterable[Answer]:
        for position, message in enumerate(messages):
            if position in positions:
                yield error(message.sequence, number, words)
            elif message.flags & NLM_F_ACK:
                yield error(message.sequence)

    return script


def silent(_messages: list[Message], _sent: bytes) -> list[Answer]:
    """Answer like a kernel that ended the batch in silence."""
    return []


def lossy(messages: list[Message], sent: bytes) -> list[Answer]:
    """Drop an answer, then deliver the fence all the same."""
    return [overrun(), *acknowledge(messages, sent)]
