"""Which module measures which rows, and where: the one list that the command goes by.

A module here has ``rows(world: World) -> Iterator[Row | Curve]`` and nothing else that is asked.
A new one is a file and an entry.
"""

import enum
from dataclasses import dataclass
from typing import Final


class Where(enum.StrEnum):
    """What kernel a module needs."""

    ESP = "esp"
    """One with ESP: the lane of :mod:`tests.lane`, the host's own kernel or User-mode Linux."""
    HERE = "here"
    """This one, in fresh namespaces; no SA can be installed where it has no ESP."""
    QEMU = "qemu"
    """Debian's own kernel in QEMU (:mod:`tests.bench.qemu`), where this machine can have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One module of tests.bench. ``memory`` is that of its guest; ``programs`` are C sources.

    ``maps`` is the ``vm.max_map_count`` without which User-mode Linux, which maps each page by
    itself, runs out of memory on it (0: the kernel's own is enough).
    """

    module: str
    rows: tuple[int, ...]
    what: str
    where: tuple[Where, ...] = (Where.ESP,)
    memory: str = "2048M"
    maps: int = 0
    programs: tuple[str, ...] = ()


FAMILIES: Final = (
    Family(
        module="install",
        rows=(1, 2),
        what="whole sets into the kernel, against C, iproute2 and pyroute2",
        where=(Where.ESP, Where.QEMU),
        programs=("libbaseline",),
    ),
    Family(
        module="registrations",
        rows=(3, 5),
        what="registrations through the socket, and how long a SIP worker waits",
        programs=("libbaseline", "load"),
    ),
    Family(
        module="refresh",
        rows=(6,),
        what="lifetimes moved by NEWAE, against UPDSA",
        programs=("libbaseline",),
    ),
    Family(
        module="filling",
        rows=(7,),
        what="rates while the kernel fills to 100 000 registrations, and adversarial addresses",
        memory="4096M",
        programs=("libbaseline",),
    ),
    Family(
        module="notices",
        rows=(12,),
        what="draining the kernel's notices, policies only",
        where=(Where.HERE,),
        programs=("libbaseline",),
    ),
    Family(
        module="agreement",
        rows=(0,),
        what="how long reading a header and choosing takes",
        where=(Where.HERE,),
    ),
    Family(
        module="own_cpu",
        rows=(4,),
        what="the daemon's own work for a registration",
        where=(Where.HERE,),
    ),
    Family(
        module="latency",
        rows=(10,),
        what="how long an Offer waits under load",
        where=(Where.HERE,),
    ),
    Family(
        module="listing",
        rows=(13,),
        what="sadctl list of 100 000",
        where=(Where.HERE,),
    ),
    Family(
        module="population",
        rows=(8, 9, 11),
        what="very many registrations: start, memory, and their end at one instant",
        memory="8192M",
        maps=4_194_304,
    ),
    Family(
        module="counters",
        rows=(0,),
        what="sequence numbers of 100 000 SAs, by notices and by dumps",
    ),
    Family(
        module="replication",
        rows=(0,),
        what="registrations of a node in a cluster, beside one that is alone",
    ),
    Family(
        module="connections",
        rows=(0,),
        what="TLS connections bound and ended, beside ss -K",
        where=(Where.HERE,),
    ),
)


def chosen(rows: frozenset[int], modules: frozenset[str]) -> tuple[Family, ...]:
    """Return the families that measure these rows or are named; all when nothing is."""
    if not rows and not modules:
        return FAMILIES
    return tuple(f for f in FAMILIES if rows & frozenset(f.rows) or f.module in modules)
