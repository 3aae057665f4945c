"""tcpdump on one interface, for people to read."""

import contextlib
import subprocess
from types import TracebackType
from typing import IO, Self

from tests.support.namespaces import Namespace


class Tcpdump:
    """Runs from the block's start; :meth:`stop` returns what it printed."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        command = ["tcpdump", "-n", "-q", "-i", interface, "--immediate-mode", "-l"]
        command += ["not", "icmp6", "and", "not", "arp"]
        self._process = namespace.popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        errors = self._pipe(self._process.stderr)
        while line := errors.readline():
            if line.startswith("listening on"):
                return
        raise RuntimeError("tcpdump did not start")

    @staticmethod
    def _pipe(pipe: "IO[str] | None") -> "IO[str]":
        assert pipe is not None
        return pipe

    def stop(self) -> list[str]:
        """End it and return its lines."""
        if self._process.poll() is None:
            self._process.terminate()
        output, _ = self._process.communicate()
        return output.splitlines()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ValueError):  # its pipes were closed by stop()
            self.stop()
