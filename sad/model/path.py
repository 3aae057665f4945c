"""What every mechanism's parameters tell of where an association runs."""

from typing import Protocol

from sad.model.endpoint import Role


class Path(Protocol):
    """The two ends of an association, seen from this node.

    Ports are in the order client, server where a side has both; the last one names the
    registration. SPIs are of SAs that this daemon owns; other mechanisms have none.
    """

    @property
    def role(self) -> Role:
        """Which side this node plays."""

    @property
    def local_address(self) -> str:
        """This node's address."""

    @property
    def peer_address(self) -> str:
        """The other side's address."""

    @property
    def local_ports(self) -> tuple[int, ...]:
        """Own ports, at least one."""

    @property
    def peer_ports(self) -> tuple[int, ...]:
        """The other side's ports, at least one."""

    @property
    def local_spis(self) -> tuple[int, ...]:
        """SPIs of inbound packets."""

    @property
    def peer_spis(self) -> tuple[int, ...]:
        """SPIs of outbound packets."""
