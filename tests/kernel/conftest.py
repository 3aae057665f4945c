"""What the tests of :mod:`netlink` on a real kernel share."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.namespaces import Namespace
from tests.support.xfrm_world import XfrmWorld, xfrm_world

# Shared suites whose failures should say what was compared.
pytest.register_assert_rewrite("tests.support.contract_world", "tests.support.kernel_contract")


@pytest.fixture
async def xfrm(netns: Callable[[str], Namespace]) -> AsyncIterator[XfrmWorld]:
    """Give a fresh network namespace with a kernel face and a listener."""
    async with xfrm_world(netns("xfrm")) as world:
        yield world
