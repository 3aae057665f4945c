"""Active and active: nodes with endpoints of their own share SPIs, limits, and what they see."""

from pathlib import Path

import pytest

from sad.config.cluster import ClusterSettings
from sad.model.cluster import OwnershipMode
from sad.model.errors import LimitExceeded, TakeoverRefused
from tests.cluster.fake import FakeEtcd, FakeStore
from tests.support.cluster_shell import ENDPOINT, OWNER, STANDBY, Node
from tests.support.shell import USER, Clock, release_of, ue_request, until


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> FakeStore:
    return FakeStore(clock.boottime)


def of_identity(number: int) -> str:
    return f"{number}@ims.example"


async def test_sets_of_an_identity_are_limited_at_all_nodes_together(
    store: FakeStore, clock: Clock, tmp_path: Path
) -> None:
    """Two at one node, a limit of three: one more at the other, and then no more anywhere."""
    a, b = (Node(name, FakeEtcd(store), clock, tmp_path, max_sets_per_identity=3) for name in "ab")
    a.endpoint, b.endpoint = "access-a", "access-b"
    a.mode = b.mode = OwnershipMode.FIXED
    async with a.life(), b.life():
        await a.until(OWNER)
        await b.until(OWNER)
        first = await a.shell.install(ue_request(1, endpoint="access-a"))
        identity = first.private_identity
        await a.shell.install(ue_request(7, endpoint="access-a", private_identity=identity))
        await until(lambda: b.cluster.identities.elsewhere(identity) == 2)
        await b.shell.install(ue_request(2, endpoint="access-b", private_identity=identity))
        with pytest.raises(LimitExceeded) as refused:
            await b.shell.install(ue_request(3, endpoint="access-b", private_identity=identity))
        assert refused.value.maximum == 3
        await b.shell.install(ue_request(4, endpoint="access-b"))  # of somebody else
        await a.shell.service.release(USER, release_of(first.id))
        await until(lambda: b.cluster.identities.elsewhere(identity) == 1)
        await b.shell.install(ue_request(3, endpoint="access-b", private_identity=identity))
        assert identity not in "".join(store.keys)


async def test_a_dead_nodes_sets_count_for_nothing(
    store: FakeStore, clock: Clock, tmp_path: Path
) -> None:
    """They go with its lease."""
    a, b = (Node(name, FakeEtcd(store), clock, tmp_path, max_sets_per_identity=1) for name in "ab")
    a.endpoint, b.endpoint = "access-a", "access-b"
    a.mode = b.mode = OwnershipMode.FIXED
    async with b.life():
        async with a.life():
            await a.until(OWNER)
            await a.shell.install(ue_request(1, endpoint="access-a"))
            await until(lambda: b.cluster.identities.elsewhere(of_identity(1)) == 1)
        await b.until(OWNER)
        with pytest.raises(LimitExceeded):
            await b.shell.install(ue_request(1, endpoint="access-b"))
        clock.advance(4)
        await until(lambda: b.cluster.identities.elsewhere(of_identity(1)) == 0)
        await b.shell.install(ue_request(1, endpoint="access-b"))


async def test_all_nodes_see_all_associations(
    store: FakeStore, clock: Clock, tmp_path: Path
) -> None:
    """With their owner and their end; a fixed endpoint is not taken by another node."""
    a, b = (Node(name, FakeEtcd(store), clock, tmp_path) for name in "ab")
    a.endpoint, b.endpoint = "access-a", "access-b"
    a.mode = b.mode = OwnershipMode.FIXED
    async with a.life(), b.life():
        await a.until(OWNER)
        await b.until(OWNER)
        of_a = await a.shell.install(ue_request(1, endpoint="access-a"))
        await b.shell.install(ue_request(2, endpoint="access-b"))
        await a.told()
        await b.told()
        found = await b.cluster.operated.associations()
        assert {(x.owner, x.association.endpoint) for x in found} == {
            ("a", "access-a"),
            ("b", "access-b"),
        }
        (seen,) = [x for x in found if x.association.id == of_a.id]
        assert seen.expires_at == pytest.approx(clock.realtime() + 240)
        await until(lambda: len(b.cluster.status().nodes) == 2)


async def test_two_fixed_endpoints_of_one_name_are_told(
    store: FakeStore, clock: Clock, tmp_path: Path
) -> None:
    """Names of endpoints are the whole cluster's."""
    a, b = (Node(name, FakeEtcd(store), clock, tmp_path) for name in "ab")
    a.mode = b.mode = OwnershipMode.FIXED
    async with a.life():
        await a.until(OWNER)
        async with b.life():
            assert b.state is STANDBY
            with pytest.raises(TakeoverRefused, match="rename"):
                await b.cluster.operated.take_over(ENDPOINT, fenced=True)


def test_shares_of_a_range_are_its_parts() -> None:
    """Without a gap and without an overlap."""
    settings = [
        ClusterSettings(spi_share=f"{number}/3").part_of((65536, 65536 + 1000))
        for number in (1, 2, 3)
    ]
    assert settings == [(65536, 65868), (65869, 66201), (66202, 66536)]
    assert ClusterSettings().part_of((1, 2)) == (1, 2)


@pytest.mark.parametrize("share", ["", "0/2", "3/2", "1", "a/b", "1/2/3"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(ValueError, match="no share"):
        ClusterSettings(spi_share=share)
