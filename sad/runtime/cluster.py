"""What the shell asks of a cluster; :mod:`sad.cluster` answers, and here who is alone."""

from typing import Protocol

from netlink.secret import Secret
from sad.model.association import Association
from sad.model.cluster import ClusterStatus


class ClusterPort(Protocol):
    """The cluster of this node."""

    def require(self, endpoint: str) -> None:
        """Raise NotOwner unless sets may be installed on an endpoint at this instant."""

    def require_room(self, private_identity: str) -> None:
        """Raise LimitExceeded if an identity has too many sets at all nodes together."""

    def seal_keys(
        self, association: Association, integrity_key: Secret, cipher_key: Secret | None
    ) -> None:
        """Keep the keys of a set that is about to be installed, sealed; they are not wiped."""

    def leapt(self, association: Association, lives: int) -> None:
        """Hear that SAs of a set were made again here, in which of its lives."""

    def status(self) -> ClusterStatus | None:
        """Return this node's place in it; None: it is alone."""


class Alone:
    """A node without a cluster owns everything."""

    def require(self, endpoint: str) -> None:
        """Let it be."""

    def require_room(self, private_identity: str) -> None:
        """Let it be."""

    def seal_keys(
        self, association: Association, integrity_key: Secret, cipher_key: Secret | None
    ) -> None:
        """Keep nothing."""

    def leapt(self, association: Association, lives: int) -> None:
        """Nobody else needs to know."""

    def status(self) -> ClusterStatus | None:
        """Return None."""
        return None
