"""What the tests of :mod:`netlink` on a real kernel share."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.edge.agreeing_ue import AgreeingUe
from tests.edge.agreement_world import AgreementWorld, agreement_world
from tests.edge.world import EdgeWorld, edge_world
from tests.ike.edge import Edge
from tests.ike.world import RealWorld
from tests.ike.world import two_charons as _two_charons
from tests.support.namespaces import Namespace
from tests.support.xfrm_world import XfrmWorld, xfrm_world

# Shared suites whose failures should say what was compared.
pytest.register_assert_rewrite(
    "tests.support.contract_world", "tests.support.kernel_contract", "tests.ike.contract"
)


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


@pytest.fixture(scope="session")
def first_hop() -> Iterator[AgreementWorld]:
    """Give the one first hop of profile rfc3329, with a real Kamailio, that its tests share."""
    with agreement_world() as built:
        yield built


@pytest.fixture
def alice(first_hop: AgreementWorld) -> Iterator[AgreeingUe]:
    """Give a phone at that first hop that knows tls, too."""
    with first_hop.ue("alice", offers="tls, digest") as ue:
        yield ue


@pytest.fixture
def bob(first_hop: AgreementWorld) -> Iterator[AgreeingUe]:
    """Give another phone that is registered."""
    with first_hop.ue("bob") as ue:
        ue.register()
        yield ue
    first_hop.kamailio.rpc("ul.rm", "location", "bob")


@pytest.fixture(scope="session")
def two_charons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealWorld]:
    """Give the two charons that the tests of ipsec-ike share."""
    with _two_charons(tmp_path_factory.mktemp("charons")) as built:
        yield built


@pytest.fixture(scope="session")
def shared_edge(two_charons: RealWorld) -> Iterator[Edge]:
    """Give the one daemon of ipsec-ike, where Kamailio's user finds it: it is dear to start."""
    folder = Path(tempfile.mkdtemp(prefix="ike-", dir="/run"))
    folder.chmod(0o755)
    made = Edge(two_charons, folder)
    made.daemon.start()
    yield made
    made.daemon.stop()
    shutil.rmtree(folder, ignore_errors=True)
