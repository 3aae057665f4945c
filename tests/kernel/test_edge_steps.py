"""The daemon stopped, hung and restarted in a registration; make soak has all in all steps."""

import pytest

from tests.edge import steps
from tests.edge.world import EdgeWorld

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("step", steps.STEPS)
async def test_edge_steps_daemon_stopped(world: EdgeWorld, step: str) -> None:
    """Design section 3: SIGKILL in one step; refused or carried on, and made good by its start."""
    await steps.stopped(world, 61 + steps.STEPS.index(step), step)


async def test_edge_steps_daemon_hangs(world: EdgeWorld) -> None:
    """Design section 3: SIGSTOP costs a time-out, not a worker; what it was told late is done."""
    await steps.hung(world, 71, "Confirm")


async def test_edge_steps_daemon_restarted(world: EdgeWorld) -> None:
    """Design section 3: SIGKILL and start between 401 and answer: the new daemon verifies."""
    await steps.restarted(world, 81, "Verify")
