"""Associations of ``ipsec-ike`` that outlive the settings of their endpoint; real strongSwan."""

from collections.abc import Iterator

import pytest

from tests.ike.edge import Edge
from tests.support.daemon import PATIENCE, wait_until


@pytest.fixture
def edge(shared_edge: Edge) -> Iterator[Edge]:
    """Give it with its settings as they were, and nothing left of the tests before."""
    before = shared_edge.daemon.config.read_text()
    yield shared_edge
    shared_edge.daemon.stop()
    shared_edge.daemon.config.write_text(before)
    shared_edge.daemon.start()
    shared_edge.clean()


def test_ike_association_is_followed_when_no_endpoint_has_ike_any_more(edge: Edge) -> None:
    """R3329-2.5: it stays over the restart, and ends with its charon as it would have before."""
    association_id = edge.established()
    edge.daemon.stop()
    kept, _, _ = edge.daemon.config.read_text().partition("[endpoint.ike]")
    edge.daemon.config.write_text(kept.replace('"ipsec-ike;q=0.4", ', ""))
    edge.daemon.start()
    assert edge.state(association_id) == "established"
    edge.world.edge.stop()
    try:
        edge.wait_state(association_id, "ended", PATIENCE)
        wait_until(lambda: (edge.esp(), edge.templates()) == (0, 0), "the kernel is clean")
    finally:
        edge.world.edge.start()
