"""tcpdump on one interface, for people to read."""

import subprocess
import tempfile
from types import TracebackType
from typing import Self

from tests.support.namespaces import Namespace


class Tcpdump:
    """Runs from the block's start; it ends with the block."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        command = ["tcpdump", "-n", "-q", "-i", interface, "--immediate-mode", "-l"]
        command += ["not", "icmp6", "and", "not", "arp"]
        self._process = namespace.popen(
            command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.PIPE
        )
        errors = self._process.stderr
        assert errors is not None
        while line := errors.readline():
            if line.startswith("listening on"):
                return
        raise RuntimeError("tcpdump did not start")

    def lines(self) -> list[str]:
        """Return what it has printed; it reads behind the kernel."""
        self._output.seek(0)
        return self._output.read().splitlines()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._output.close()
