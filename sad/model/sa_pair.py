"""The parameters of one manually keyed pair of SAs (``ipsec-man``)."""

import enum

from msgspec import Struct

from sad.model.endpoint import Role


class Activation(enum.StrEnum):
    """When the SAs of a key set are made."""

    ALWAYS = "always"
    """As soon as it is valid."""
    AGREEMENT = "agreement"
    """When the peer has agreed on ``ipsec-man``, by ``Offer``."""


class SaPairParameters(Struct, frozen=True, kw_only=True, gc=False):
    """One SA each way between two nodes, for all pairs of the listed ports (RFC 3329 2.4).

    ``spi_in`` is the SPI of packets to this node. Algorithms are RFC 3329 names. ``key_set`` is
    the name under which the keys were handed over out of band, ``key_check`` tells other keys
    from them, and ``lasting`` says that they stand in a file (:class:`sad.model.key_set.KeySet`).
    With ``activation`` agreement it ends with a registration, too.
    """

    role: Role
    local_address: str
    peer_address: str
    spi_in: int
    spi_out: int
    local_ports: tuple[int, ...]
    peer_ports: tuple[int, ...]
    integrity_algorithm: str
    encryption_algorithm: str
    key_set: str
    key_check: str = ""
    lasting: bool = True
    activation: Activation = Activation.ALWAYS

    @property
    def local_spis(self) -> tuple[int, ...]:
        """The SPI of inbound packets."""
        return (self.spi_in,)

    @property
    def peer_spis(self) -> tuple[int, ...]:
        """The SPI of outbound packets."""
        return (self.spi_out,)
