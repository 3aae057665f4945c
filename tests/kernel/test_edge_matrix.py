"""The replacement matrix of TS 24.229 (norms section 12) at a real edge, as sequence charts.

Each step states the SAs that the kernel holds, by SPI, and the states that the daemon tells.
Rows 1, 5 and 7 are in test_edge_registration, row 6 in test_edge_refusals.
"""

import pytest

from tests.edge.world import EdgeWorld, within
from tests.support import eye
from tests.ue import home
from tests.ue.channel import Channel
from tests.ue.registration import Attempt
from tests.ue.security import SaSet
from tests.ue.ue import Ue

pytestmark = pytest.mark.asyncio(loop_scope="session")


def spis(world: EdgeWorld) -> set[int]:
    """Every SPI in the edge's kernel."""
    return {sa.spi for sa in eye.states(world.edge)}


def of(channel: Channel | None) -> set[int]:
    """The four SPIs of a UE's set."""
    assert channel is not None
    s: SaSet | None = channel.sa_set
    assert s is not None
    return {s.spi_uc, s.spi_us, s.spi_pc, s.spi_ps}


def states(world: EdgeWorld) -> list[str]:
    """States of all associations, sorted."""
    return sorted(a["state"] for a in world.daemon.associations())


async def challenged(ue: Ue) -> Attempt:
    """Send the first REGISTER; its 401 makes a temporary set on both sides."""
    attempt = await within(ue.begin())
    assert attempt.response.status == 401
    return attempt


async def test_edge_matrix_row_2_a_phone_that_has_lost_its_state(world: EdgeWorld) -> None:
    """T24-P-8: registered again in clear, the new set is in use and the old one goes at once."""
    before = await world.new_ue(51)
    await within(before.register())
    old = of(before.channel())
    assert (spis(world), states(world)) == (old, ["inUse"])
    await world.drop(before)  # the battery is taken out

    after = await world.new_ue(51)
    attempt = await challenged(after)
    new = of(attempt.channel)
    assert (spis(world), states(world)) == (old | new, ["inUse", "temporary"])
    await within(after.finish(attempt))
    assert (spis(world), states(world)) == (new, ["inUse"])
    world.assert_clean(after)


async def test_edge_matrix_rows_3_and_4_a_second_challenge(world: EdgeWorld) -> None:
    """T24-P-6, T24-P-8: a challenge on A replaces the earlier temporary set; A is kept and used.

    The answer on the last one establishes it; A still carries what the network sends.
    """
    ue = await world.new_ue(52)
    await within(ue.register())
    a = of(ue.channel())
    first = of((await challenged(ue)).channel)
    assert (spis(world), states(world)) == (a | first, ["inUse", "temporary"])
    attempt = await challenged(ue)
    second = of(attempt.channel)
    assert (spis(world), states(world)) == (a | second, ["inUse", "temporary"])

    await within(ue.finish(attempt))
    assert (spis(world), states(world)) == (a | second, ["established", "inUse"])
    await within(world.scscf.request_to(home.public_identity(52), "OPTIONS"))
    assert states(world) == ["established", "inUse"]  # it came on A
    await within(ue.message(home.public_identity(52), "row 5: the first request on the new set"))
    await within(ue.messages.get())
    assert states(world) == ["inUse", "retiring"]
    world.assert_clean(ue)


async def test_edge_matrix_a_third_set_ends_all_but_its_own(world: EdgeWorld) -> None:
    """Row 4, T24-P-8: of old, current and temporary set the oldest goes with the 200."""
    ue = await world.new_ue(53)
    await within(ue.register())
    a = of(ue.channel())
    await within(ue.register())
    b = of(ue.channel())
    assert (spis(world), states(world)) == (a | b, ["established", "inUse"])

    attempt = await challenged(ue)  # on B, before any request on it
    c = of(attempt.channel)
    assert spis(world) == a | b | c
    await within(ue.finish(attempt))
    assert spis(world) == b | c


async def test_edge_matrix_row_9_a_fourth_set(world: EdgeWorld) -> None:
    """T33-7.1-p3: six SAs per direction; the fourth set is refused, the three stay."""
    ue = await world.new_ue(54, port_us=15054)
    await within(ue.register())
    a = of(ue.channel())
    await world.drop(ue)
    attempts = []
    for number in range(2):
        again = await world.new_ue(54, port_us=15054)
        attempts.append((await challenged(again)).channel)
        held = a.union(*(of(channel) for channel in attempts))
        assert len(spis(world)) == len(held) == 8 + 4 * number
        await world.drop(again)
    fourth = await world.new_ue(54, port_us=15054)
    attempt = await within(fourth.begin())
    assert attempt.response.status == 503
    assert spis(world) == held
