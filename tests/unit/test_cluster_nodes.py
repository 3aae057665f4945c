"""Two nodes, an etcd in memory: sets go from one to the other, and are never at both."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sad.cluster.ports import EtcdGone, Put
from sad.core.nonces import BLOCK
from sad.model.cluster import OwnershipMode, OwnershipState
from sad.model.errors import NotOwner
from tests.cluster.fake import FakeEtcd, FakeStore
from tests.support.cluster_shell import ENDPOINT, OWNER, STANDBY, Node
from tests.support.shell import Clock, ue_request, until


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> FakeStore:
    return FakeStore(clock.boottime)


@pytest.fixture
def a(store: FakeStore, clock: Clock, tmp_path: Path) -> Node:
    node = Node("a", FakeEtcd(store), clock, tmp_path)
    node.has_address = True
    return node


@pytest.fixture
def b(store: FakeStore, clock: Clock, tmp_path: Path) -> Node:
    return Node("b", FakeEtcd(store), clock, tmp_path)


async def live_with_one_set(node: Node) -> None:
    """A life of the owner, until etcd knows all of its one set."""
    async with node.life():
        await node.until(OWNER)
        await node.shell.install(ue_request(1))
        await node.told()


async def test_an_operator_takes_an_endpoint_over(a: Node, b: Node) -> None:
    """The owner gives it with all that etcd was not told; the same sets go on at the other."""
    async with a.life(), b.life():
        await a.until(OWNER)
        assert b.state is STANDBY
        installed = [await a.shell.install(ue_request(n)) for n in range(5)]
        with pytest.raises(NotOwner):
            await b.shell.install(ue_request(9))
        before = a.sas
        assert not b.sas
        assert b.is_blocked

        report = await b.cluster.operated.take_over(ENDPOINT, fenced=False)

        assert (report.restored, report.lost) == (5, 0)
        assert b.sas == before
        assert (a.is_blocked, b.is_blocked) == (True, False)
        assert not a.sas
        assert a.state is STANDBY
        assert not a.associations
        assert {x.id for x in b.associations} == {x.id for x in installed}
        with pytest.raises(NotOwner):
            await a.shell.install(ue_request(9))
        await b.shell.install(ue_request(9))


async def test_a_defect_of_one_takeover_ends_nothing_else(
    a: Node, b: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint stays blocked, it is told, and tried again; the daemon serves on."""
    monkeypatch.setattr("sad.cluster.node._AFTER_DEFECT_SECONDS", 0.0)
    async with a.life(), b.life():
        await a.until(OWNER)
        await a.shell.install(ue_request(1))
        put_in, tries = b.cluster.population.put_in, 0

        async def fails_once(endpoint: str, **how: Any) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                assert b.is_blocked
                raise TypeError
            await put_in(endpoint, **how)

        monkeypatch.setattr(b.cluster.population, "put_in", fails_once)

        report = await b.cluster.operated.take_over(ENDPOINT, fenced=False)

        assert (report.restored, tries, b.is_blocked) == (1, 2, False)
        assert b.shell.shared.problem is not None
        assert "could not be put in: TypeError" in b.shell.shared.problem[0]


async def test_a_node_that_died_is_fenced_and_its_sets_go_on(a: Node, b: Node) -> None:
    """After SIGKILL --fenced takes it; the dead node's next daemon takes its sets out first."""
    async with b.life():
        async with a.life():
            await a.until(OWNER)
            for number in range(3):
                await a.shell.install(ue_request(number))
            await a.told()
        assert len(a.sas) == 12
        await b.cluster.operated.take_over(ENDPOINT, fenced=True)
        assert len(b.sas) == 12
        async with a.life():
            assert not a.sas
            assert a.state is STANDBY
            assert not a.journal.rows


