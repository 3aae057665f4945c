"""Row 7: what an install costs in a kernel that fills, and where addresses would collide.

The rate is that of sets put on top of so many and taken away again, with C replay beside it: what
falls for both is the kernel's cache, what fell for one would be ours. The adversarial cases are
those of :mod:`tests.support.insert_cost`, of which the kernel's hash chains could grow long.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator
from typing import Final

from msgspec import structs

from netlink.kernel import KernelIpsec
from sad.model.association import Association
from sad.model.rules import Limits
from tests.bench.baselines import LIBRARY, Baselines
from tests.bench.contenders import AT_ONCE, InC, Product
from tests.bench.contest import Trial, contest
from tests.bench.figures import Curve, Figure, Row, summary
from tests.bench.sets import Sets, associations, layout_of
from tests.bench.world import World
from tests.support.insert_cost import EDGE, Case, cases

SETS: Final = 400
LEVELS: Final = (1_000, 5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000)
LOW, HIGH = 20_000, 100_000
C_REPLAY, NETLINK = "C replay", "netlink"
ADVERSARIAL: Final = 2000
TRIALS_OF_CASE: Final = 3
#: What is put on top lies beyond all that fills.
_ON_TOP: Final = 2_000_000


def rows(world: World) -> Iterator[Figure]:
    """Measure adversarial addresses in an empty kernel, then fill it."""
    baselines = Baselines(world.program(LIBRARY))
    for case in cases(world.population(ADVERSARIAL), Limits().max_sets_per_address_pair):
        yield asyncio.run(_adversarial(world, baselines, case))
    yield from _filling(world, baselines)


def _filling(world: World, baselines: Baselines) -> Iterator[Figure]:
    on_top = Sets.of(SETS, "null", first=_ON_TOP)
    contenders: dict[str, Trial] = {
        C_REPLAY: InC(on_top, baselines, "replay"),
        NETLINK: Product(on_top, baselines),
    }
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    rates: dict[int, dict[str, list[float]]] = {}
    filled = 0
    for level in LEVELS:
        wanted = world.population(level)
        asyncio.run(_fill(filled, wanted))
        filled = wanted
        world.say(f"{filled:,} registrations")
        rates[level] = contest(contenders, world.repeat, world.say)
        for name, got in rates[level].items():
            lines[name].append((filled / 1000, statistics.median(got) / 1000))
    low, high = rates[LOW], rates[HIGH]
    for name, number in ((NETLINK, 7), (C_REPLAY, 0)):
        (best_low, median_low), (best_high, median_high) = (
            summary(of[name], most=True) for of in (low, high)
        )
        yield Row(
            number=number,
            what=f"install rate of {name} at {world.population(HIGH):,} registrations "
            f"against {world.population(LOW):,}",
            layout=layout_of("null", SETS),
            unit="times",
            best=best_high / best_low,
            median=median_high / median_low,
            trials=world.repeat,
            at_least=0.70 if number else None,
        )
    yield Curve(
        name="population",
        title=f"Installs on top of a population ({world.lane})",
        across="thousand registrations in the kernel",
        up="thousand sets a second (median)",
        lines=lines,
    )


async def _fill(begin: int, end: int) -> None:
    """Install registrations of these numbers."""
    kernel = await KernelIpsec.open()
    try:
        for start in range(begin, end, 1000):
            sets = Sets.of(min(1000, end - start), "null", first=start)
            await _install(kernel, sets)
    finally:
        kernel.close()


async def _install(kernel: KernelIpsec, sets: Sets) -> None:
    for start in range(0, len(sets.installs), AT_ONCE):
        piece = sets.installs[start : start + AT_ONCE]
        for outcomes in await asyncio.gather(*map(kernel.commit, piece)):
            assert not any(outcomes), "the kernel refused a part of a set"


async def _adversarial(world: World, baselines: Baselines, case: Case) -> Row:
    """Row 7: install all of a case one by one; the last quarter against the first."""
    sets = Sets.planned(_placed(case), "null")
    removal = sets.removal_image()
    quarter = len(sets.installs) // 4
    ratios = []
    for _ in range(TRIALS_OF_CASE + 1):
        spans = []
        kernel = await KernelIpsec.open()
        for operations in sets.installs:
            begun = time.perf_counter()
            outcomes = await kernel.commit(operations)
            spans.append(time.perf_counter() - begun)
            assert not any(outcomes)
        kernel.close()
        baselines.replay(removal)
        ratios.append(statistics.median(spans[-quarter:]) / statistics.median(spans[:quarter]))
    counted = ratios[1:]  # the first one grew the kernel's tables
    world.say(f"{case.name}: {min(counted):.2f} times")
    best, median = summary(counted, most=False)
    return Row(
        number=7,
        what=f"insert of the last quarter against the first: {case.name}",
        layout=layout_of("null", len(sets.installs)),
        unit="times",
        best=best,
        median=median,
        trials=len(counted),
        at_most=1.5,
    )


def _placed(case: Case) -> list[Association]:
    """Return associations of user agents as the case has them; what is ours is drawn."""
    placed = []
    for number, one in enumerate(associations(case.size, "null")):
        address, port, spi = case.ue(number)
        s = structs.replace(
            one.sa_set,
            ue_address=address,
            pcscf_address=EDGE[6 if ":" in address else 4],
            port_uc=port,
            port_us=port + 1,
            spi_uc=spi,
            spi_us=spi + 1,
        )
        placed.append(structs.replace(one, ipsec_3gpp=s))
    return placed
