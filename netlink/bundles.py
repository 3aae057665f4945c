"""Operations that come together again and again, encoded by one ``struct`` call.

What installs an SA set is the same operations each time, and a dozen values in a hundred places. A
:class:`BundleForm` knows the places: :func:`learn_form` finds them by watching what the reference
encoding makes of the operations when one value changes at a time, as :mod:`netlink.layout` does
for one message. A :class:`Bundle` is a sequence of operations like any other, which makes them
only when somebody looks: the request socket packs its values instead.
"""

import itertools
import operator
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias, overload

from netlink.layout import LayoutError
from netlink.model import Operation
from netlink.reference import encode_reference
from netlink.secret import Secret

WireValue: TypeAlias = bytes | int
"""A value as it travels: bytes in network order, or a number in the host's."""

Expand: TypeAlias = Callable[[Sequence[WireValue]], Sequence[Operation]]
"""Returns the operations of these values."""

_SEQUENCE_OFFSET: Final = 8  # struct nlmsghdr
_PORT_ID_OFFSET: Final = 12


class Place(NamedTuple):
    """Where something that varies lies.

    ``source`` says what it is: 0 the port, then a number for each message, then the values.
    """

    start: int
    code: str
    source: int


class BundleForm:
    """Where the values of a bundle lie, in how many messages of how many bytes together.

    ``codes`` are the ``struct`` codes of the values in their order: ``4s``, ``16s``, ``I``.
    ``blank`` are the messages with zeros at all ``places``.
    """

    __slots__ = (
        "_constants",
        "_pack_into",
        "_pick",
        "_sizes",
        "_texts",
        "blank",
        "codes",
        "count",
        "last_start",
        "places",
        "size",
    )

    def __init__(
        self,
        layout: str,
        constants: tuple[bytes, ...],
        picked: Sequence[int],
        codes: Sequence[str],
        starts: Sequence[int],
        *,
        places: Sequence[Place],
        blank: bytes,
    ) -> None:
        compiled = struct.Struct(layout)
        self.codes = tuple(codes)
        self.places = tuple(places)
        self.blank = blank
        self.count = len(starts)
        self.size = compiled.size
        self.last_start = starts[-1]
        self._pack_into = compiled.pack_into
        self._constants = constants
        self._pick = operator.itemgetter(*picked)
        texts = [index for index, code in enumerate(codes) if code[-1] == "s"]
        self._texts: Callable[[tuple[WireValue, ...]], tuple[bytes, ...]]
        self._texts = operator.itemgetter(*texts, texts[-1])  # two at least: a tuple in any case
        self._sizes = tuple(struct.calcsize(f"={codes[index]}") for index in (*texts, texts[-1]))

    def encode_into(
        self,
        buffer: bytearray,
        offset: int,
        values: Sequence[WireValue],
        keys: Sequence[Secret],
        sequence: int,
        port_id: int,
    ) -> int:
        """Write all messages, numbered from ``sequence`` on; return where they end.

        ``keys`` are the last values. Raises ``ValueError`` as
        :func:`netlink.templates.encode_into` does.
        """
        revealed = [key.reveal() for key in keys]
        for key in revealed:
            if key and key.count(0) == len(key):
                raise ValueError("a key of zeros: it was wiped before it was used")
        given = (*values, *revealed)
        # struct would cut or pad bytes in silence.
        if tuple(map(len, self._texts(given))) != self._sizes:
            raise ValueError("a value's length is not that of its field")
        numbered = range(sequence, sequence + self.count)
        try:
            self._pack_into(
                buffer, offset, *self._pick((port_id, *numbered, *given, *self._constants))
            )
        except struct.error:
            raise ValueError("a number of a bundle does not fit its field") from None
        return offset + self.size


