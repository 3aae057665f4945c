"""Many bundles of one form in one send, encoded value by value and not bundle by bundle.

In a :class:`Frame` as many bundles as a send holds lie one behind the other, complete but for what
varies. A value of all bundles is written to one of its places by one copy with a stride, so that a
set costs a share of some hundred copies in place of a ``struct`` call with two hundred arguments.
What the first bundles had in common (one's own address) is there already, as constants are.
"""

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from netlink.bundles import Bundle, BundleForm, Place
from netlink.secret import Secret, reveal_all

_Word: TypeAlias = Literal["I", "H", "B"]

_ALL: Final = slice(None)
#: What places are copied in, as they are aligned: bytes and code.
_WORDS: Final[tuple[tuple[int, _Word], ...]] = ((4, "I"), (2, "H"), (1, "B"))
_MOST_FREE: Final = 8

_free: Final[dict[tuple[BundleForm, int, int], "Frame"]] = {}


class Buffer:
    """Bytes to send. ``blank`` is what they are between two sends: no key is among them then."""

    __slots__ = ("_blank", "data")

    def __init__(self, size: int, blank: bytes = b"") -> None:
        self._blank = memoryview(blank + bytes(size - len(blank)))
        self.data = bytearray(self._blank)

    def wipe(self, start: int = 0, end: int | None = None) -> None:
        """Return these bytes to what they were; all from ``start`` if there is no ``end``."""
        with memoryview(self.data) as view:
            view[start:end] = self._blank[start:end]


class _Column(NamedTuple):
    """One value of all bundles, and where it goes.

    ``number`` is the code of a number, "" of bytes; ``lengths`` what those of all should be. Each
    of ``copies`` is one word of the value, as it lies in ``source`` and at each of its places.
    ``usual`` is what lies there already.
    """

    number: str
    size: int
    lengths: list[int]
    source: memoryview
    copies: tuple[tuple[memoryview, tuple[memoryview, ...]], ...]
    usual: bytes | None

    def write(self, given: Sequence[Any], count: int) -> None:
        """Copy the values of so many bundles to all places."""
        number, size, lengths, source, copies, usual = self
        if usual is not None and given.count(usual) == count:
            return
        if number:
            source[: count * size] = memoryview(array(number, given)).cast("B")
        elif list(map(len, given)) == lengths[:count]:
            source[: count * size] = b"".join(given)
        else:
            raise ValueError("a value's length is not that of its field")
        for word, places in copies:
            for place in places:
                place[_ALL] = word


class _Numbers:
    """The sequence numbers of all messages of a frame, one behind the other in ``source``.

    They are one number of some thousand bits: to count from elsewhere is one sum.
    """

    __slots__ = ("_each", "_zero", "source")

    def __init__(self, count: int) -> None:
        self.source = memoryview(bytearray(4 * count))
        self._zero = int.from_bytes(array("I", range(count)).tobytes(), sys.byteorder)
        self._each = int.from_bytes(array("I", [1] * count).tobytes(), sys.byteorder)

    def count_from(self, first: int) -> None:
        """Begin with ``first``; the last one must fit 32 bits."""
        numbers = self._zero + first * self._each
        self.source[_ALL] = numbers.to_bytes(len(self.source), sys.byteorder)


