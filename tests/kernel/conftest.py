"""What the tests of :mod:`netlink` on a real kernel share."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.edge.world import EdgeWorld, edge_world
from tests.support.namespaces import Namespace
from tests.support.xfrm_world import XfrmWorld, xfrm_world

# Shared suites whose failures should say what was compared.
pytest.register_assert_rewrite("tests.support.contract_world", "tests.support.kernel_contract")


@pytest.fixture
async def xfrm(netns: Callable[[str], Namespace]) -> AsyncIterator[XfrmWorld]:
    """Give a fresh network namespace with a kernel face and a listener."""
    async with xfrm_world(netns("xfrm")) as world:
        yield world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_world() -> AsyncIterator[EdgeWorld]:
    """Give the one edge with a real Kamailio that all its tests share: it is dear to start."""
    async with edge_world(faulty=True, lifetimes="t1_milliseconds = 40\n") as built:
        yield built


@pytest_asyncio.fixture(loop_scope="session")
async def world(shared_world: EdgeWorld) -> AsyncIterator[EdgeWorld]:
    """Give the shared edge with nothing left of the tests before."""
    yield shared_world
    await shared_world.clean()
