"""How much unprotected REGISTERs may take: rates, and room for temporary sets (design section 6).

Whoever can send a packet can cause a Screen, and with a core that challenges, an Offer. So both
are counted by sender before anything is done for them, and what they can hold is bounded. Excess
is :class:`~sad.model.errors.Busy`; nobody's set is taken away for another's.
"""

import itertools
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final

from sad.core.pending import prefix_of
from sad.core.table import AssociationTable
from sad.model.errors import Busy
from sad.model.rules import Limits

#: When nobody can say when room will be: associations end at any time.
_UNKNOWN_SECONDS: Final = 5.0


class _Bucket:
    """Tokens as of ``at``; full is ``size``."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at


class Rates:
    """Token buckets of one method: one for all, one for each sender.

    Mutable, but without I/O or clock: ``now`` is an argument and never goes back. A sender's
    bucket that is full again is forgotten, so there are at most as many as the bucket for all
    lets through until then.
    """

    def __init__(self, limits: Limits) -> None:
        self._burst = limits.burst_seconds
        self._rate = limits.offers_per_second
        self._sender_rate = limits.offers_per_second_per_address
        self._full = self._size(self._rate)
        self._sender_full = self._size(self._sender_rate)
        self._all = _Bucket(self._full, 0.0)
        self._senders: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._senders)

    def take(self, peer_address: str, now: float) -> None:
        """Take a token for one call; raise Busy if there is none, which costs nobody anything."""
        self._forget_full(now)
        sender = prefix_of(peer_address)
        everybodys = self._all
        own = self._senders.get(sender)
        mine = self._sender_full
        if own is not None:
            mine = min(mine, own.tokens + (now - own.at) * self._sender_rate)
        if mine < 1.0:
            raise _busy((1.0 - mine) / self._sender_rate, "too many REGISTERs of this address")
        left = min(self._full, everybodys.tokens + (now - everybodys.at) * self._rate)
        if left < 1.0:
            raise _busy((1.0 - left) / self._rate, "too many unprotected REGISTERs")
        everybodys.tokens, everybodys.at = left - 1.0, now
        if own is None:
            self._senders[sender] = _Bucket(mine - 1.0, now)
        else:
            own.tokens, own.at = mine - 1.0, now
            self._senders.move_to_end(sender)

    def _size(self, rate: float) -> float:
        return max(1.0, rate * self._burst)

    def _forget_full(self, now: float) -> None:
        # Whatever was in it, a bucket left alone for so long is full.
        rest = self._sender_full / self._sender_rate
        while self._senders:
            sender = next(iter(self._senders))
            if now - self._senders[sender].at < rest:
                return
            del self._senders[sender]


def check_room(
    table: AssociationTable,
    limits: Limits,
    peer_address: str,
    private_identity: str,
    leaving: Collection[str],
    now: float,
) -> None:
    """Raise Busy unless an unprotected Offer may hold one more temporary set.

    ``leaving`` are the sets that it replaces. The room of the reserve is only for REGISTERs that
    came on an SA.
    """
    pending = table.pending
    prefix = prefix_of(peer_address)
    for members, maximum, whose in (
        (
            pending.of_identity(private_identity, prefix),
            limits.max_temporary_sets_per_identity,
            "of this private identity at this address",
        ),
        (
            pending.of_prefix(prefix),
            limits.max_temporary_sets_per_address,
            "of this address",
        ),
        (pending.unprotected, limits.max_temporary_sets, "in all"),
    ):
        held = len(members)
        if held >= maximum and held - sum(i in members for i in leaving) >= maximum:
            raise _busy(_until_first_ends(members, table, now), f"too many temporary sets {whose}")
    if len(table) - len(leaving) >= limits.max_associations - limits.reserved:
        raise _busy(
            _until_first_ends(pending.unprotected, table, now),
            "what room is left is kept for registered user agents",
        )


def _until_first_ends(members: Iterable[str], table: AssociationTable, now: float) -> float:
    # They live equally long and stand in their order of birth: the first ends first.
    for association_id in itertools.islice(members, 1):
        association = table.get(association_id)
        assert association is not None
        return max(0.0, association.deadline_at - now)
    return _UNKNOWN_SECONDS


def _busy(seconds: float, reason: str) -> Busy:
    return Busy(retry_after_milliseconds=max(1, int(seconds * 1000) + 1), reason=reason)
