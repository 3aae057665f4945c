"""Row 6: the lifetime of a set moved by NEWAE, against UPDSA, which needs a throw-away SA each.

The limit is for what the kernel does: the product's own messages, replayed. How much of it is left
when each set is awaited by a caller of its own is told beside it.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from netlink.kernel import KernelIpsec
from netlink.model import AddSa, CurrentLifetime, MoveLifetime, Operation, ShortenSa
from tests.bench.baselines import LIBRARY, Baselines, Image
from tests.bench.contenders import AT_ONCE
from tests.bench.contest import contest, ratio_row
from tests.bench.figures import Row
from tests.bench.sets import Sets, layout_of
from tests.bench.world import World

SETS: Final = 400
NEWAE, UPDSA, C_NEWAE, C_UPDSA = "NEWAE", "UPDSA", "NEWAE in C", "UPDSA in C"
LEAST: Final = {"null": 5.0, "cbc": 7.0}


def rows(world: World) -> Iterator[Row]:
    """Refresh the same sets again and again, with each cipher."""
    baselines = Baselines(world.program(LIBRARY))
    for cipher in ("null", "cbc"):
        sets = Sets.of(SETS, cipher)
        baselines.replay(Image.of(sets.installs))
        moves, updates = _refreshes(sets.installs)
        rates = contest(
            {
                NEWAE: partial(_committed, moves),
                UPDSA: partial(_committed, updates),
                C_NEWAE: partial(baselines.replay, Image.of(moves)),
                C_UPDSA: partial(baselines.replay, Image.of(updates)),
            },
            world.repeat,
            world.say,
        )
        baselines.replay(sets.removal_image())
        layout = f"limits of 4 SAs, {layout_of(cipher, SETS)}"
        for one, other, how, least in (
            (C_NEWAE, C_UPDSA, "the same messages replayed from C", LEAST[cipher]),
            (NEWAE, UPDSA, "each set awaited by a caller of its own", None),
        ):
            yield ratio_row(
                rates,
                one,
                other,
                number=6,
                what=f"refresh by NEWAE against UPDSA, {how}",
                layout=layout,
                unit="times",
                at_least=least,
            )


def _refreshes(
    installs: Sequence[Sequence[Operation]],
) -> tuple[list[Sequence[Operation]], list[Sequence[Operation]]]:
    """Return what moves the limits of each set, both ways."""
    now = int(time.time())
    sas = [[o.sa for o in one if isinstance(o, AddSa)] for one in installs]
    current = CurrentLifetime(bytes=0, packets=0, add_time=now, use_time=0)
    moves = [
        tuple(
            MoveLifetime(id=sa.id, source=sa.source, reqid=sa.reqid, current=current) for sa in one
        )
        for one in sas
    ]
    return list(moves), [tuple(map(ShortenSa, one)) for one in sas]


def _committed(sets: Sequence[Sequence[Operation]]) -> float:
    return asyncio.run(_commit(sets))


async def _commit(sets: Sequence[Sequence[Operation]]) -> float:
    """Commit for each set; return sets a second."""
    kernel = await KernelIpsec.open()
    try:
        begun = time.perf_counter()
        for start in range(0, len(sets), AT_ONCE):
            for outcomes in await asyncio.gather(
                *map(kernel.commit, sets[start : start + AT_ONCE])
            ):
                assert not any(outcomes), "the kernel refused a refresh"
        return len(sets) / (time.perf_counter() - begun)
    finally:
        kernel.close()
