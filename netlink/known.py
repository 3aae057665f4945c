"""Entries of a dump that are what was put there, told by their bytes and without a value of each.

A table of 400 000 SAs is read at a start, and nearly all of it is as it should be. What an entry
shows is what the request to add it said, save what the kernel counts: so the messages that would
add a set again are laid beside the dump, and an entry that says the same is known. Time limits are
left out of that and judged by themselves, for a refresh moves them. Whatever differs in any byte
is left to :mod:`netlink.decode` and to whoever judges values: this only ever says "the same".

Keys lie behind what is looked at, and are not read.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from netlink.decode import SA_SIZE, address_of
from netlink.model import Direction
from netlink.uapi import AF_INET, AF_INET6
from netlink.walk import Buffer

#: struct xfrm_usersa_info: all up to the hard limit; the limit; the rest of the limits; when it
#: was added; reqid, family and mode. Counters, window and flags are nobody's concern.
_SA: Final = struct.Struct("=136sQ16s16xQ24x7s")
#: struct xfrm_userpolicy_info, in the same way; priority; direction, action, flags and share.
_POLICY: Final = struct.Struct("=96sQ16s16xQ8x4s4x4s4x0s")
#: The same with the first attribute, if it is one struct xfrm_user_tmpl.
_WITH_TEMPLATE: Final = struct.Struct("=96sQ16s16xQ8x4s4x4s4x68s")
_FAMILIES: Final = {struct.pack("=H", family): family for family in (AF_INET, AF_INET6)}

#: Limits are whole seconds, and policies end up to one second early (kernel notes, section 4).
LIMIT_TOLERANCE_SECONDS: Final = 3.0

#: What an entry says, less its time limit.
_Words: TypeAlias = tuple[bytes, ...]
_Owner = TypeVar("_Owner")


class Shown(NamedTuple, Generic[_Owner]):
    """What the kernel shows of one owner's entries in a table: the messages that add them.

    ``key`` is the owner's name, ``places`` are where the bodies of the messages start and end.
    ``limit`` is until when the entries last, in real-time seconds.
    """

    key: str
    owner: _Owner
    messages: bytes | bytearray
    places: Sequence[tuple[int, int]]
    limit: float


#: Returns what the owner of an SA (destination, SPI) or of a policy (peer's address and port) has.
Find: TypeAlias = Callable[[str, int], Shown[_Owner] | None]


class _Known(Generic[_Owner]):
    """What both tables share. Of an owner's entries each is a bit, in the order of its messages.

    The entries of one owner mostly lie together: those of the one that was met last are at hand.
    """

    def __init__(self, find: Find[_Owner]) -> None:
        self._find = find
        self.begin()

    def begin(self) -> None:
        """Forget what was seen: the dump begins, or begins anew."""
        self._seen: dict[str, tuple[_Owner, int]] = {}
        self._shown: Shown[_Owner] | None = None
        self._at_hand: dict[_Words, int] = {}
        self._limit = 0.0
        self._bits = 0

    def seen_of(self, key: str) -> tuple[_Owner, int] | None:
        """Return an owner as it was when its entries were seen, and the bits of those."""
        if self._bits:
            self._note()
        return self._seen.get(key)

    def _have_at_hand(self, shown: Shown[_Owner], words: Sequence[_Words]) -> None:
        self._note()
        self._shown, self._limit = shown, shown.limit
        self._at_hand = {said: 1 << number for number, said in enumerate(words)}

    def _note(self) -> None:
        """Write down what was seen of the one at hand."""
        shown, bits, self._bits = self._shown, self._bits, 0
        if shown is None or not bits:
            return
        owner, before = self._seen.get(shown.key, (shown.owner, 0))
        # Of one that has changed meanwhile only what it is now counts.
        self._seen[shown.key] = shown.owner, bits | (before if owner is shown.owner else 0)


class KnownSas(_Known[_Owner]):
    """Tells the SAs of known owners."""

    def holds(self, buffer: Buffer, start: int, end: int) -> bool:
        """Whether the SA whose body lies there is known; notes that it was seen."""
        if end - start < SA_SIZE:
            return False
        head, hard, rest, added, tail = _SA.unpack_from(buffer, start)
        bit = self._at_hand.get((head, rest, tail)) or self._elsewhere(head, rest, tail)
        if not bit or not hard or abs(added + hard - self._limit) > LIMIT_TOLERANCE_SECONDS:
            return False
        self._bits |= bit
        return True

    def _elsewhere(self, head: bytes, rest: bytes, tail: bytes) -> int:
        """Turn to whose SA it may be; return the bit that it has there, 0 if none."""
        family = _FAMILIES.get(tail[4:6])
        if family is None:
            return 0
        spi = int.from_bytes(head[72:76], "big")
        shown = self._find(address_of(head[56:72], family), spi)
        if shown is None:
            return 0
        said = [_SA.unpack_from(shown.messages, start) for start, _ in shown.places]
        self._have_at_hand(shown, [(one[0], one[2], one[4]) for one in said])
        return self._at_hand.get((head, rest, tail), 0)


class KnownPolicies(_Known[_Owner]):
    """Tells the policies of known owners."""

    def holds(self, buffer: Buffer, start: int, end: int) -> bool:
        """Whether the policy whose body lies there is known; notes that it was seen."""
        if end - start < _POLICY.size:
            return False
        layout = _POLICY if end - start < _WITH_TEMPLATE.size else _WITH_TEMPLATE
        head, hard, rest, added, *more = layout.unpack_from(buffer, start)
        words = (head, rest, *more)
        bit = self._at_hand.get(words) or self._elsewhere(words)
        if not bit or (hard and added + hard < self._limit - LIMIT_TOLERANCE_SECONDS):
            return False
        self._bits |= bit
        return True

    def _elsewhere(self, words: _Words) -> int:
        """Turn to whose policy it may be; return the bit that it has there, 0 if none."""
        selector, _, _, tail, _ = words
        family = _FAMILIES.get(selector[40:42])
        if family is None:
            return 0
        address, port = selector[:16], selector[32:34]
        if tail[0] == Direction.IN:
            address, port = selector[16:32], selector[36:38]
        shown = self._find(address_of(address, family), int.from_bytes(port, "big"))
        if shown is None:
            return 0
        said = []
        for start, end in shown.places:
            layout = _POLICY if end - start < _WITH_TEMPLATE.size else _WITH_TEMPLATE
            head, _, rest, _, *more = layout.unpack_from(shown.messages, start)
            said.append((head, rest, *more))
        self._have_at_hand(shown, said)
        return self._at_hand.get(words, 0)
