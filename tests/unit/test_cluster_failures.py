"""What goes wrong with etcd: gone, full, compacted, restored from a backup, answers lost."""

import asyncio
import base64
from pathlib import Path

import pytest

from netlink.secret import Secret
from sad.cluster.keyspace import Keyspace
from sad.cluster.ports import EtcdFull, EtcdGone
from sad.model.cluster import EtcdState, OwnershipMode, OwnershipState
from sad.model.errors import NotOwner, TakeoverRefused
from sad.store.sealing_key import RecordsUnusable
from tests.cluster.fake import FakeEtcd, FakeStore
from tests.support.cluster_shell import ENDPOINT, KEY, OWNER, STANDBY, Node
from tests.support.make import CK, IK
from tests.support.shell import USER, Clock, grant_of, release_of, ue_request, until

GONE = EtcdGone("cut off", "look at it")
KEYS = Keyspace("edge")


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


def rows(store: FakeStore, what: str) -> set[str]:
    """The ids of which etcd has a row."""
    prefix = f"{KEYS.root}{what}/{ENDPOINT}/"
    return {key.removeprefix(prefix) for key in store.keys if key.startswith(prefix)}


async def test_a_manual_owner_serves_on_without_etcd_and_catches_up(
    a: Node, store: FakeStore
) -> None:
    """Sets come, are confirmed and end meanwhile; then etcd knows the last of it, once."""
    async with a.life():
        await a.until(OWNER)
        early = await a.shell.install(ue_request(1))
        await a.told()
        a.etcd.fails = GONE
        await a.until(OwnershipState.UNSURE)
        late = await a.shell.install(ue_request(2))
        await a.shell.service.confirm(USER, grant_of(late.id, 600))
        await a.shell.service.release(USER, release_of(early.id))
        status = a.cluster.status()
        assert (status.etcd, status.etcd_hint) == (EtcdState.GONE, "look at it")
        assert status.waiting == 2
        a.clock.advance(7)
        assert a.cluster.status().lag_seconds == pytest.approx(7)
        assert rows(store, "associations") == {early.id}

        a.etcd.fails = None
        await a.told()
        await a.until(OWNER)
        assert rows(store, "associations") == rows(store, "keys") == {late.id}
        assert a.cluster.status().etcd is EtcdState.WELL


async def test_what_does_not_fit_into_the_queue_is_compared(a: Node, store: FakeStore) -> None:
    """A queue of 10 and 30 sets: nobody waits, and etcd has all of them in the end."""
    async with a.life():
        await a.until(OWNER)
        a.cluster.replicator._queue.limit = 10
        gone = await a.shell.install(ue_request(5000))
        await a.told()
        a.etcd.fails = GONE
        for number in range(30):
            await a.shell.install(ue_request(number))
        await a.shell.service.release(USER, release_of(gone.id))
        status = a.cluster.status()
        assert status.waiting == 10
        assert status.compare_wanted == (ENDPOINT,)
        a.etcd.fails = None
        await a.told()
        assert rows(store, "associations") == {x.id for x in a.associations}
        assert gone.id not in rows(store, "associations")


async def test_a_full_etcd_is_told_and_served_through(a: Node, store: FakeStore) -> None:
    """NOSPACE: the owner stays owner; as soon as there is room etcd knows all."""
    async with a.life():
        await a.until(OWNER)
        a.etcd.writes_fail = EtcdFull("over its quota", "compact it")
        installed = await a.shell.install(ue_request(1))
        await until(lambda: a.cluster.status().etcd is EtcdState.FULL)
        assert a.cluster.status().etcd_hint == "compact it"
        assert a.cluster.node.machine.may_serve(ENDPOINT)
        a.etcd.writes_fail = None
        await a.told()
        assert rows(store, "associations") == {installed.id}
        await until(lambda: a.cluster.status().etcd is EtcdState.WELL)


async def test_a_backup_that_was_restored_is_seen_and_written_anew(
    a: Node, b: Node, store: FakeStore
) -> None:
    """The owner claims again and tells all; the standby that owned it long ago stays one."""
    async with a.life(), b.life():
        await a.until(OWNER)
        await b.cluster.operated.take_over(ENDPOINT, fenced=False)
        backup = store.copy()  # of a time when b was the owner
        await a.cluster.operated.take_over(ENDPOINT, fenced=False)
        installed = [await a.shell.install(ue_request(n)) for n in range(3)]
        await a.told()

        store.restore(backup)
        await store.wake()

        await until(lambda: rows(store, "associations") == {x.id for x in installed})
        assert store.keys[KEYS.owner(ENDPOINT)].value == b"a"
        assert (a.state, b.state) == (OWNER, STANDBY)
        assert not b.sas
        assert "backup" in (a.shell.shared.problem or ("",))[0]
        await until(lambda: b.ownership.seen.owner == "a")
        await b.cluster.operated.take_over(ENDPOINT, fenced=False)
        assert len(b.associations) == 3


async def test_a_compacted_watch_is_begun_anew(a: Node, b: Node, store: FakeStore) -> None:
    """What follows the compaction is heard all the same."""
    async with a.life(), b.life():
        await a.until(OWNER)
        store.compact()
        await store.wake()
        await b.cluster.operated.take_over(ENDPOINT, fenced=False)
        assert (a.state, b.state) == (STANDBY, OWNER)


