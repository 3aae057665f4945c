"""What every :class:`sad.cluster.ports.Etcd` promises: one suite for the fake and the real one.

A module subclasses :class:`EtcdContract` and provides the fixture ``world``: an etcd of which keys
below its prefix are its own.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from sad.cluster.ports import (
    MOST_OPERATIONS,
    Changed,
    Compacted,
    Delete,
    Etcd,
    EtcdError,
    LeaseGone,
    Put,
    Unchanged,
)

SECONDS = 60.0


@dataclass
class World:
    """An etcd, and what a test does to it behind its back."""

    etcd: Etcd
    prefix: str
    outlive: Callable[[float], Awaitable[None]]
    compact: Callable[[], Awaitable[None]]


async def changes(world: World, after: int) -> AsyncIterator[Changed]:
    """Yield what a watch tells that is not empty."""
    async with contextlib.aclosing(world.etcd.watch(world.prefix, after)) as watch:  # type: ignore[type-var]
        async for change in watch:
            if change.written or change.deleted:
                yield change


async def following(told: AsyncIterator[Changed]) -> Changed:
    async with asyncio.timeout(SECONDS):
        return await anext(told)


class EtcdContract:
    """The promises."""

    async def test_a_write_is_read_with_its_revision(self, world: World) -> None:
        """A key that is written is read with its value and the revision of its transaction."""
        key = world.prefix + "a"
        outcome = await world.etcd.transact([], [Put(key, b"1")])
        page = await world.etcd.read(world.prefix)
        assert outcome.succeeded
        (found,) = page.found
        assert (found.key, found.value, found.lease) == (key, b"1", 0)
        assert found.mod_revision == found.create_revision == outcome.header.revision
        assert page.header == outcome.header

    async def test_a_compare_that_fails_writes_nothing(self, world: World) -> None:
        """All or nothing: one compare of two does not hold."""
        a, b = world.prefix + "a", world.prefix + "b"
        first = await world.etcd.transact([Unchanged(a, 0)], [Put(a, b"1")])
        second = await world.etcd.transact(
            [Unchanged(a, first.header.revision), Unchanged(b, 1)], [Put(a, b"2"), Put(b, b"2")]
        )
        assert not second.succeeded
        assert second.header.revision == first.header.revision
        assert [f.value for f in (await world.etcd.read(world.prefix)).found] == [b"1"]

    async def test_of_two_claims_one_is_lost(self, world: World) -> None:
        """Two that compare the same revision: exactly one goes through."""
        key = world.prefix + "owner"
        outcomes = await asyncio.gather(
            *(world.etcd.transact([Unchanged(key, 0)], [Put(key, n)]) for n in (b"x", b"y"))
        )
        assert sorted(o.succeeded for o in outcomes) == [False, True]

    async def test_a_write_keeps_the_create_revision(self, world: World) -> None:
        """A second write moves the modification, not the creation; after a delete both begin."""
        key = world.prefix + "a"
        first = await world.etcd.transact([], [Put(key, b"1")])
        second = await world.etcd.transact([], [Put(key, b"2")])
        (found,) = (await world.etcd.read(key)).found
        assert (found.create_revision, found.mod_revision) == (
            first.header.revision,
            second.header.revision,
        )
        await world.etcd.transact([], [Delete(key)])
        assert (await world.etcd.read(key)).found == ()
        third = await world.etcd.transact([Unchanged(key, 0)], [Put(key, b"3")])
        (found,) = (await world.etcd.read(key)).found
        assert found.create_revision == found.mod_revision == third.header.revision

    async def test_deleting_what_is_not_there_is_no_error(self, world: World) -> None:
        """And it makes no revision."""
        before = await world.etcd.read(world.prefix)
        outcome = await world.etcd.transact([], [Delete(world.prefix + "none")])
        assert outcome.succeeded
        assert outcome.header.revision == before.header.revision

    async def test_a_range_of_many_pages_is_one(self, world: World) -> None:
        """Every key comes once, in order, whatever the page."""
        for start in range(0, 1300, 100):
            await world.etcd.transact(
                [], [Put(f"{world.prefix}k{i:05}", b"v") for i in range(start, start + 100)]
            )
        page = await world.etcd.read(world.prefix)
        assert [f.key for f in page.found] == [f"{world.prefix}k{i:05}" for i in range(1300)]
        only = await world.etcd.read(world.prefix, keys_only=True)
        assert {f.value for f in only.found} == {b""}

    async def test_a_transaction_has_a_most(self, world: World) -> None:
        """Up to MOST_OPERATIONS go through, one more is refused and nothing of it is done."""
        puts = [Put(f"{world.prefix}k{i}", b"") for i in range(MOST_OPERATIONS + 1)]
        assert (await world.etcd.transact([], puts[1:])).succeeded
        with pytest.raises(EtcdError, match="too many operations"):
            await world.etcd.transact([], puts)
        assert len((await world.etcd.read(world.prefix)).found) == MOST_OPERATIONS

    async def test_a_key_comes_once_in_a_transaction(self, world: World) -> None:
        """Twice is refused."""
        put = Put(world.prefix + "a", b"")
        with pytest.raises(EtcdError, match="duplicate key"):
            await world.etcd.transact([], [put, put])

    async def test_a_watch_tells_what_follows(self, world: World) -> None:
        """Writes and deletes after the revision, in one answer or in several, none of before."""
        a, b = world.prefix + "a", world.prefix + "b"
        begun = await world.etcd.transact([], [Put(a, b"0")])
        told = changes(world, begun.header.revision)
        await world.etcd.transact([], [Put(a, b"1"), Put(b, b"1")])
        await world.etcd.transact([], [Delete(a)])
        written: list[tuple[str, bytes]] = []
        deleted: list[str] = []
        while not deleted:
            change = await following(told)
            written += [(w.key, w.value) for w in change.written]
            deleted += change.deleted
        assert (written, deleted) == ([(a, b"1"), (b, b"1")], [a])
        await told.aclose()  # type: ignore[attr-defined]

    async def test_a_compacted_watch_says_so(self, world: World) -> None:
        """A watch from before the compaction ends with Compacted, and not in silence."""
        begun = await world.etcd.transact([], [Put(world.prefix + "a", b"0")])
        for number in b"123":
            await world.etcd.transact([], [Put(world.prefix + "a", bytes([number]))])
        await world.compact()
        with pytest.raises(Compacted):
            await following(changes(world, begun.header.revision))

    async def test_a_lease_takes_its_keys_along(self, world: World) -> None:
        """A key with a lease is gone when its time is over, and the watch tells it."""
        lease, ttl = await world.etcd.grant(5)
        assert ttl >= 5
        key = world.prefix + "held"
        put = await world.etcd.transact([], [Put(key, b"", lease)])
        (found,) = (await world.etcd.read(key)).found
        assert found.lease == lease
        told = changes(world, put.header.revision)
        waiting = asyncio.create_task(following(told))
        await world.outlive(ttl)
        assert (await waiting).deleted == (key,)
        with pytest.raises(LeaseGone):
            await world.etcd.renew(lease)
        with pytest.raises(LeaseGone):
            await world.etcd.transact([], [Put(key, b"", lease)])
        await told.aclose()  # type: ignore[attr-defined]

    async def test_a_renewed_lease_begins_anew(self, world: World) -> None:
        """A renewal answers with the whole time, and a revoked one is gone at once."""
        lease, ttl = await world.etcd.grant(60)
        assert await world.etcd.renew(lease) == ttl
        key = world.prefix + "held"
        await world.etcd.transact([], [Put(key, b"", lease)])
        await world.etcd.revoke(lease)
        assert (await world.etcd.read(key)).found == ()
        await world.etcd.revoke(lease)  # again: no error

    async def test_a_key_written_without_its_lease_stays(self, world: World) -> None:
        """A write without lease takes the key out of it."""
        lease, _ = await world.etcd.grant(60)
        key = world.prefix + "held"
        await world.etcd.transact([], [Put(key, b"", lease)])
        await world.etcd.transact([], [Put(key, b"")])
        await world.etcd.revoke(lease)
        assert len((await world.etcd.read(key)).found) == 1
