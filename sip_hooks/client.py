"""Blocking client of the daemon's socket, for SIP servers' own Python and for ``sadctl``.

The counterpart of ``sad.api``. Standard library only; one connection is kept and used again.

When is it safe to call again? A call that failed with :class:`CallError`, or with
:class:`Unreachable` and ``may_have_run`` false, changed nothing. After :class:`TimedOut` and the
rest it may have: nothing here repeats it, because only the caller knows whether that is harmless.
(``Confirm`` and ``Release`` are. ``Install`` is rolled back when its client hangs up, as this one
then does, but until that is done a second one is refused with ``FlowInUse``.)

A :class:`Client` belongs to one thread. After a fork the child opens a connection of its own.
"""

from __future__ import annotations

import array
import json
import os
import socket
import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

DEFAULT_PATH = "/run/sad.sock"

_REPLY_BYTES = 1024 * 1024
_RECEIVE_BYTES = 64 * 1024
_MOST_DESCRIPTORS = 16
_ANCILLARY_BYTES = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder().decode


class ClientError(Exception):
    """Base of everything a call can fail with."""


class CallError(ClientError):
    """The daemon answered with an error: ``name`` in full, ``parameters`` as in the interface.

    It did not do what was asked.
    """

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(name, parameters)
        self.name = name
        self.parameters = parameters

    @property
    def short_name(self) -> str:
        """The name without its interface, e.g. ``FlowInUse``."""
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:
        said = ", ".join("{}: {}".format(key, value) for key, value in self.parameters.items())
        return "{} ({})".format(self.short_name, said) if said else self.short_name


class Unreachable(ClientError):
    """No connection, or it broke; ``may_have_run``: the call may have been executed."""

    def __init__(self, path: str, reason: str, *, may_have_run: bool) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason
        self.may_have_run = may_have_run

    def __str__(self) -> str:
        return "{}: {}".format(self.path, self.reason)


class TimedOut(ClientError):
    """No answer in time; the call may have been executed, and the connection is closed.

    ``seconds`` is how long was waited.
    """

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__(path, seconds)
        self.path = path
        self.seconds = seconds

    def __str__(self) -> str:
        return "{}: no answer within {:g} s".format(self.path, self.seconds)


class BadReply(ClientError):
    """What answered does not speak this protocol, or said more than 1 MiB at once."""


class _Line:
    """One connection: a message out, messages in. Raises OSError, ``socket.timeout`` among it."""

    def __init__(self, path: str, deadline: float | None) -> None:
        self._received = bytearray()
        self._patience: float | None = None
        #: Where descriptors go that come with messages; None: the kernel closes them.
        self.descriptors: list[int] | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._wait_until(deadline)
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close this process's end; a forked parent's copy stays open."""
        self._socket.close()

    def send(self, message: bytes, deadline: float) -> None:
        self._wait_until(deadline)
        self._socket.sendall(message, socket.MSG_NOSIGNAL)

    def receive(self, deadline: float | None) -> bytes:
        """Return one message without its NUL; raises BadReply, EOFError."""
        received = self._received
        end = received.find(0)
        while end < 0:
            if len(received) > _REPLY_BYTES:
                raise BadReply("a reply is longer than 1 MiB")
            self._wait_until(deadline)
            data = self._take()
            if not data:
                raise EOFError
            searched = len(received)
            received += data
            end = received.find(0, searched)
        message = bytes(received[:end])
        del received[: end + 1]
        return message

    def _take(self) -> bytes:
        if self.descriptors is None:
            return self._socket.recv(_RECEIVE_BYTES)
        data, ancillary, flags, _ = self._socket.recvmsg(
            _RECEIVE_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, raw in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                came = array.array("i")
                came.frombytes(raw[: len(raw) - len(raw) % came.itemsize])
                self.descriptors.extend(came)
        if flags & socket.MSG_CTRUNC:
            raise BadReply("more descriptors came than can be taken")
        return data

    @property
    def drained(self) -> bool:
        """Whether nothing was received beyond the messages returned."""
        return not self._received

    def _wait_until(self, deadline: float | None) -> None:
        """Let the next operation end by ``deadline``, or a sixteenth of what is left later.

        Setting a timeout costs a system call, so one that fits is left as it is.
        """
        if deadline is None:
            if self._patience is not None:
                self._patience = None
                self._socket.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout
        if self._patience is None or not left <= self._patience <= left * 1.0625:
            self._patience = left
            self._socket.settimeout(left)


class Subscription:
    """The replies to one call with ``more``, over a connection of their own.

    ``done``: the last one has been read. A time-out of :meth:`next` loses nothing: it may be
    called again. After any other error nothing more comes.
    """

    def __init__(self, path: str, line: _Line) -> None:
        self.done = False
        self._path = path
        self._line = line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up: the daemon stops."""
        self._line.close()

    def next(self, wait: float | None = None) -> dict[str, Any]:
        """Return the parameters of the next reply; wait that many seconds, None: for ever.

        Raises as :meth:`Client.call` does.
        """
        deadline = None if wait is None else time.monotonic() + wait
        reply = _parse(_receive(self._path, self._line, deadline, wait or 0.0))
        self.done = not reply.get("continues")
        return _result(reply)


