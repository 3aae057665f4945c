"""etcd, the real one and the fake of the tests: one contract; and what goes wrong with it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from netlink.secret import Secret
from sad.cluster.etcd import EtcdAddress, GrpcEtcd
from sad.cluster.ports import EtcdFull, EtcdGone, EtcdRefused, Put, Unchanged
from tests.cluster.contract import EtcdContract, World
from tests.cluster.fake import FakeEtcd, FakeStore
from tests.cluster.server import Cluster, etcd

_numbers = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[GrpcEtcd]:
    made = GrpcEtcd(EtcdAddress(members=cluster.targets, timeout_seconds=30.0))
    yield made
    await made.close()


class TestRealEtcd(EtcdContract):
    """Debian's etcd."""

    @pytest.fixture
    def world(self, cluster: Cluster, client: GrpcEtcd) -> World:
        async def outlive(seconds: float) -> None:
            await asyncio.sleep(seconds)

        async def compact() -> None:
            revision = (await client.read("/")).header.revision
            await asyncio.to_thread(cluster.ctl, "compact", str(revision))

        return World(client, f"/contract/{next(_numbers)}/", outlive, compact)


class TestFakeEtcd(EtcdContract):
    """The one in memory."""

    @pytest.fixture
    def world(self) -> World:
        now = 1000.0
        store = FakeStore(lambda: now)

        async def outlive(seconds: float) -> None:
            nonlocal now
            now += seconds + 0.001
            assert store.expire()
            await store.wake()

        async def compact() -> None:
            store.compact()

        return World(FakeEtcd(store), "/contract/", outlive, compact)


async def test_a_member_that_is_gone_is_told_and_the_next_one_is_asked(cluster: Cluster) -> None:
    """The call to a dead member fails as EtcdGone; the following one goes to another."""
    dead = "127.0.0.1:1"
    made = GrpcEtcd(EtcdAddress(members=(dead, *cluster.targets), timeout_seconds=30.0))
    with pytest.raises(EtcdGone, match=dead) as raised:
        await made.read("/nobody/")
    assert "majority" in raised.value.hint
    assert (await made.read("/nobody/")).found == ()
    await made.close()


async def test_a_silent_member_is_given_up_after_the_time_of_a_call(cluster: Cluster) -> None:
    """A member that takes the connection and does not answer: EtcdGone, and it may come back."""
    patient, made = (
        GrpcEtcd(EtcdAddress(members=cluster.targets, timeout_seconds=seconds))
        for seconds in (60.0, 0.5)
    )
    lease, _ = await patient.grant(600)
    cluster.members[0].freeze()
    try:
        for call in (made.read("/x/"), made.renew(lease), made.transact([], [Put("/x/y", b"")])):
            with pytest.raises(EtcdGone):
                await call
    finally:
        cluster.members[0].thaw()
    assert await patient.renew(lease) == 600
    await made.close()
    await patient.close()


async def test_a_full_etcd_is_told_by_its_name_and_goes_on_when_there_is_room(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """NOSPACE: EtcdFull with the way out; reads and renewals go on meanwhile."""
    with etcd(tmp_path_factory.mktemp("small"), more=["--quota-backend-bytes=1000000"]) as small:
        made = GrpcEtcd(EtcdAddress(members=small.targets, timeout_seconds=30.0))
        lease, _ = await made.grant(600)
        with pytest.raises(EtcdFull) as raised:
            for number in range(100):
                await made.transact([], [Put(f"/fill/{number}", bytes(100_000))])
        assert "compact" in raised.value.hint
        assert await made.renew(lease) == 600
        page = await made.read("/fill/", keys_only=True)
        assert page.found
        await made.close()


async def test_etcd_with_users_wants_the_right_password(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Without a user, and with a wrong password: EtcdRefused; with the right one it works."""
    with etcd(tmp_path_factory.mktemp("users")) as guarded:
        for words in (
            ("user", "add", "root:toor"),
            ("user", "grant-role", "root", "root"),
            ("role", "add", "sad"),
            ("role", "grant-permission", "--prefix=true", "sad", "readwrite", "/sad/"),
            ("user", "add", "edge:right"),
            ("user", "grant-role", "edge", "sad"),
            ("auth", "enable"),
        ):
            await asyncio.to_thread(guarded.ctl, *words)

        def made(user: str = "", password: str = "") -> GrpcEtcd:
            return GrpcEtcd(
                EtcdAddress(
                    members=guarded.targets,
                    timeout_seconds=30.0,
                    user=user,
                    password=Secret(password.encode()) if password else None,
                )
            )

        for refused in (made(), made("edge", "wrong")):
            with pytest.raises(EtcdRefused):
                await refused.read("/sad/")
            await refused.close()
        edge = made("edge", "right")
        assert (await edge.transact([Unchanged("/sad/a", 0)], [Put("/sad/a", b"1")])).succeeded
        with pytest.raises(EtcdRefused):
            await edge.read("/elsewhere/")
        assert "right" not in repr(edge._address)
        await edge.close()