async def test_a_claim_whose_answer_is_lost_is_not_made_twice(a: Node, store: FakeStore) -> None:
    """The claim was done, the answer never came: the node finds itself owner."""
    a.has_address = False
    async with a.life():
        a.etcd.after = GONE
        task = asyncio.ensure_future(a.cluster.operated.take_over(ENDPOINT, fenced=False))
        await a.until(OWNER)
        await task
        assert store.keys[KEYS.owner(ENDPOINT)].value == b"a"
        await a.shell.install(ue_request(1))
        await a.told()
        assert len(rows(store, "associations")) == 1


async def test_a_revoked_lease_ends_service_at_once(a: Node, b: Node, store: FakeStore) -> None:
    """Another may begin from now on, whatever time the owner thought it had."""
    a.mode = b.mode = OwnershipMode.AUTOMATIC
    async with a.life(), b.life():
        await a.until(OWNER)
        await a.shell.install(ue_request(1))
        await a.told()
        lease = store.keys[KEYS.held(ENDPOINT)].lease
        store.end(lease)
        await store.wake()
        await b.until(OWNER)
        await a.until(STANDBY)
        assert not a.sas
        assert len(b.sas) == 4


async def test_a_start_without_etcd_serves_what_was_this_nodes(a: Node) -> None:
    """Manual: from its own state. Automatic: not before etcd says so.

    And then without the set that etcd had not been told of when the daemon died.
    """
    async with a.life():
        await a.until(OWNER)
        installed = await a.shell.install(ue_request(1))
        await a.told()
    a.etcd.fails = GONE
    async with a.life():
        assert a.state is OwnershipState.UNSURE
        assert [x.id for x in a.associations] == [installed.id]
        assert not a.is_blocked
        await a.shell.install(ue_request(2))
    a.mode = OwnershipMode.AUTOMATIC
    async with a.life():
        assert (a.state, a.is_blocked, a.sas) == (STANDBY, True, set())
        with pytest.raises(NotOwner):
            await a.shell.install(ue_request(3))
        a.etcd.fails = None
        await a.until(OWNER)
        assert {x.id for x in a.associations} == {installed.id} == set(a.journal.rows)


async def test_a_new_node_without_etcd_serves_nothing(b: Node) -> None:
    """It never was the owner: nothing of the endpoint passes."""
    b.has_address = True
    b.etcd.fails = GONE
    async with b.life():
        assert (b.state, b.is_blocked) == (STANDBY, True)
        with pytest.raises(NotOwner):
            await b.shell.install(ue_request(1))


async def test_an_owner_that_does_not_answer_is_not_robbed(
    a: Node, store: FakeStore, clock: Clock, tmp_path: Path
) -> None:
    """Without --fenced the takeover is refused, and says what to do; the owner stays owner."""
    b = Node("b", FakeEtcd(store), clock, tmp_path, takeover_seconds=0.5)
    async with a.life(), b.life():
        await a.until(OWNER)
        await a.shell.install(ue_request(1))
        a.etcd.fails = GONE
        with pytest.raises(TakeoverRefused, match="--fenced") as refused:
            await b.cluster.operated.take_over(ENDPOINT, fenced=False)
        assert refused.value.owner == "a"
        a.etcd.fails = None
        await a.until(OWNER)
        await until(lambda: KEYS.asked(ENDPOINT) not in store.keys)
        assert len(a.sas) == 4
        assert not b.sas


async def test_a_fenced_node_writes_nothing(a: Node, b: Node, store: FakeStore) -> None:
    """It does not know yet that it has lost it; its writes are refused, then it yields."""
    async with a.life(), b.life():
        await a.until(OWNER)
        await a.shell.install(ue_request(1))
        await a.told()
        a.etcd.fails = GONE
        await b.cluster.operated.take_over(ENDPOINT, fenced=True)
        await a.shell.install(ue_request(2))  # cut off, and serving
        await b.told()
        before = dict(store.keys)
        a.etcd.fails = None
        await a.until(STANDBY)
        assert not a.sas
        changed = {k for k in store.keys if store.keys[k] != before.get(k)}
        assert not {k for k in changed if f"/{ENDPOINT}/" in k and "ownership" not in k}
        assert len(b.associations) == 1


async def test_no_key_is_readable_in_etcd(a: Node, store: FakeStore) -> None:
    """Neither IK nor CK, as bytes, hex or base64; nor who it is of (positive control: the id)."""
    async with a.life():
        await a.until(OWNER)
        installed = await a.shell.install(ue_request(1))
        await a.told()
    kept = b"".join(k.encode() + v.value for k, v in store.keys.items())
    assert installed.id.encode() in kept
    for secret in (IK, CK):
        for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
            assert form not in kept
    assert installed.private_identity.encode() not in kept


async def test_the_sealing_key_is_changed_while_all_nodes_run(
    a: Node, b: Node, store: FakeStore
) -> None:
    """First all can open the new one, then all write it; a set of before goes over, too."""
    new = Secret(bytes(range(100, 132)))
    async with a.life(), b.life():
        await a.until(OWNER)
        await a.shell.install(ue_request(1))
        await a.told()
    for keys in ([KEY, new], [new, KEY]):
        for node in (a, b):
            node.keys = keys
            async with node.life():
                if node is a:
                    await a.until(OWNER)
                    await a.told()
    a.keys = b.keys = [new]
    async with a.life(), b.life():
        await a.until(OWNER)
        await b.cluster.operated.take_over(ENDPOINT, fenced=False)
        assert len(b.associations) == 1


async def test_a_node_with_another_key_does_not_start(a: Node, b: Node) -> None:
    """It would find every record shut."""
    async with a.life():
        await a.until(OWNER)
    b.keys = [Secret(bytes(32))]
    with pytest.raises(RecordsUnusable, match="another key"):
        async with b.life():
            pass
