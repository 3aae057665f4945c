"""A node dies and its phones go on through the other; what lies in etcd tells nobody a key.

``make soak`` plays the same with a thousand phones, a hundred times, and with three members.
"""

from collections.abc import Iterator

import pytest

from tests.cluster import plays
from tests.cluster.world import ClusterWorld, cluster_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterWorld]:
    with cluster_world(tmp_path_factory.mktemp("cluster")) as built:
        yield built


def test_cluster_phones_of_a_killed_node_get_through_the_other(world: ClusterWorld) -> None:
    """SIGKILL: the same sets, at most the window's messages lost, no replay, no forgery."""
    print(plays.sigkill(world, phones=30, rate=60.0))


def test_cluster_no_key_is_readable_in_etcd(world: ClusterWorld) -> None:
    """Searched as bytes, hex and Base64, beside controls that are found."""
    print(plays.search_etcd(world, world.b))
