"""Where messages travel: addresses with ports, flows, and the idea of a way to a peer.

Pure. The counterpart of :mod:`tests.ue.transport`, which gives these words sockets.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tests.ue.headers import host_text


class HostPort(NamedTuple):
    """An address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{host_text(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Flow:
    """Where a message travelled; ``transport`` is UDP or TCP, ``local`` our end."""

    transport: str
    local: HostPort
    remote: HostPort

    def __str__(self) -> str:
        return f"{self.transport} {self.local}<->{self.remote}"


class Hop(Protocol):
    """A way to send messages to one peer."""

    @property
    def flow(self) -> Flow:
        """The flow on which sent messages travel."""

    def send(self, data: bytes) -> None:
        """Send one message; raises ConnectionError when the way is gone."""

    def answers(self, flow: Flow) -> bool:
        """Whether a response on ``flow`` can belong to a request sent here."""
