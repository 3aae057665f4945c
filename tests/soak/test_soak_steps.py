"""The daemon stopped, hung and restarted in each step of a registration."""

import pytest

from tests.edge import steps
from tests.edge.world import edge_world


@pytest.mark.timeout(1800)
async def test_soak_every_interference_in_every_step() -> None:
    """Design section 3: whatever happens to the daemon and when, nothing is lost or leaks."""
    async with edge_world(faulty=True, lifetimes="t1_milliseconds = 40\n") as world:
        for kind, interfere in enumerate((steps.stopped, steps.hung, steps.restarted)):
            for number, step in enumerate(steps.STEPS):
                await interfere(world, 100 + 10 * kind + number, step)
                await world.clean()