class Frame(Buffer):
    """The buffer of a send that begins with bundles of one form, ``most`` of them at most.

    ``usual`` are values that most bundles have, None for each that differs. What else is sent is
    encoded behind the bundles, over the blanks of those that are not there.
    """

    __slots__ = ("_columns", "_form", "_headers", "_key", "_numbers", "most")

    def __init__(
        self, form: BundleForm, port_id: int, room: int, size: int, usual: Sequence[bytes | None]
    ) -> None:
        self.most = room // form.size
        self._form = form
        self._key = form, port_id, room
        blank = bytearray(form.blank)
        for place in form.places:
            index = place.source - 1 - form.count
            if not place.source:
                struct.pack_into("=I", blank, place.start, port_id)
            elif 0 <= index < len(usual) and (value := usual[index]) is not None:
                blank[place.start : place.start + len(value)] = value
        super().__init__(size, bytes(blank) * self.most)
        self._numbers = _Numbers(self.most * form.count)
        numbers = self._numbers.source.cast("I")
        self._headers = [
            (numbers[index :: form.count], target)
            for index in range(form.count)
            for target in self._targets(_places(form, 1 + index), "I", 4, 0)
        ]
        unusual = [None] * (len(form.codes) - len(usual))
        self._columns = [
            self._column(index, code, value)
            for index, (code, value) in enumerate(zip(form.codes, (*usual, *unusual), strict=True))
        ]

    def _column(self, index: int, code: str, usual: bytes | None) -> _Column:
        size = struct.calcsize(f"={code}")
        places = _places(self._form, 1 + self._form.count + index)
        width, word = next(
            (width, word)
            for width, word in _WORDS
            if not any(n % width for n in (size, self._form.size, *(p.start for p in places)))
        )
        source = memoryview(bytearray(self.most * size))
        words = source.cast(word) if size else source  # what has no byte is not cast
        copies = [
            (words[part :: size // width], tuple(self._targets(places, word, width, part)))
            for part in range(size // width)
        ]
        number = "" if code[-1] == "s" else code
        return _Column(number, size, [size] * self.most, source, tuple(copies), usual)

    def _targets(
        self, places: Sequence[Place], word: _Word, width: int, part: int
    ) -> Iterator[memoryview]:
        """Yield a view for each place of a value: one word of it in all bundles."""
        words = memoryview(self.data)[: self.most * self._form.size].cast(word)
        for place in places:
            yield words[place.start // width + part :: self._form.size // width]

    def fill(self, bundles: Sequence[Bundle], first: int) -> None:
        """Write bundles, their messages numbered from ``first`` on.

        Raises ValueError, TypeError or OverflowError if one of them cannot be encoded, and does
        not tell which: :meth:`netlink.bundles.Bundle.encode_into` does. Wipe it then.
        """
        self._numbers.count_from(first)
        for numbers, target in self._headers:
            target[_ALL] = numbers
        values = [*zip(*[bundle.values for bundle in bundles], strict=True)]
        keys = zip(*[bundle.keys for bundle in bundles], strict=True)
        count = len(bundles)
        try:
            columns = (*values, *map(_revealed, keys))
            for column, given in zip(self._columns, columns, strict=True):
                column.write(given, count)
        finally:
            for column in self._columns[len(values) :]:
                column.source[_ALL] = bytes(len(column.source))

    def release(self) -> None:
        """Let the next have it, in whichever socket. It must be wiped."""
        if len(_free) >= _MOST_FREE:
            _free.clear()
        _free[self._key] = self


def frame_of(bundles: Sequence[Bundle], port_id: int, room: int, size: int) -> Frame:
    """Return a frame for bundles like these that nobody else has, until it is released.

    Its bundles share ``room`` of its ``size`` bytes.
    """
    form = bundles[0].form
    frame = _free.pop((form, port_id, room), None)
    return frame or Frame(form, port_id, room, size, _usual(bundles))


def _usual(bundles: Sequence[Bundle]) -> list[bytes | None]:
    """Return of each value but the keys what all of these have, None if they differ."""
    usual: list[bytes | None] = []
    columns = zip(*[bundle.values for bundle in bundles], strict=False)
    for (value, *others), code in zip(columns, bundles[0].form.codes, strict=False):
        fits = isinstance(value, bytes) and f"{len(value)}s" == code
        usual.append(value if fits and others.count(value) == len(others) else None)
    return usual


def _places(form: BundleForm, source: int) -> list[Place]:
    return [place for place in form.places if place.source == source]


def _revealed(column: Sequence[Secret]) -> list[bytes]:
    keys = reveal_all(column)
    size = len(keys[0])
    if size and bytes(size) in keys:
        raise ValueError("a key of zeros: it was wiped before it was used")
    return keys
