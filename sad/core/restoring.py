"""How a set goes on at another node: same SPIs, same keys, later sequence numbers.

The counterpart of :mod:`sad.core.rebuilding`, which does it at the same node. What is known is the
last snapshot of the set's sequence numbers; what came after it died with the other node.

Outbound. The peer's window (RFC 4303 3.4.3) refuses what it has seen, and 3.3.3 forbids a number
twice under one key. An SA of which the last snapshot said that ``sent`` (packets) was its last
number has sent until now, at ``realtime`` (s), at most

    sent + ceil(PACKETS_PER_SECOND * (realtime - read_at + NOTICE_SECONDS))          packets

and goes on at the beginning of the next block of BLOCK = 2^24 numbers above that; so a snapshot
may even lack BLOCK packets of a clock that was wrong, or of an SA that was faster. After the last
block that leaves room for BLOCK packets before 2^32 there is none: the set is not restored, and
its user agent registers again. That is after 255 takeovers.

Outbound, of combined modes (T33-I-b). The kernel ends these SAs after PACKETS = BLOCK / 2, so
whatever the last snapshot missed lies in the same block, and each life has a block to itself and
fresh IVs (``sad/docs/nonces.md``). There are MOST_REBUILDS = 9 lives after the first.

Inbound. Nothing numbered ``received`` or less is taken again, whether it had come or not; all
above it passes, so the peer's next packet does. What the other node took after its last snapshot
could be played to this one once more; nobody can tell it from what never came. That is at most
what came in the seconds before its end, and SIP takes a request of one branch once (RFC 3261
17.2.3).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

from netlink.counters import ObservedCounters
from netlink.model import Operation, SaKeys
from sad.core.nonces import BLOCK
from sad.core.planning import plan_install
from sad.core.rebuilding import most_leaps
from sad.core.set_bundle import Standing, first_install, going_on
from sad.model.algorithms import AlgorithmPair
from sad.model.association import Association
from sad.model.cluster import CounterSnapshot, StoredSet
from sad.model.key_record import KeyRecord
from sad.model.rules import Layout, Lifetimes
from sad.model.sa_pair import SaPairParameters

#: That one SA sends on the average between two snapshots, over hours if it must be: a set of SIP
#: signalling sends some hundred packets an hour.
PACKETS_PER_SECOND: Final = 1000
#: How old the kernel's word may be when it tells (net.core.xfrm_aevent_etime, as it comes).
NOTICE_SECONDS: Final = 1.0


def never_read(association: Association) -> CounterSnapshot:
    """Return what is known of a set of which no number was ever read: it began at 0."""
    s = association.xfrm
    return CounterSnapshot(
        association_id=association.id,
        read_at=association.created_at,
        sent=(0,) * len(s.peer_spis),
        received=(0,) * len(s.local_spis),
    )


def raised(
    association: Association, known: CounterSnapshot | None, read_at: float, lives: int
) -> CounterSnapshot | None:
    """Return what is known of a set that went on with a number of ``lives`` at an instant.

    The same as before if it is known that it did, and None if nothing is. What it has received is
    as it was known.
    """
    base = known or never_read(association)
    if lives <= base.lives:
        return known
    return dataclasses.replace(
        base, read_at=read_at, sent=(lives * BLOCK,) * len(base.sent), lives=lives
    )


def hear(
    known: CounterSnapshot, association: Association, told: ObservedCounters
) -> CounterSnapshot:
    """Return a snapshot with what the kernel has told of one SA of the set; the same if no more.

    Numbers of an SA only grow, and those of one that was rebuilt begin above it.
    """
    s, spi = association.xfrm, told.id.spi
    sent, received = known.sent, known.received
    if told.id.destination == s.local_address:
        numbers = zip(s.local_spis, received, strict=True)
        received = tuple(max(n, told.replay.received) if own == spi else n for own, n in numbers)
    else:
        numbers = zip(s.peer_spis, sent, strict=True)
        sent = tuple(max(n, told.replay.sent) if own == spi else n for own, n in numbers)
    if (sent, received) == (known.sent, known.received):
        return known
    lives = max(known.lives, *(number // BLOCK for number in sent))
    return dataclasses.replace(known, sent=sent, received=received, lives=lives)


def advance(stored: StoredSet, realtime: float) -> CounterSnapshot | None:
    """Return the numbers with which a set goes on; None if it has no fresh ones.

    ``realtime`` in seconds. It belongs in etcd before the set is in the kernel: who takes the set
    over from here begins above it.
    """
    association = stored.association
    known = stored.counters or never_read(association)
    missed = _missed(association, known, realtime)
    reached = max((number + missed) // BLOCK for number in known.sent)
    lives = max(known.lives, stored.keys.leaps, reached) + 1
    if lives > most_leaps(association):
        return None
    return dataclasses.replace(
        known, read_at=realtime, sent=(lives * BLOCK,) * len(known.sent), lives=lives
    )


def _missed(association: Association, known: CounterSnapshot, realtime: float) -> int:
    """Return how many packets one of its SAs can have sent since, to be added to ``sent``."""
    s = association.xfrm
    combined = (
        not isinstance(s, SaPairParameters)
        and AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm).combined
    )
    if combined:
        return 0  # none that leaves the block
    age = max(0.0, realtime - known.read_at) + NOTICE_SECONDS
    return math.ceil(age * PACKETS_PER_SECOND)


def record_of(stored: StoredSet, counters: CounterSnapshot) -> KeyRecord:
    """Return what this node rebuilds the set from if its own kernel loses it; shares the keys."""
    received = counters.received
    return dataclasses.replace(stored.keys, leaps=counters.lives, received=received)


def plan_restore(
    siblings: Sequence[Association],
    new: Association,
    counters: CounterSnapshot,
    keys: SaKeys,
    layout: Layout,
    lifetimes: Lifetimes,
    now: float,
    realtime: float,
) -> Sequence[Operation]:
    """Return the operations that add a set which goes on from advanced counters.

    As :func:`~sad.core.planning.plan_install`; each SA with its numbers, and with its limit
    counted from this instant, ``now`` (BOOTTIME) and ``realtime``, however long it waits to be
    sent.
    """
    standing = Standing(sent=counters.sent, received=counters.received, add_time=int(realtime))
    if not siblings:
        return first_install(new, keys, layout, lifetimes, now, standing)
    return going_on(plan_install(siblings, new, keys, layout, lifetimes, now), new, standing)