class Client:
    """Calls the daemon's methods. ``timeout`` bounds a whole call, in seconds.

    Example: ``Client().call("org.sipsad.Associations.Get", {"id": "..."})["association"]``.
    """

    def __init__(self, path: str = DEFAULT_PATH, timeout: float = 0.2) -> None:
        self.path = path
        self.timeout = timeout
        self._line: _Line | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call a method by its full name and return the parameters of its reply.

        Raises :class:`CallError`, :class:`Unreachable`, :class:`TimedOut`, :class:`BadReply`.
        """
        return self._call(method, parameters, None)

    def call_for_descriptors(
        self, method: str, parameters: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], list[int]]:
        """Call a method whose reply comes with descriptors: return its parameters, and them.

        The caller closes them; they are not inherited by a new program. Raises as :meth:`call`
        does, and then none is left open.
        """
        descriptors: list[int] = []
        try:
            return self._call(method, parameters, descriptors), descriptors
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def _call(
        self, method: str, parameters: Mapping[str, Any] | None, descriptors: list[int] | None
    ) -> dict[str, Any]:
        message = _message(method, parameters)
        deadline = time.monotonic() + self.timeout
        line = self._send(message, deadline)
        line.descriptors = descriptors
        try:
            reply = _parse(_receive(self.path, line, deadline, self.timeout))
            if reply.get("continues") or not line.drained:
                raise BadReply("one reply was expected, and there are more")
        except BaseException:  # a late answer must never be taken for the next call's
            line.close()
            raise
        line.descriptors = None
        self._line = line
        return _result(reply)

    def stream(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        wait: float | None = None,
    ) -> Generator[dict[str, Any], None, None]:
        """Call a method with ``more`` and yield the parameters of each reply.

        Uses a connection of its own and closes it when the generator is closed or done. ``wait``
        is how long each reply may take, in seconds; None: as long as it takes. Raises as
        :meth:`call` does.
        """
        with self.subscribe(method, parameters) as subscription:
            while not subscription.done:
                yield subscription.next(wait)

    def subscribe(self, method: str, parameters: Mapping[str, Any] | None = None) -> Subscription:
        """Call a method with ``more``; its replies are read when the caller has time for them.

        Raises as :meth:`call` does.
        """
        message = _message(method, parameters, more=True)
        return Subscription(self.path, self._begin(message, time.monotonic() + self.timeout))

    def _send(self, message: bytes, deadline: float) -> _Line:
        """Send over the kept connection, or over a new one; the line is then the caller's."""
        line, self._line = self._line, None
        if self._pid != os.getpid():
            self._pid = os.getpid()
            if line is not None:  # the parent's: two processes on one would mix their replies
                line.close()
                line = None
        if line is not None:
            try:
                line.send(message, deadline)
            except OSError:
                line.close()
                # The daemon has closed it since, e.g. at a restart. The message's last byte was
                # not taken, so the call did not happen, and this is its first time.
            else:
                return line
        return self._begin(message, deadline)

    def _begin(self, message: bytes, deadline: float) -> _Line:
        """Send over a new connection."""
        line = self._open(deadline)
        try:
            line.send(message, deadline)
        except BaseException as error:
            line.close()
            if isinstance(error, OSError):
                raise self._unsent(error) from error
            raise
        return line

    def _open(self, deadline: float) -> _Line:
        try:
            return _Line(self.path, deadline)
        except OSError as error:
            raise self._unsent(error) from error

    def _unsent(self, error: OSError) -> Unreachable:
        crowded = isinstance(error, (socket.timeout, BlockingIOError))
        reason = "it takes no call now" if crowded else error.strerror or str(error)
        return Unreachable(self.path, reason, may_have_run=False)


def _receive(path: str, line: _Line, deadline: float | None, seconds: float) -> bytes:
    try:
        return line.receive(deadline)
    except socket.timeout as error:
        raise TimedOut(path, seconds) from error
    except (OSError, EOFError) as error:
        raise Unreachable(
            path, "the connection broke before the answer", may_have_run=True
        ) from error


def _message(method: str, parameters: Mapping[str, Any] | None, *, more: bool = False) -> bytes:
    call: dict[str, Any] = {"method": method}
    if parameters is not None:
        call["parameters"] = parameters
    if more:
        call["more"] = True
    return _encode(call).encode("ascii") + b"\0"


def _parse(message: bytes) -> dict[str, Any]:
    try:
        reply = _decode(message.decode("utf-8"))
    except (ValueError, RecursionError):  # of whose text nothing is repeated
        reply = None
    if not isinstance(reply, dict) or not isinstance(reply.get("parameters", {}), dict):
        raise BadReply("the answer is no reply of Varlink")
    return reply


def _result(reply: dict[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = reply.get("parameters", {})
    error = reply.get("error")
    if error is not None:
        raise CallError(str(error), parameters)
    return parameters
