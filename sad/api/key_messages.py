"""Key sets in ``org.sipsad.Control``: inputs and outputs, a part of :mod:`sad.api.messages`."""

from typing import Annotated, TypeAlias

from msgspec import Meta

from sad.api.wire import Address, HexKey, Identity, Int, Message, Word
from sad.model.endpoint import Role
from sad.model.key_requests import KeyState
from sad.model.sa_pair import Activation

Ports: TypeAlias = Annotated[tuple[Int, ...], Meta(max_length=64)]


class Key(Message, frozen=True, kw_only=True):
    """A key set without its keys; instants in real-time microseconds."""

    name: str
    origin: str
    state: KeyState
    association: str | None
    endpoint: str
    role: Role
    identity: str
    local_address: str
    peer_address: str
    spi_in: Int
    spi_out: Int
    local_ports: tuple[Int, ...]
    peer_ports: tuple[Int, ...]
    integrity_algorithm: str
    encryption_algorithm: str
    not_before: Int
    not_after: Int
    activation: Activation


class KeyMaterial(Message, frozen=True, kw_only=True):
    """Keys in hex digits. It does not print."""

    integrity_key: HexKey | None = None
    integrity_key_in: HexKey | None = None
    integrity_key_out: HexKey | None = None
    encryption_key: HexKey | None = None
    encryption_key_in: HexKey | None = None
    encryption_key_out: HexKey | None = None

    def __repr__(self) -> str:
        return "KeyMaterial(hidden)"


class KeyProblem(Message, frozen=True, kw_only=True):
    """What is wrong in a key file, and where."""

    origin: str
    key: str
    reason: str
    hint: str


class AddKeyIn(Message, frozen=True, kw_only=True):
    """A key set."""

    name: Word
    endpoint: Word
    role: Role | None = None
    identity: Identity | None = None
    local_address: Address | None = None
    peer_address: Address | None = None
    spi_in: Int
    spi_out: Int
    local_ports: Ports
    peer_ports: Ports
    integrity_algorithm: Word
    encryption_algorithm: Word
    keys: KeyMaterial
    not_before: Int
    not_after: Int
    activation: Activation | None = None


class AddKeyOut(Message, frozen=True, kw_only=True):
    """The set as it is held."""

    key: Key


class RotateKeyIn(Message, frozen=True, kw_only=True):
    """The successor of a set."""

    name: Word
    new_name: Word
    spi_in: Int
    spi_out: Int
    keys: KeyMaterial
    not_before: Int | None = None
    not_after: Int


class RotateKeyOut(Message, frozen=True, kw_only=True):
    """The successor as it is held."""

    key: Key


class RemoveKeyIn(Message, frozen=True, kw_only=True):
    """Which set."""

    name: Word


class RemoveKeyOut(Message, frozen=True, kw_only=True):
    """Nothing."""


class ListKeysIn(Message, frozen=True, kw_only=True):
    """Nothing."""


class ListKeysOut(Message, frozen=True, kw_only=True):
    """All key sets, and what is none."""

    keys: tuple[Key, ...]
    problems: tuple[KeyProblem, ...]
