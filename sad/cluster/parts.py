"""What the shell of the cluster is made of, as values and protocols."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sad.model.cluster import OwnershipMode


class Clock(Protocol):
    """CLOCK_BOOTTIME."""

    def boottime(self) -> float:
        """Return it in seconds."""


class Clocks(Clock, Protocol):
    """Both clocks."""

    def realtime(self) -> float:
        """Return the real-time clock in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Spans in seconds; ``modes`` are the endpoints of this node in the cluster."""

    cluster: str
    node: str
    modes: Mapping[str, OwnershipMode]
    lease: int
    margin: float


class Timer(Protocol):
    """Calls back at an instant."""

    def arm(self, at: float | None) -> None:
        """Fire at a second of CLOCK_BOOTTIME; None: not at all."""


class Sets(Protocol):
    """The sets of endpoints in this node's kernel (:class:`sad.cluster.population.Population`)."""

    async def block(self, endpoint: str) -> None:
        """Let no packet of an endpoint pass any more: one commit."""

    async def open(self, endpoint: str) -> None:
        """Let its packets pass again."""

    async def put_in(self, endpoint: str, *, set_aside: bool, may: Callable[[], bool]) -> None:
        """Put its sets into the kernel, as long as ``may`` says so. Raises EtcdError, Fenced."""

    async def take_out(self, endpoint: str, *, give: bool) -> None:
        """Take them out and set them aside; with ``give`` etcd is told all before."""

    def forget(self, endpoint: str) -> None:
        """Forget what was set aside."""

    def compare(self, endpoint: str) -> None:
        """Have etcd told all of an endpoint anew."""
