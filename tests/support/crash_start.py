"""Starts real daemons that die by SIGKILL at a chosen point, wrapped from outside.

``python -m tests.support.crash_start BOARD TRACE -- ARGUMENTS``: for each line on standard input
one daemon is forked off, with everything imported and nothing of it begun; it runs
``sad.__main__.main`` with these arguments. Standard output says ``started PID`` and ``ended
STATUS``. The points (:data:`tests.support.crash_board.KINDS`):

* ``netlink``: after each message to the kernel. The messages of one send go to the kernel up to
  the chosen one, the rest never: the kernel works requests off inside ``send``.
* ``journal``: inside a transaction after each statement, before its commit, after it.
* ``answer``: before the bytes of an answer are sent, and after.

Every point that is passed is a line of the trace, the last one is where it died.
"""

import contextlib
import gc
import itertools
import os
import signal
import socket
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Self

import netlink.kernel
import netlink.requests
import sad.__main__
from netlink import templates, uapi
from netlink.secret import Secret
from netlink.sockets import open_socket
from sad.api.edges import Outbox
from sad.config import build_parser, load_settings
from sad.core.planning import plan_install, plan_remove
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.runtime.service_manager import ServiceManager
from tests.support import make
from tests.support.crash_board import ANSWER, JOURNAL, NETLINK, Board

_HEADER: Final = struct.Struct("=IH")
_NAMES: Final = {
    number: name.removeprefix("XFRM_MSG_")
    for name, number in vars(uapi).items()
    if name.startswith("XFRM_MSG_")
}
_DEATH: Final = 70  # a daemon that outlives its own SIGKILL is a defect of this module


class Points:
    """Counts what is passed, and kills at the one that is armed."""

    def __init__(self, board: Board, trace: int) -> None:
        self._board = board
        self._trace = trace

    def due(self, kind: int, name: str) -> bool:
        """Pass a point; say whether to die there."""
        os.write(self._trace, f"{kind} {name}\n".encode())
        return self._board.passed(kind)

    def here(self, kind: int, name: str) -> None:
        """Pass a point, and die if it is the one."""
        if self.due(kind, name):
            self.die()

    @staticmethod
    def die() -> NoReturn:
        """End as a crash does: nothing is flushed, closed or answered."""
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(_DEATH)


class _KernelSocket(socket.socket):
    """Sends a batch to the kernel only up to the point."""

    points: Points

    def send(self, data: Any, flags: int = 0, /) -> int:
        with memoryview(data) as batch:
            for end, name in _messages(batch):
                if self.points.due(NETLINK, name):
                    super().send(batch[:end], flags)
                    self.points.die()
            return super().send(batch, flags)


def _messages(batch: memoryview) -> Iterator[tuple[int, str]]:
    """Yield where each message of a batch ends, and what it asks for."""
    end = 0
    while end < len(batch):
        length, kind = _HEADER.unpack_from(batch, end)
        end += (length + 3) & ~3
        yield min(end, len(batch)), _NAMES.get(kind, str(kind))


class _JournalConnection(sqlite3.Connection):
    """Passes a point inside each transaction after each statement, and around each commit."""

    points: Points

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "COMMIT":
            self.points.here(JOURNAL, "before COMMIT")
        cursor = super().execute(sql, parameters)
        if sql == "COMMIT" or self.in_transaction:
            self.points.here(JOURNAL, f"after {sql.split(maxsplit=1)[0]}")
        return cursor

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        # Statement by statement, else there would be no point inside.
        for statement in script.split(";"):
            if sql := "\n".join(
                line for line in statement.splitlines() if not line.strip().startswith("--")
            ).strip():
                self.execute(sql)
        return self.cursor()

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        if self.in_transaction:
            self.points.here(JOURNAL, "before COMMIT")
        result = super().__exit__(kind, error, traceback)
        self.points.here(JOURNAL, "after COMMIT")
        return result


def replace(holder: object, name: str, wrapped: Callable[..., Any]) -> None:
    """Put a function in the place of one that is there."""
    assert hasattr(holder, name)
    setattr(holder, name, wrapped)


def wrap(board: Board, points: Points) -> None:
    """Put the points around what is imported already."""
    _KernelSocket.points = _JournalConnection.points = points

    def open_wrapped(receive_buffer: int) -> socket.socket:
        return _KernelSocket(fileno=open_socket(receive_buffer).detach())

    for module in (netlink.requests, netlink.kernel):
        replace(module, "open_socket", open_wrapped)
    connect = sqlite3.connect

    def connect_wrapped(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **options, factory=_JournalConnection)

    replace(sqlite3, "connect", connect_wrapped)
    send = Outbox.send

    def send_wrapped(outbox: Outbox) -> None:
        words = bytes(outbox._buffer)
        # The harness asks who serves to learn whether a call's work is over: not a point.
        counted = bool(words) and b'"vendor"' not in words
        if counted:
            points.here(ANSWER, "before the answer")
        send(outbox)
        if counted:
            points.here(ANSWER, "after the answer")

    replace(Outbox, "send", send_wrapped)
    ready = ServiceManager.ready

    def ready_wrapped(manager: ServiceManager, status: str | None = None) -> None:
        ready(manager, status)
        board.set_ready()

    replace(ServiceManager, "ready", ready_wrapped)


def warm_up(arguments: list[str]) -> None:
    """Do once for all daemons what has no part in a crash and takes most of a start.

    That is reading the settings, compiling the templates of messages, and marking all of this as
    no garbage.
    """
    parser, settings = build_parser(), load_settings(arguments)
    replace(sad.__main__, "build_parser", lambda: parser)
    replace(sad.__main__, "load_settings", lambda _arguments: settings)
    for integrity, encryption in make.ALL_PAIRS:
        pair = AlgorithmPair(integrity, encryption)
        keys = derive_keys(pair, Secret(make.IK), Secret(make.CK))
        for ue, pcscf in ((make.UE_ADDRESS, make.EDGE_ADDRESS), ("2001:db8::2", "2001:db8::1")):
            set_ = make.association(
                sa_set=make.sa_set(
                    ue_address=ue,
                    pcscf_address=pcscf,
                    integrity_algorithm=integrity,
                    encryption_algorithm=encryption,
                )
            )
            values = (make.LAYOUT, make.LIFETIMES)
            templates.check(plan_install((), set_, keys, *values, now=0.0))
            templates.check(plan_remove((set_,), set_, *values))
    gc.collect()
    gc.freeze()


def main(arguments: list[str]) -> None:
    """Fork off one daemon after the other until standard input ends."""
    board_path, trace_path, _, *daemon_arguments = arguments
    board = Board(Path(board_path))
    trace = os.open(trace_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    wrap(board, Points(board, trace))
    warm_up(daemon_arguments)
    for _ in itertools.takewhile(bool, iter(sys.stdin.readline, None)):
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            os._exit(sad.__main__.main(daemon_arguments))
        signal.signal(signal.SIGTERM, lambda *_, pid=child: _leave(pid))
        print("started", child, flush=True)
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


def _leave(child: int) -> NoReturn:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
