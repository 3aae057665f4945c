"""Sealed memfds: bytes that whoever holds the descriptor can read and nobody can change.

The module :mod:`ssl` takes certificates and keys from files only; ``/proc/self/fd/N`` of such a
descriptor is one that never lay on a disk (memfd_create(2)).
"""

import fcntl
import os
from typing import Final

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Sealed:
    """Descriptors of one set, in order. Closing gives the memory back; sealed, it is not wiped."""

    def __init__(self) -> None:
        self._files: list[int] = []

    def add(self, name: str, content: bytes) -> None:
        """Keep some bytes; ``name`` is seen in ``/proc`` only."""
        file = os.memfd_create(f"sad-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._files.append(file)
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)

    def duplicates(self) -> tuple[int, ...]:
        """Return a descriptor for each, with a position of its own; the caller closes them."""
        opened: list[int] = []
        try:
            for file in self._files:  # the position is of the opening, not of the file
                again = os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
                opened.append(again)
        except OSError:
            for file in opened:
                os.close(file)
            raise
        return tuple(opened)

    def close(self) -> None:
        """Close all; once is enough."""
        while self._files:
            os.close(self._files.pop())
