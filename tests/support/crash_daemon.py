"""A daemon that dies at chosen points, from the test's side (:mod:`tests.support.crash_start`)."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from sip_hooks.client import ClientError
from tests.support.crash_board import KINDS, Board
from tests.support.daemon import PATIENCE, Daemon
from tests.support.namespaces import Namespace

_LOOK_AGAIN_SECONDS: Final = 0.002
_WHO_SERVES: Final = "org.varlink.service.GetInfo"


class CrashDaemon(Daemon):
    """One daemon after the other over the same journal, socket and kernel."""

    def __init__(self, namespace: Namespace, folder: Path, settings: str) -> None:
        super().__init__(namespace, folder, settings)
        board, self._trace = folder / "board", folder / "trace"
        self.board = Board(board)
        self._trace.touch()
        self._child = 0
        self._said = b""
        with self.log.open("a") as log:
            self._nursery = namespace.popen(
                [
                    *(sys.executable, "-W", "error", "-m", "tests.support.crash_start"),
                    *(str(board), str(self._trace), "--", "--config", str(self.config)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def begin_step(self) -> None:
        """Count points from here."""
        if self._child:
            # The last answer has come, but its sender may not have passed the point after it.
            self.client.call(_WHO_SERVES, {})
        os.truncate(self._trace, 0)

    def points(self) -> list[tuple[int, str]]:
        """Return the points passed since :meth:`begin_step`: kind and what was done."""
        lines = (line.split(" ", 1) for line in self._trace.read_text().splitlines())
        return [(int(kind), name) for kind, name in lines]

    def try_start(self) -> bool:
        """Start one; True when it is ready, False if it died at an armed point on the way.

        What has not fired when it is ready does not fire later.
        """
        self.board.begin()
        assert self._nursery.stdin is not None
        self._nursery.stdin.write("\n")
        self._nursery.stdin.flush()
        self._child = int(self._heard("started"))
        end = time.monotonic() + PATIENCE
        while not self.board.ready:
            if self._says_something():
                status = self._ended()
                assert self.board.fired, f"sad ended with {status}:\n{self.words()}"
                return False
            assert time.monotonic() < end, f"sad is not ready:\n{self.words()}"
            time.sleep(_LOOK_AGAIN_SECONDS)
        self.board.disarm()
        return True

    def died(self) -> bool:
        """Whether it has died at the armed point, once all that it was asked for is over."""
        with contextlib.suppress(ClientError):
            self.client.call(_WHO_SERVES, {})
            return False
        assert self.board.fired, f"sad is gone, but at no point:\n{self.words()}"
        assert self._ended() == -signal.SIGKILL
        self.client.close()
        return True

    def kill(self) -> None:
        """SIGKILL between two calls."""
        self.client.close()
        if not self._child:  # it came from start(), unwrapped
            super().kill()
            return
        os.kill(self._child, signal.SIGKILL)
        assert self._ended() == -signal.SIGKILL

    def stop(self) -> int:
        """Stop the living one in order, and whatever is behind it."""
        if self._child:
            os.kill(self._child, signal.SIGTERM)
            self._ended()
        self._nursery.kill()  # it has nothing left to do
        self._nursery.wait()
        return super().stop()

    def _ended(self) -> int:
        status = int(self._heard("ended"))
        self._child = 0
        return status

    def _says_something(self) -> bool:
        assert self._nursery.stdout is not None
        return bool(self._said) or bool(select.select([self._nursery.stdout], [], [], 0)[0])

    def _heard(self, word: str) -> str:
        assert self._nursery.stdout is not None
        # Not by readline(): what that reads ahead, select() knows nothing of.
        while b"\n" not in self._said:
            more = os.read(self._nursery.stdout.fileno(), 4096)
            assert more, f"the nursery is gone:\n{self.words()}"
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        said, value = line.decode().split()
        assert said == word, f"{line!r}:\n{self.words()}"
        return value


def name_of(kind: int, number: int) -> str:
    """Name a point as reports do."""
    return f"{KINDS[kind]} {number}"