async def test_a_slow_node_gives_away_its_own_ownership_and_no_other(
    a: Node, b: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked to give an endpoint, it takes its sets out so slowly that it is fenced meanwhile."""
    async with a.life(), b.life():
        await a.until(OWNER)
        await a.shell.install(ue_request(1))
        await a.told()
        take_out, goes_on = a.cluster.population.take_out, asyncio.Event()

        async def slowly(endpoint: str, **how: Any) -> None:
            await goes_on.wait()
            await take_out(endpoint, **how)

        monkeypatch.setattr(a.cluster.population, "take_out", slowly)
        asking = asyncio.ensure_future(b.cluster.operated.take_over(ENDPOINT, fenced=False))
        await a.until(OwnershipState.YIELDING)
        await b.cluster.operated.take_over(ENDPOINT, fenced=True)
        await asking
        epoch = b.ownership.epoch

        goes_on.set()
        await a.until(STANDBY)

        page = await FakeEtcd(b.etcd.store).read(b.cluster._keyspace.owner(ENDPOINT))
        assert [(kv.value, kv.mod_revision) for kv in page.found] == [(b"b", epoch)]
        assert (b.state, len(b.sas), len(a.sas)) == (OWNER, 4, 0)


async def test_a_restarted_owner_adopts_its_sets(a: Node, b: Node) -> None:
    """A restart loses nothing, and takes nothing over: the kernel's SAs are the same ones."""
    async with b.life():
        async with a.life():
            await a.until(OWNER)
            await a.shell.install(ue_request(1))
            epoch = a.ownership.epoch
        before = {i: s.limit for i, s in a.tables.sas.items()}
        async with a.life():
            assert a.state is OWNER
            assert a.ownership.epoch == epoch
            assert {i: s.limit for i, s in a.tables.sas.items()} == before
            assert len(a.associations) == 1
            assert not a.is_blocked


async def test_an_automatic_owner_that_cannot_renew_stops_before_another_begins(
    a: Node, b: Node, clock: Clock
) -> None:
    """Cut off from etcd the owner is blocked and out before the lease ends, then the other."""
    a.mode = b.mode = OwnershipMode.AUTOMATIC
    async with a.life(), b.life():
        await a.until(OWNER)
        await a.shell.install(ue_request(1))
        await a.told()
        a.etcd.fails = EtcdGone("cut off")
        clock.advance(2.1)  # of 3, less a margin of 1
        a.strike()
        await a.until(STANDBY)
        assert not a.sas
        assert a.is_blocked
        clock.advance(1)
        await b.until(OWNER)
        assert len(b.sas) == 4
        assert a.cluster.population.set_aside(ENDPOINT) == 1

        a.etcd.fails = None
        await until(lambda: not a.cluster.population.set_aside(ENDPOINT))
        assert not a.sas


async def test_an_automatic_owner_goes_on_when_nobody_was_in_between(
    a: Node, clock: Clock
) -> None:
    """With etcd away for longer than the lease: out, and in again with what it had."""
    a.mode = OwnershipMode.AUTOMATIC
    async with a.life():
        await a.until(OWNER)
        await a.shell.install(ue_request(1))
        await a.told()
        epoch = a.ownership.epoch
        a.etcd.fails = EtcdGone("cut off")
        await a.shell.install(ue_request(2))  # of which etcd will not have heard
        clock.advance(2.1)
        a.strike()
        await a.until(STANDBY)
        assert not a.sas
        clock.advance(30)
        a.etcd.fails = None
        await a.until(OWNER)
        assert len(a.sas) == 8
        assert len(a.associations) == 2
        assert a.ownership.epoch == epoch


def numbers_sent(node: Node) -> set[int]:
    """Behind which numbers its outbound SAs go on."""
    local = {a.sa_set.local_address for a in node.associations}
    return {
        s.replay.sent
        for i, s in node.tables.sas.items()
        if i.destination not in local and s.replay is not None
    }


async def test_owners_that_die_before_they_tell_anything_use_no_number_twice(
    a: Node, b: Node, store: FakeStore
) -> None:
    """RFC 4303 3.3.3: what a takeover wrote before it holds, whatever its owner wrote after."""
    await live_with_one_set(a)
    begun = set()
    kept = {k: v for k, v in store.keys.items() if "/counters/" in k}
    for number in range(4):
        node = (b, a)[number % 2]
        async with node.life():
            await node.cluster.operated.take_over(ENDPOINT, fenced=True)
            (start,) = numbers_sent(node)
            assert start not in begun
            begun.add(start)
            await node.told()
        # As if it had died before it could tell: its rows of counters are as before.
        for key in [k for k in store.keys if "/counters/" in k]:
            del store.keys[key]
        store.keys |= kept
        node.tables.sas.clear()
        node.tables.policies.clear()
        node.journal.rows.clear()
    assert min(begun) >= BLOCK
    assert len(begun) == 4


async def test_floors_that_do_not_open_let_nothing_go_on(
    a: Node, b: Node, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Which numbers were used is not known of any of them: they register again."""
    await live_with_one_set(a)
    async with b.life():
        await b.cluster.operated.take_over(ENDPOINT, fenced=True)
        assert len(b.sas) == 4
        await b.told()
    (key,) = (k for k in store.keys if "/floors/" in k)
    await FakeEtcd(store).transact([], [Put(key, b"spoilt")])
    async with a.life():
        report = await a.cluster.operated.take_over(ENDPOINT, fenced=True)
        assert report.restored == 0
        assert not a.sas
        assert report.lost == 1
        assert a.shell.shared.problem is not None
        assert "1 sets could not be taken over" in a.shell.shared.problem[0]
        assert f"floors/{ENDPOINT}/0 does not open" in caplog.text
        assert not [k for k in store.keys if f"/{ENDPOINT}/" in k and "ownership" not in k]
        await a.shell.install(ue_request(2))
        await a.told()
    async with b.life():
        report = await b.cluster.operated.take_over(ENDPOINT, fenced=True)
        assert (report.restored, report.lost) == (1, 0), "it is over with that takeover"


async def test_an_owner_tells_all_anew_to_an_etcd_that_went_back(
    a: Node, store: FakeStore
) -> None:
    """Rows of counters that a backup lacks are there again: they bound what was sent."""
    async with a.life():
        await a.until(OWNER)
        one = await a.shell.install(ue_request(1))
        a.cluster.leapt(one, 2)
        await a.told()
        key = a.cluster._keyspace.counter(ENDPOINT, one.id)
        assert key in store.keys
        del store.keys[key]
        a.cluster.population.compare(ENDPOINT)
        await a.told()
        stored = await a.cluster.store.of_endpoint(ENDPOINT)
        assert [r.counters.lives for r in stored.values() if r and r.counters] == [2]
