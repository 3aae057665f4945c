"""What etcd knows of associations, opened: for a takeover, and for ``sadctl --cluster list``."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sad.cluster.keyspace import Keyspace
from sad.cluster.ports import Etcd
from sad.cluster.records import (
    ASSOCIATIONS,
    COUNTERS,
    FLOORS,
    KEYS,
    AssociationRecord,
    Unreadable,
    decode_association,
    decode_counters,
    decode_floors,
    decode_keys,
)
from sad.cluster.sealing import Row, Sealer, Unopenable
from sad.core.restoring import raised
from sad.model.cluster import CounterSnapshot
from sad.model.key_record import KeyRecord

log = logging.getLogger(__name__)

_ROWS_IN_A_TURN: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRows:
    """What lies in etcd of one association; ``sealed_keys`` None: it has none of ours."""

    record: AssociationRecord
    sealed_keys: bytes | None
    counters: CounterSnapshot | None


class Spoilt(Exception):
    """Nobody knows which numbers sets of an endpoint have used: none of them may go on."""


class _Shut(Exception):
    """What cannot be opened."""


class Store:
    """Reads the records of a cluster. All raise EtcdError."""

    def __init__(self, etcd: Etcd, keyspace: Keyspace, sealer: Sealer) -> None:
        self._etcd = etcd
        self._keyspace = keyspace
        self._sealer = sealer

    async def of_endpoint(self, endpoint: str) -> dict[str, StoredRows | None]:
        """Return everything of an endpoint, by id; None, and told, where it does not open.

        Raises Spoilt.
        """
        keys, counters, floors, records = await asyncio.gather(
            self._values(self._keyspace.keys(endpoint)),
            self._values(self._keyspace.counters(endpoint)),
            self._values(self._keyspace.floors(endpoint)),
            self._values(self._keyspace.associations(endpoint)),
        )
        floor_of = self._floors(endpoint, floors)
        found: dict[str, StoredRows | None] = dict.fromkeys(records)
        for number, (association_id, record) in enumerate(self._records(endpoint, records)):
            if number % _ROWS_IN_A_TURN == 0:
                await asyncio.sleep(0)  # the lease is renewed meanwhile
            with contextlib.suppress(_Shut):
                known = self._counters(endpoint, association_id, counters)
                if association_id in floor_of:
                    known = raised(record.association, known, *floor_of[association_id])
                found[association_id] = StoredRows(
                    record=record, sealed_keys=keys.get(association_id), counters=known
                )
        return found

    async def of_all(self) -> list[tuple[str, AssociationRecord]]:
        """Return the associations of every endpoint of the cluster, by endpoint."""
        by_endpoint: dict[str, dict[str, bytes]] = {}
        for key, value in (await self._values(self._keyspace.associations())).items():
            endpoint, _, association_id = key.partition("/")
            by_endpoint.setdefault(endpoint, {})[association_id] = value
        return [
            (endpoint, record)
            for endpoint, values in by_endpoint.items()
            for _, record in self._records(endpoint, values)
        ]

    def keys_of(self, endpoint: str, association_id: str, sealed: bytes) -> KeyRecord | None:
        """Return opened keys, which the caller wipes; None if they do not open, which is told."""
        try:
            _, body = self._sealer.open(Row(KEYS, endpoint, association_id), sealed)
            return decode_keys(body)
        except (Unopenable, Unreadable) as error:
            log.error("the keys of association %s do not open: %s", association_id, error)  # noqa: TRY400 - no trace
            return None

    async def _values(self, prefix: str) -> dict[str, bytes]:
        page = await self._etcd.read(prefix)
        return {kv.key.removeprefix(prefix): kv.value for kv in page.found}

    def _records(
        self, endpoint: str, values: Mapping[str, bytes]
    ) -> Iterator[tuple[str, AssociationRecord]]:
        for association_id, sealed in values.items():
            try:
                _, body = self._sealer.open(Row(ASSOCIATIONS, endpoint, association_id), sealed)
                yield association_id, decode_association(body)
            except (Unopenable, Unreadable) as error:
                log.error("the record of association %s does not open: %s", association_id, error)  # noqa: TRY400 - no trace

    def _floors(self, endpoint: str, values: Mapping[str, bytes]) -> dict[str, tuple[float, int]]:
        """Return when each set went on, and in which of its lives. Raises Spoilt."""
        floor_of: dict[str, tuple[float, int]] = {}
        for number, sealed in values.items():
            try:
                _, body = self._sealer.open(Row(FLOORS, endpoint, number), sealed)
                read_at, lives = decode_floors(body)
            except (Unopenable, Unreadable) as error:
                # As below, of hundreds of sets, and it is not known of which.
                raise Spoilt(f"floors/{endpoint}/{number} does not open: {error}") from None
            for association_id, life in lives.items():
                if life > floor_of.get(association_id, (0.0, 0))[1]:
                    floor_of[association_id] = read_at, life
        return floor_of

    def _counters(
        self, endpoint: str, association_id: str, values: Mapping[str, bytes]
    ) -> CounterSnapshot | None:
        sealed = values.get(association_id)
        if sealed is None:
            return None
        try:
            _, body = self._sealer.open(Row(COUNTERS, endpoint, association_id), sealed)
            return decode_counters(association_id, body)
        except (Unopenable, Unreadable) as error:
            # Not the same as none: which numbers were used once is not known.
            log.error("the counters of association %s do not open: %s", association_id, error)  # noqa: TRY400 - no trace
            raise _Shut from None
