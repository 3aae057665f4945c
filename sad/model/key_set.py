"""Keys that two administrators agreed on: what ``ipsec-man`` makes a pair of SAs of.

RFC 3329 2.4 leaves their distribution open, 2.5 their lifetime: both come out of band.
"""

import dataclasses
import hashlib
import hmac
from dataclasses import dataclass, field

from netlink.model import SaKeys
from netlink.secret import Secret
from sad.model.endpoint import Role
from sad.model.sa_pair import Activation


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenKeys:
    """Keys as they were given: for both directions, or for each its own; None: not given."""

    integrity_key: Secret | None = None
    integrity_key_in: Secret | None = None
    integrity_key_out: Secret | None = None
    encryption_key: Secret | None = None
    encryption_key_in: Secret | None = None
    encryption_key_out: Secret | None = None

    def wipe(self) -> None:
        """Overwrite them with zeros."""
        for key in (
            self.integrity_key,
            self.integrity_key_in,
            self.integrity_key_out,
            self.encryption_key,
            self.encryption_key_in,
            self.encryption_key_out,
        ):
            if key is not None:
                key.wipe()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetDraft:
    """A key set as somebody wrote it: of the right shape, and not yet judged.

    ``origin`` says for people where it stands. Instants are seconds of the real-time clock.
    ``lasting`` is as in :class:`KeySet`.
    """

    origin: str
    name: str
    endpoint: str
    role: Role
    identity: str | None
    local_address: str | None
    peer_address: str | None
    spi_in: int
    spi_out: int
    local_ports: tuple[int, ...]
    peer_ports: tuple[int, ...]
    integrity_algorithm: str
    encryption_algorithm: str
    keys: GivenKeys = field(repr=False)
    not_before: float
    not_after: float
    activation: Activation
    lasting: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeySet:
    """A key set that was found good: one SA each way on exactly these ports.

    ``identity`` is what its association is listed under, and whom an ``Offer`` must name if the
    key set names one (``names_identity``). One that has no addresses (both are empty) gets them
    from the Offer of that identity (:meth:`between`). Valid from ``not_before`` on, to
    ``not_after`` and no longer (real-time seconds). ``lasting`` ones stand in a file, the others
    were given to a running daemon, which alone knows them.
    """

    origin: str
    name: str
    endpoint: str
    role: Role
    identity: str
    names_identity: bool
    local_address: str
    peer_address: str
    spi_in: int
    spi_out: int
    local_ports: tuple[int, ...]
    peer_ports: tuple[int, ...]
    integrity_algorithm: str
    encryption_algorithm: str
    keys_in: SaKeys = field(repr=False)
    keys_out: SaKeys = field(repr=False)
    not_before: float
    not_after: float
    activation: Activation
    lasting: bool = True

    @property
    def path(self) -> tuple[object, ...]:
        """What sets that follow one another have in common."""
        ends = (self.local_address, self.peer_address, self.local_ports, self.peer_ports)
        whose = "" if self.has_addresses else self.identity
        return (self.endpoint, self.role, *ends, whose)

    @property
    def has_addresses(self) -> bool:
        """Whether it says where its peer is."""
        return bool(self.peer_address)

    def between(self, local_address: str, peer_address: str) -> "KeySet":
        """Return it with these addresses if it has none of its own; the keys are shared."""
        if self.has_addresses:
            return self
        return dataclasses.replace(self, local_address=local_address, peer_address=peer_address)

    def valid_at(self, instant: float) -> bool:
        """Whether it may be used at an instant of the real-time clock."""
        return self.not_before <= instant < self.not_after

    @property
    def key_check(self) -> str:
        """What tells other keys from these and nothing else of them: a code that they make."""
        code = hmac.new(self.keys_in.integrity.reveal(), b"sad key set", hashlib.sha256)
        for keys in (self.keys_in, self.keys_out):
            for key in (keys.integrity, keys.encryption):
                code.update(len(key).to_bytes(2, "big"))
                code.update(key.reveal())
        return code.hexdigest()[:16]

    def wipe(self) -> None:
        """Overwrite its keys with zeros."""
        for keys in (self.keys_in, self.keys_out):
            keys.integrity.wipe()
            keys.encryption.wipe()


def same_key(one: Secret, other: Secret) -> bool:
    """Whether two keys are equal; takes as long for any two of one length."""
    return hmac.compare_digest(one.reveal(), other.reveal())