class Bundle(Sequence[Operation]):
    """One set's operations. ``keys`` never print; they are read when it is sent, not before."""

    __slots__ = ("_expand", "_operations", "form", "keys", "values")

    def __init__(
        self,
        form: BundleForm,
        values: Sequence[WireValue],
        keys: Sequence[Secret],
        expand: Callable[[], Sequence[Operation]],
    ) -> None:
        self.form = form
        self.values = values
        self.keys = keys
        self._expand = expand
        self._operations: Sequence[Operation] | None = None

    def __repr__(self) -> str:
        return f"Bundle({self.form.count} operations)"

    def __len__(self) -> int:
        return self.form.count

    @overload
    def __getitem__(self, index: int) -> Operation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Operation]: ...
    def __getitem__(self, index: int | slice) -> Operation | Sequence[Operation]:
        return self._made()[index]

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._made())

    def _made(self) -> Sequence[Operation]:
        if self._operations is None:
            self._operations = self._expand()
        return self._operations

    def encode_into(self, buffer: bytearray, offset: int, sequence: int, port_id: int) -> int:
        """Write all its messages; there must be room for ``form.size`` bytes."""
        return self.form.encode_into(buffer, offset, self.values, self.keys, sequence, port_id)


def learn_form(codes: Sequence[str], expand: Expand) -> BundleForm:
    """Find where values of these ``struct`` codes lie in the messages of ``expand(values)``.

    Values without a byte (the null cipher's key) have no place. Raises LayoutError if a value
    changes anything but itself.
    """
    values = _samples(codes)
    base, starts = _encode(expand(values))
    # What is packed: what a place may have for a source, then the constants.
    first_value = 1 + len(starts)
    blank = bytearray(base)
    places = [Place(s + _PORT_ID_OFFSET, "I", 0) for s in starts]
    places += [Place(s + _SEQUENCE_OFFSET, "I", 1 + n) for n, s in enumerate(starts)]
    for index, code in enumerate(codes):
        if struct.calcsize(f"={code}"):
            places += _places(index, code, values, base, expand, first_value + index)
    places.sort()
    layout = "="
    constants: list[bytes] = []
    picked: list[int] = []
    end = 0
    for place in (*places, Place(len(base), "", 0)):
        if place.start < end:
            raise LayoutError(f"two values lie at {place.start}")
        gap = base[end : place.start]
        if any(gap):
            layout += f"{len(gap)}s"
            picked.append(first_value + len(codes) + len(constants))
            constants.append(gap)
        else:
            layout += f"{len(gap)}x"
        if place.code:
            layout += place.code
            picked.append(place.source)
        end = place.start + struct.calcsize(f"={place.code}")
        blank[place.start : end] = bytes(end - place.start)
    return BundleForm(
        layout, tuple(constants), picked, codes, starts, places=places, blank=bytes(blank)
    )


def _samples(codes: Sequence[str]) -> list[WireValue]:
    """Return a value for each code, no two alike: bytes that count on and never are zero."""
    counted = itertools.cycle(range(1, 128))
    samples: list[WireValue] = []
    for code in codes:
        data = bytes(itertools.islice(counted, struct.calcsize(f"={code}")))
        samples.append(data if code[-1] == "s" else struct.unpack(f"={code}", data)[0])
    return samples


def _other(value: WireValue, code: str) -> WireValue:
    """Return a value that differs from a sample in every byte."""
    if isinstance(value, bytes):
        return bytes(byte ^ 0x80 for byte in value)
    flipped = bytes(byte ^ 0x80 for byte in struct.pack(f"={code}", value))
    number: int = struct.unpack(f"={code}", flipped)[0]
    return number


def _encode(operations: Sequence[Operation]) -> tuple[bytes, list[int]]:
    """Return operations as the reference encodes them, unnumbered, and where each starts."""
    messages = [encode_reference(operation, 0, 0) for operation in operations]
    starts = [0, *itertools.accumulate(map(len, messages))]
    return b"".join(messages), starts[:-1]


def _places(
    index: int,
    code: str,
    values: Sequence[WireValue],
    base: bytes,
    expand: Expand,
    source: int,
) -> list[Place]:
    """Return every place of one value: where the encoding differs when nothing else does."""
    changed = list(values)
    changed[index] = _other(values[index], code)
    image, _ = _encode(expand(changed))
    if len(image) != len(base):
        raise LayoutError(f"value {index} changes the length of the messages")
    size = struct.calcsize(f"={code}")
    was, becomes = (struct.pack(f"={code}", v[index]) for v in (values, changed))
    places = []
    at = 0
    while at < len(base):
        if base[at] == image[at]:
            at += 1
            continue
        if base[at : at + size] != was or image[at : at + size] != becomes:
            raise LayoutError(f"value {index} is not itself at {at}")
        places.append(Place(at, code, source))
        at += size
    if not places:
        raise LayoutError(f"value {index} lies nowhere")
    return places
