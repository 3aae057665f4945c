"""Five hundred UEs at one real edge."""

from collections.abc import Callable

import pytest

from tests.edge.crowd import run_crowd
from tests.edge.world import edge_world


@pytest.mark.timeout(1800)
async def test_soak_five_hundred_register_call_and_leave(
    say: Callable[[str], None],
) -> None:
    """T33-7.1-g, T24-D-1: at the end kernel, journal and ``sadctl list`` are empty."""
    async with edge_world(faulty=True, lifetimes="t1_milliseconds = 40\n") as world:
        say(await run_crowd(world, 500))
