"""Rows 1 and 2: whole sets into the kernel by ``netlink/``, against C and what others do."""

from collections.abc import Iterator
from typing import Final

from tests.bench.baselines import LIBRARY, Baselines
from tests.bench.contenders import InC, IpBatch, Product, Pyroute2
from tests.bench.contest import contest, ratio_row
from tests.bench.figures import Row
from tests.bench.sets import Sets, layout_of
from tests.bench.world import World

#: Sets of one trial; of contenders so slow that a tenth of a second is a few sets.
SETS: Final = 240
OF_SLOW: Final = 8
#: Where everything is translated and takes ten times as long.
SETS_IN_QEMU, OF_SLOW_IN_QEMU = 96, 2

C_REPLAY, NETLINK, ACKNOWLEDGED, UNREAD = "C replay", "netlink", "C send+ack", "Kamailio's way"
IP, PYROUTE2 = "ip -batch", "pyroute2"


def rows(world: World) -> Iterator[Row]:
    """Install with each cipher, all contenders by turns."""
    baselines = Baselines(world.program(LIBRARY))
    for cipher in ("null", "cbc"):
        yield from _of_cipher(world, baselines, cipher)


def _of_cipher(world: World, baselines: Baselines, cipher: str) -> Iterator[Row]:
    count = SETS_IN_QEMU if world.lane == "qemu" else SETS
    slow = OF_SLOW_IN_QEMU if world.lane == "qemu" else OF_SLOW
    many, few = Sets.of(count, cipher), Sets.of(slow, cipher)
    rates = contest(
        {
            C_REPLAY: InC(many, baselines, "replay"),
            NETLINK: Product(many, baselines),
            ACKNOWLEDGED: InC(many, baselines, "acknowledged"),
            UNREAD: InC(many, baselines, "unread"),
            IP: IpBatch(few, world.folder),
            PYROUTE2: Pyroute2(few, baselines),
        },
        world.repeat,
        world.say,
    )
    layout = layout_of(cipher, count)
    emulated = world.lane == "uml"
    gated = cipher == "null" or not emulated  # UML's time for AES is too rough for a limit
    yield ratio_row(
        rates,
        NETLINK,
        C_REPLAY,
        number=1,
        what="whole sets by netlink/, every error mapped, against C replay",
        layout=layout,
        unit="of C replay",
        at_least=0.80 if gated else None,
        median_at_least=0.65 if gated else None,
        stretch="0.90 / 0.80",
    )
    for other, in_uml, elsewhere in ((ACKNOWLEDGED, 4.0, 1.15), (UNREAD, 2.0, 1.25)):
        yield ratio_row(
            rates,
            NETLINK,
            other,
            number=2,
            what=f"the same against {other}",
            layout=layout,
            unit="times",
            at_least=(in_uml if emulated else elsewhere) if gated else None,
        )
    for other in (IP, PYROUTE2):
        yield ratio_row(
            rates,
            NETLINK,
            other,
            number=0,
            what=f"whole sets by netlink/ against {other}",
            layout=layout,
            unit="times",
        )
