"""The driver's end of the phones on the machine ``ue``: calls by name, in threads of one's own."""

import contextlib
import itertools
import json
import queue
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.acceptance.machines import Machine
from tests.acceptance.plan import PATIENCE, T1

_FOLDER: Final = "/srv/sad"
#: The UE's AKA needs the daemon's library of cryptography.
_PYTHON: Final = "/srv/root/opt/sad/current/bin/python"


class PhoneError(AssertionError):
    """A phone could not do what it was told; the text is its own."""


class Handsets:
    """A program that serves :mod:`tests.acceptance.pipe`, from construction to :meth:`close`."""

    def __init__(
        self, machine: Machine, log: Path, program: str = "tests.acceptance.phones"
    ) -> None:
        environment = f"SAD_ACCEPTANCE_T1={T1} SAD_TEST_PATIENCE={PATIENCE}"
        command = f"cd {_FOLDER} && {environment} exec {_PYTHON} -m {program}"
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._words = log.open("wb")
        self._process = subprocess.Popen(
            machine.command("sh", "-c", command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            self._waiting.pop(answer["id"]).put(answer)
        for waiting in [*self._waiting.values()]:
            waiting.put({"error": "the phones are gone"})

    def begin(self, do: str, **arguments: Any) -> "Pending":
        """Have something done; the result waits until it is asked for."""
        number = next(self._numbers)
        waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._waiting[number] = waiting
        assert self._process.stdin is not None
        call = {"id": number, "do": do, **arguments}
        self._process.stdin.write(json.dumps(call).encode() + b"\n")
        self._process.stdin.flush()
        return Pending(do, waiting)

    def call(self, do: str, *, seconds: float = PATIENCE, **arguments: Any) -> dict[str, Any]:
        """Have something done and return the result."""
        return self.begin(do, **arguments).result(seconds)

    def register(self, ue: str, number: int, **settings: Any) -> dict[str, Any]:
        """Switch a phone on and register it; fails unless the answer is 200."""
        self.call("open", ue=ue, number=number, **settings)
        answer = self.call("register", ue=ue)
        assert answer["status"] == 200, answer
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(PATIENCE)
        self._words.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Pending:
    """A call under way."""

    def __init__(self, do: str, waiting: "queue.SimpleQueue[dict[str, Any]]") -> None:
        self._do, self._waiting = do, waiting

    def result(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait for it; raises :class:`PhoneError`."""
        try:
            answer = self._waiting.get(timeout=seconds)
        except queue.Empty:
            raise PhoneError(f"{self._do}: no answer in {seconds:.0f} s") from None
        if "error" in answer:
            raise PhoneError(f"{self._do}: {answer['error']}")
        return dict(answer["result"])
