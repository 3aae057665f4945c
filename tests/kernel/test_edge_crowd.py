"""A small crowd at a real edge; ``make soak`` has five hundred."""

import pytest

from tests.edge.crowd import run_crowd
from tests.edge.world import EdgeWorld

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_edge_crowd_registers_calls_and_leaves(world: EdgeWorld) -> None:
    """T33-7.1-g, T24-D-1: UEs register, call and leave; kernel, journal and list are empty."""
    print(await run_crowd(world, 30))
