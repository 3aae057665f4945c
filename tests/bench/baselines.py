"""The baselines in C (``libbaseline.c``) from Python, and sets encoded for them.

All take the same bytes: what the product's own encoder makes of the same operations.
"""

import ctypes
import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from netlink.model import Operation
from netlink.templates import LARGEST_MESSAGE, encode_into

LIBRARY: Final = "libbaseline"
#: Bytes of one send, where throughput levels off on a machine; the product sends twice as much.
CHUNK: Final = 65536


class Image:
    """Sets as netlink messages, one behind the other; ``ends`` says where each set ends."""

    def __init__(self, messages: bytearray, ends: Sequence[int]) -> None:
        self.sets = len(ends)
        self.size = len(messages)
        self.messages = (ctypes.c_char * len(messages)).from_buffer(messages)
        self.ends = (ctypes.c_uint64 * len(ends))(*ends)

    @classmethod
    def of(cls, sets: Sequence[Sequence[Operation]]) -> Self:
        """Encode sets."""
        buffer = bytearray(LARGEST_MESSAGE)
        messages = bytearray()
        ends = array("Q")
        sequence = 0
        for operations in sets:
            for operation in operations:
                sequence += 1
                end = encode_into(buffer, 0, operation, sequence, 0)
                messages += buffer[:end]
            ends.append(len(messages))
        return cls(messages, ends)


class Baselines:
    """The functions of the library; each returns sets a second, and insists on no error."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library), use_errno=True)
        for name in ("replay", "acknowledged", "unread"):
            getattr(self._library, name).restype = ctypes.c_double

    def replay(self, image: Image) -> float:
        """Send everything in large sends: the kernel's limit."""
        errors = ctypes.c_long(0)
        took = self._library.replay(
            image.messages,
            image.ends,
            ctypes.c_long(image.sets),
            ctypes.c_uint64(CHUNK),
            ctypes.byref(errors),
        )
        return self._rate(took, image, errors.value)

    def replay_tolerant(self, image: Image) -> int:
        """Send everything whatever is refused; return how much was: to clean up after others."""
        errors = ctypes.c_long(0)
        took = self._library.replay(
            image.messages,
            image.ends,
            ctypes.c_long(image.sets),
            ctypes.c_uint64(CHUNK),
            ctypes.byref(errors),
        )
        self._rate(took, image, 0)
        return errors.value

    def acknowledged(self, image: Image) -> float:
        """Send each message and wait for its acknowledgement."""
        errors = ctypes.c_long(0)
        took = self._library.acknowledged(
            image.messages, ctypes.c_uint64(image.size), ctypes.byref(errors)
        )
        return self._rate(took, image, errors.value)

    def unread(self, image: Image) -> float:
        """Do as Kamailio does: a socket for each set, and no answer read."""
        took = self._library.unread(image.messages, image.ends, ctypes.c_long(image.sets), None)
        return self._rate(took, image, 0)

    def unread_each(self, image: Image) -> list[float]:
        """Do as Kamailio does; return the seconds of each set."""
        each = (ctypes.c_double * image.sets)()
        took = self._library.unread(image.messages, image.ends, ctypes.c_long(image.sets), each)
        self._rate(took, image, 0)
        return list(each)

    @staticmethod
    def _rate(took: float, image: Image, errors: int) -> float:
        if took < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        assert not errors, f"the kernel refused {errors} messages of a baseline"
        return image.sets / took
