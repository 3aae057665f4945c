"""Many UEs at one real edge: they register, call and leave, and nothing remains."""

import asyncio
import itertools
import resource
import time
from statistics import median

from tests.edge.world import EdgeWorld, within
from tests.ue.transaction import Timers
from tests.ue.ue import Ue

_AT_ONCE = 8
_PATIENCE = 300.0


async def run_crowd(world: EdgeWorld, size: int) -> str:
    """Have ``size`` UEs register, call and leave; assert that nothing remains.

    Returns what it took, and how long Kamailio's workers are blocked for a registration.
    """
    allowed = 64 + 16 * size  # descriptors: each UE has its own ports
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, max(allowed, 4096)))
    (world.hook_folder / "times").write_text("")
    ues: list[Ue] = []
    for number in range(1001, 1001 + size):
        address = f"10.20.{1 + number // 200}.{1 + number % 200}"
        world.own_address(address)
        ues.append(await world.new_ue(number, address=address, port=5060, timers=Timers(t1=4.0)))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def register(ue: Ue) -> None:
        async with gate:
            assert (await within(ue.register(), _PATIENCE)).status == 200

    async def call(caller: Ue, callee: Ue) -> None:
        async with gate:
            placed = await within(caller.call(callee.config.public_identity), _PATIENCE)
            await within(callee.calls.get(), _PATIENCE)
            assert (await within(placed.bye(), _PATIENCE)).status == 200

    async def leave(ue: Ue) -> None:
        async with gate:
            assert (await within(ue.deregister(), _PATIENCE)).status == 200

    times = [time.monotonic()]
    await asyncio.gather(*map(register, ues))
    times.append(time.monotonic())
    assert len(world.daemon.associations()) == size
    assert world.states() == 4 * size
    await asyncio.gather(*(call(a, b) for a, b in zip(ues[0::2], ues[1::2], strict=True)))
    times.append(time.monotonic())
    await asyncio.gather(*map(leave, ues))
    times.append(time.monotonic())
    await world.gone()
    assert world.daemon.sadctl("list") == ""
    assert world.journal_rows() == 0
    world.assert_clean(*ues)
    spans = [later - sooner for sooner, later in itertools.pairwise(times)]
    words = (
        f"{size} UEs: registered in {spans[0]:.0f} s, {size // 2} calls in {spans[1]:.0f} s, "
        f"left in {spans[2]:.0f} s; nothing remains"
    )
    return f"{words}\n{blocked(world)}"


def blocked(world: EdgeWorld) -> str:
    """Say how long Kamailio's workers are blocked for one registration."""
    times = world.blocked()
    p99 = times[int(len(times) * 0.99)]
    return (
        f"a worker of Kamailio is blocked per registration: p50 {median(times) * 1e3:.1f} ms, "
        f"p99 {p99 * 1e3:.1f} ms ({len(times)} registrations)"
    )
