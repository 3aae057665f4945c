"""What etcd has not been told yet: bounded, coalesced by association. No I/O, no clock.

It holds which associations have changed, not how: what is written is what is true when it is
written. So the newest state of an association takes the place of an older one, and nothing that
changes often takes more room.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from sad.model.cluster import CounterSnapshot


@dataclass(frozen=True, slots=True)
class Batch:
    """What is on its way to etcd: changed associations and when they changed, and counters."""

    endpoint: str
    changed: dict[str, float]
    counters: dict[str, CounterSnapshot]

    def __len__(self) -> int:
        return len(self.changed) + len(self.counters)


@dataclass(slots=True)
class _Waiting:
    changed: dict[str, float] = field(default_factory=dict)
    counters: dict[str, CounterSnapshot] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.changed) + len(self.counters)


class Queue:
    """Changes of at most ``limit`` associations, of all endpoints together.

    An endpoint of which something did not fit is in :attr:`to_compare`: all of it is compared.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.to_compare: set[str] = set()
        self._waiting: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def changed(self, endpoint: str, association_id: str, now: float) -> None:
        """Note that an association was installed, changed, or ended, at a BOOTTIME second."""
        waiting = self._of(endpoint)
        if association_id in waiting.changed:
            return  # the older instant stays: that is how long etcd has been behind
        if len(self) >= self.limit:
            self.to_compare.add(endpoint)
            return
        waiting.changed[association_id] = now

    def count(self, endpoint: str, snapshots: Iterable[CounterSnapshot]) -> None:
        """Note counters that were read; those of an earlier reading are worth nothing more."""
        waiting = self._of(endpoint)
        room = self.limit - len(self)
        for snapshot in snapshots:
            known = snapshot.association_id in waiting.counters
            if known or room > 0:  # what does not fit is read again
                waiting.counters[snapshot.association_id] = snapshot
                room -= not known

    def take(self, endpoint: str, most: int) -> Batch:
        """Take the oldest changes of an endpoint, then counters; together at most ``most``."""
        waiting = self._waiting.get(endpoint, _Waiting())
        changed = dict(itertools.islice(waiting.changed.items(), most))
        counters = dict(itertools.islice(waiting.counters.items(), most - len(changed)))
        for association_id in changed:
            del waiting.changed[association_id]
        for association_id in counters:
            del waiting.counters[association_id]
        return Batch(endpoint, changed, counters)

    def give_back(self, batch: Batch) -> None:
        """Put back what etcd did not take; what is newer stays. It has its old room."""
        waiting = self._of(batch.endpoint)
        waiting.changed = {**batch.changed, **waiting.changed}
        for association_id, since in batch.changed.items():
            waiting.changed[association_id] = since
        waiting.counters = {**batch.counters, **waiting.counters}

    def forget(self, endpoint: str) -> None:
        """Drop everything of an endpoint: it is somebody else's."""
        self._waiting.pop(endpoint, None)
        self.to_compare.discard(endpoint)

    def waits(self, endpoint: str) -> bool:
        """Whether anything of an endpoint has not been told."""
        return endpoint in self.to_compare or bool(len(self._waiting.get(endpoint, ())))

    def endpoints(self) -> tuple[str, ...]:
        """The endpoints of which something waits."""
        return tuple(e for e, waiting in self._waiting.items() if len(waiting))

    def oldest(self) -> float | None:
        """Since when (BOOTTIME) the oldest change waits."""
        firsts = (next(iter(w.changed.values())) for w in self._waiting.values() if w.changed)
        return min(firsts, default=None)

    def _of(self, endpoint: str) -> _Waiting:
        return self._waiting.setdefault(endpoint, _Waiting())
