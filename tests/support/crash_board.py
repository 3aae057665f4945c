"""The board between a test and the daemons that it has die: shared memory of four numbers."""

import mmap
import struct
from pathlib import Path
from typing import Final

NETLINK, JOURNAL, ANSWER = range(3)
KINDS: Final = ("netlink", "journal", "answer")

_FIELD: Final = struct.Struct("=i")
_KIND, _LEFT, _FIRED, _READY = (n * _FIELD.size for n in range(4))


class Board:
    """Opened by both sides; one daemon at a time."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def _get(self, field: int) -> int:
        return int(_FIELD.unpack_from(self._memory, field)[0])

    def _set(self, field: int, value: int) -> None:
        _FIELD.pack_into(self._memory, field, value)

    # --- the test's side -------------------------------------------------------------------------

    def arm(self, kind: int, number: int) -> None:
        """Have the daemon die at the point of that number (from 1) of a kind."""
        self._set(_FIRED, 0)
        self._set(_KIND, kind)
        self._set(_LEFT, number)

    def disarm(self) -> None:
        """Let it live."""
        self._set(_LEFT, 0)

    def begin(self) -> None:
        """Forget the last daemon."""
        self._set(_READY, 0)

    @property
    def fired(self) -> bool:
        """Whether the armed point was reached."""
        return bool(self._get(_FIRED))

    @property
    def ready(self) -> bool:
        """Whether the daemon has said that it is ready."""
        return bool(self._get(_READY))

    # --- the daemon's side -----------------------------------------------------------------------

    def passed(self, kind: int) -> bool:
        """Count a point down; say whether it is the armed one."""
        left = self._get(_LEFT)
        if not left or self._get(_KIND) != kind:
            return False
        self._set(_LEFT, left - 1)
        if left > 1:
            return False
        self._set(_FIRED, 1)
        return True

    def set_ready(self) -> None:
        """Note that the daemon is ready."""
        self._set(_READY, 1)
