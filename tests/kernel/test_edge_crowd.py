"""Many UEs at one real edge: they register, call and leave, and nothing remains."""

import asyncio
import statistics

import pytest

from tests.edge.world import EdgeWorld, within
from tests.ue.transaction import Timers
from tests.ue.ue import Ue

pytestmark = pytest.mark.asyncio(loop_scope="session")

CROWD = 500
AT_ONCE = 8


async def test_edge_crowd_registers_calls_and_leaves(world: EdgeWorld) -> None:
    """500 UEs register, call and leave; at the end kernel, journal and sadctl list are empty.

    Also prints how long a worker of Kamailio is blocked for each entry of the hook.
    """
    (world.hook_folder / "times").write_text("")
    ues: list[Ue] = []
    for number in range(1001, 1001 + CROWD):
        address = f"10.20.{1 + number // 200}.{1 + number % 200}"
        world.own_address(address)
        ues.append(await world.new_ue(number, address=address, port=5060, timers=Timers(t1=4.0)))
    gate = asyncio.Semaphore(AT_ONCE)

    async def register(ue: Ue) -> None:
        async with gate:
            assert (await within(ue.register(), 300)).status == 200

    async def call(caller: Ue, callee: Ue) -> None:
        async with gate:
            placed = await within(caller.call(callee.config.public_identity), 300)
            await within(callee.calls.get(), 300)
            assert (await within(placed.bye(), 300)).status == 200

    async def leave(ue: Ue) -> None:
        async with gate:
            assert (await within(ue.deregister(), 300)).status == 200

    await asyncio.gather(*map(register, ues))
    assert len(world.daemon.associations()) == CROWD
    assert world.states() == 4 * CROWD
    await asyncio.gather(*(call(a, b) for a, b in zip(ues[0::2], ues[1::2], strict=True)))
    await asyncio.gather(*map(leave, ues))
    await world.gone()
    assert world.daemon.sadctl("list").strip() == "no associations"
    assert world.journal_rows() == 0
    world.assert_clean(*ues)
    await world.drop(*ues)
    for name, times in sorted(world.blocked().items()):
        times.sort()
        p99 = times[int(len(times) * 0.99)]
        print(
            f"worker blocked in {name}: p50 {statistics.median(times) * 1e3:.2f} ms, "
            f"p99 {p99 * 1e3:.2f} ms, n {len(times)}"
        )
