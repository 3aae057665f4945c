"""What :mod:`tests.support.kernel_contract` works with: a world, and short words for it."""

from collections.abc import Iterable
from typing import Protocol

from netlink.errors import KernelError
from netlink.interface import Kernel
from netlink.model import (
    CurrentLifetime,
    KernelEvent,
    MoveLifetime,
    Operation,
    SaExpired,
    SecurityAssociation,
)
from tests.support.xfrm_values import OWNER

FOREIGN_OWNER = 0x0BAD_CAFE


class World(Protocol):
    """One network namespace with two programs in it, ours and somebody else's."""

    kernel: Kernel
    foreign: Kernel

    @property
    def events(self) -> list[KernelEvent]:
        """Every notice so far."""

    def now(self) -> float:
        """Return the seconds of the clock that the kernel's limits compare with."""

    async def wait_for(self, event: KernelEvent) -> None:
        """Let time pass until the event has come; fail after some tens of seconds."""


def names(outcomes: Iterable[KernelError | None]) -> list[str]:
    return ["" if outcome is None else outcome.name for outcome in outcomes]


async def applied(kernel: Kernel, *operations: Operation) -> None:
    """Commit what must succeed."""
    outcomes = await kernel.commit(operations)
    assert names(outcomes) == [""] * len(operations), outcomes


async def spis(kernel: Kernel) -> list[int]:
    return sorted(sa.id.spi for sa in await kernel.dump_sas())


def expired(sa: SecurityAssociation) -> SaExpired:
    return SaExpired(sa.id, OWNER, hard=True)


def moved(sa: SecurityAssociation, add_time: int, packets: int = 0) -> MoveLifetime:
    current = CurrentLifetime(bytes=100 * packets, packets=packets, add_time=add_time, use_time=0)
    return MoveLifetime(id=sa.id, source=sa.source, reqid=sa.reqid, current=current)
