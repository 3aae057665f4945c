"""Random numbers of the kernel, taken by the page: a registration needs six."""

import os
import secrets
import struct
from collections.abc import Iterator
from typing import Final

_WORD_BITS: Final = 64
_PAGE: Final = struct.Struct("=512Q")


class Chance:
    """As good as :func:`secrets.randbelow`, a system call for 512 numbers and not for each.

    What was drawn ahead lies in memory that only this process reads. It must not fork.
    """

    def __init__(self) -> None:
        self._words: Iterator[int] = iter(())

    def below(self, bound: int) -> int:
        """Return a uniform integer of [0, ``bound``)."""
        bits = (bound - 1).bit_length()
        if bound <= 0 or bits > _WORD_BITS:
            return secrets.randbelow(bound)
        while True:
            for word in self._words:
                number = word >> (_WORD_BITS - bits)
                if number < bound:
                    return number
            self._words = iter(_PAGE.unpack(os.urandom(_PAGE.size)))
