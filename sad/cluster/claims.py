"""The ownership keys in etcd: read whole, claimed and released by transactions that compare."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sad.cluster.events import Claim, Seen
from sad.cluster.keyspace import Keyspace
from sad.cluster.ports import Delete, Etcd, Header, KeyValue, Operation, Put, Unchanged


@dataclass(frozen=True, slots=True)
class _Extra:
    """What a claim needs to know beside what is :class:`Seen`."""

    held_revision: int = 0
    asked: bool = False


class Claims:
    """Reads and writes them for one node. All raise EtcdError."""

    def __init__(
        self, etcd: Etcd, keyspace: Keyspace, node: str, address_here: Callable[[str], bool]
    ) -> None:
        self._etcd = etcd
        self._keyspace = keyspace
        self._node = node
        self._address_here = address_here
        self._extras: dict[str, _Extra] = {}

    async def read(self, endpoints: Iterable[str]) -> tuple[Header, dict[str, Seen]]:
        """Return what etcd holds of endpoints, of one revision."""
        page = await self._etcd.read(self._keyspace.ownership)
        found = {kv.key.removeprefix(self._keyspace.ownership): kv for kv in page.found}
        return page.header, {name: self._seen(name, found) for name in endpoints}

    def _seen(self, endpoint: str, found: dict[str, KeyValue]) -> Seen:
        owner = found.get(f"{endpoint}/owner")
        held = found.get(f"{endpoint}/held")
        asked = found.get(f"{endpoint}/asked")
        seen = Seen(
            owner="" if owner is None else owner.value.decode(),
            epoch=0 if owner is None else owner.mod_revision,
            held="" if held is None else held.value.decode(),
            asked_by="" if asked is None else asked.value.decode(),
            address_here=self._address_here(endpoint),
        )
        self._extras[endpoint] = _Extra(
            held_revision=0 if held is None else held.mod_revision,
            asked=seen.asked_by == self._node,
        )
        return seen

    async def claim(self, endpoint: str, claim: Claim, lease: int | None) -> int | None:
        """Claim, with a lease where the endpoint is held by one; return the epoch.

        None: it was another's meanwhile.
        """
        extra = self._extras.get(endpoint, _Extra())
        owner, held = self._keyspace.owner(endpoint), self._keyspace.held(endpoint)
        node = self._node.encode()
        compares = [Unchanged(owner, claim.expected)]
        operations: list[Operation] = []
        if not claim.keep_epoch:
            operations.append(Put(owner, node))
        if lease is not None:
            if not claim.over_lease:
                compares.append(Unchanged(held, extra.held_revision))
            operations.append(Put(held, node, lease))
        if extra.asked:
            operations.append(Delete(self._keyspace.asked(endpoint)))
        outcome = await self._etcd.transact(compares, operations)
        if not outcome.succeeded:
            return None
        return claim.expected if claim.keep_epoch else outcome.header.revision

    async def release(self, endpoint: str, epoch: int, *, leased: bool) -> None:
        """Give an endpoint to nobody, if it is still of this epoch."""
        owner = self._keyspace.owner(endpoint)
        operations: list[Operation] = [Put(owner, b"")]
        if leased:
            operations.append(Delete(self._keyspace.held(endpoint)))
        await self._etcd.transact([Unchanged(owner, epoch)], operations)

    async def ask(self, endpoint: str, lease: int) -> None:
        """Ask its owner for an endpoint, as long as a lease lives."""
        key = self._keyspace.asked(endpoint)
        await self._etcd.transact([], [Put(key, self._node.encode(), lease)])

    async def ask_no_more(self, endpoint: str) -> None:
        """Take that back."""
        await self._etcd.transact([], [Delete(self._keyspace.asked(endpoint))])
