"""Brings a guest's output to the caller while it runs, and its exit status at the end.

Counterpart of :mod:`tests.lane.guest`, whose markers it reads. The only clock of the lane is
here: a guest that does not come to its command, or a command that does not come to its end.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import Final

from tests.lane.decision import EX_TIMEOUT, LaneError
from tests.lane.guest import Splitter, explain_death

BOOT_SECONDS: Final = 120.0
POWER_OFF_SECONDS: Final = 10.0
_CONSOLE_LIMIT: Final = 1 << 20


class Relay:
    """The three streams of a guest: standard output, standard error, and the console."""

    def __init__(self, output: int, errors: int, console: int, marker: str) -> None:
        self._splitters = {output: Splitter(marker), errors: Splitter(marker)}
        self._targets = {output: 1, errors: 2}
        self._console = console
        self._said = bytearray()
        self._selector = selectors.DefaultSelector()
        for descriptor in (output, errors, console):
            self._selector.register(descriptor, selectors.EVENT_READ)

    def close(self) -> None:
        """Stop listening; the descriptors stay the caller's."""
        self._selector.close()

    @property
    def ready(self) -> bool:
        """Whether the guest has come to the command."""
        return any(splitter.ready for splitter in self._splitters.values())

    @property
    def status(self) -> int | None:
        """The command's exit status, known only when nothing of its output is missing."""
        known = [splitter.status for splitter in self._splitters.values()]
        return None if None in known else known[0]

    @property
    def console(self) -> str:
        """The last words of the guest's kernel (up to 1 MiB)."""
        return self._said.decode(errors="replace")

    def step(self, seconds: float) -> bool:
        """Pass on what comes within this time; False once the guest has closed everything."""
        for key, _ in self._selector.select(max(0.0, seconds)):
            descriptor = key.fd
            data = os.read(descriptor, 65536)
            if not data:
                self._selector.unregister(descriptor)
            elif descriptor == self._console:
                self._said += data
                del self._said[:-_CONSOLE_LIMIT]
            else:
                write_all(self._targets[descriptor], self._splitters[descriptor].feed(data))
        return bool(self._selector.get_map())


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` at once, past every buffer."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def follow(relay: Relay, timeout: float, *, boot_seconds: float = BOOT_SECONDS) -> int:
    """Relay until the command has ended and return its exit status.

    Raise LaneError for a guest that dies, or does not come to its command at all.
    """
    deadline = time.monotonic() + boot_seconds
    booting = True
    while relay.status is None:
        if booting and relay.ready:
            booting, deadline = False, time.monotonic() + timeout
        left = deadline - time.monotonic()
        if left <= 0:
            if booting:
                raise LaneError(f"the guest did not boot in {boot_seconds:g} s")
            write_all(2, f"lane: the command took more than {timeout:g} s\n".encode())
            return EX_TIMEOUT
        if not relay.step(left):
            raise LaneError(explain_death(relay.console))
    # What the kernel says while it powers off is part of its console.
    until = time.monotonic() + POWER_OFF_SECONDS
    while relay.step(until - time.monotonic()) and time.monotonic() < until:
        pass
    return relay.status


def end_guest(guest: subprocess.Popen[bytes]) -> None:
    """End all that is left of a guest; it must lead a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(guest.pid, signal.SIGKILL)
    guest.wait()
