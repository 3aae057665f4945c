"""What a set looks like in etcd: the bodies of its rows, before they are sealed.

Deadlines of ours are of one machine's CLOCK_BOOTTIME; here they are real-time seconds. A node
whose wall clock is ahead ends a set that it has taken over so much earlier, one whose clock is
behind so much later, which the peer does not mind: its own lifetime is over.
"""

import dataclasses
import struct
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import structs

from netlink.secret import Secret
from sad.model.association import Association
from sad.model.cluster import CounterSnapshot
from sad.model.key_record import KeyRecord
from sad.model.rules import Lifetimes

ASSOCIATIONS: Final = "associations"
KEYS: Final = "keys"
COUNTERS: Final = "counters"
FLOORS: Final = "floors"

_COUNTERS_HEAD: Final = struct.Struct(">dIBB")  # read_at, lives, how many sent, how many received
_FLOORS_HEAD: Final = struct.Struct(">d")  # read_at of all
_FLOOR: Final = struct.Struct(">IB")  # lives, length of the id behind it
_KEYS_HEAD: Final = struct.Struct(">B")  # length of IK


class Unreadable(Exception):
    """A body that this version cannot read."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """The same instant on both clocks, in seconds."""

    boottime: float
    realtime: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRecord:
    """An association with its ends in real-time seconds; in ``association`` they mean nothing.

    ``written_at`` is the owner's wall clock when it was sealed: nothing was sent on the set since
    then that no snapshot or this instant bounds.
    """

    association: Association
    expires_at: float
    granted_until: float | None
    written_at: float
    node: str


def record_of(association: Association, node: str, at: Instant) -> AssociationRecord:
    """Return the record of an association at this instant."""
    ahead = at.realtime - at.boottime
    granted = association.granted_until
    return AssociationRecord(
        association=structs.replace(
            association, deadline_at=0.0, policies_until=0.0, granted_until=None
        ),
        expires_at=association.deadline_at + ahead,
        granted_until=None if granted is None else granted + ahead,
        written_at=at.realtime,
        node=node,
    )


def association_of(record: AssociationRecord, lifetimes: Lifetimes, at: Instant) -> Association:
    """Return the association as this node has it; its policies are to be written now."""
    ahead = at.realtime - at.boottime
    granted = record.granted_until
    return structs.replace(
        record.association,
        deadline_at=record.expires_at - ahead,
        policies_until=at.boottime + lifetimes.policies,
        granted_until=None if granted is None else granted - ahead,
    )


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(AssociationRecord)


def encode_association(record: AssociationRecord) -> bytes:
    """Return the body of a row."""
    return _encoder.encode(record)


def decode_association(body: bytes) -> AssociationRecord:
    """Return the record of a body. Raises Unreadable."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unreadable(type(error).__name__) from None


def encode_keys(integrity_key: Secret, cipher_key: Secret | None) -> bytearray:
    """Return the body of a row; the caller overwrites it."""
    body = bytearray(_KEYS_HEAD.pack(len(integrity_key)))
    body += integrity_key.reveal()
    if cipher_key is not None:
        body += cipher_key.reveal()
    return body


def decode_keys(body: bytes) -> KeyRecord:
    """Return the keys of a body; the caller wipes them. Raises Unreadable."""
    if not body or len(body) <= (size := body[0]):
        raise Unreadable("too short")
    keys = body[_KEYS_HEAD.size :]
    cipher = keys[size:]
    return KeyRecord(
        integrity_key=Secret(keys[:size]), cipher_key=Secret(cipher) if cipher else None
    )


def encode_counters(snapshot: CounterSnapshot) -> bytes:
    """Return the body of a row; its id is the association's."""
    numbers = (*snapshot.sent, *snapshot.received)
    head = _COUNTERS_HEAD.pack(
        snapshot.read_at, snapshot.lives, len(snapshot.sent), len(snapshot.received)
    )
    return head + struct.pack(f">{len(numbers)}Q", *numbers)


def decode_counters(association_id: str, body: bytes) -> CounterSnapshot:
    """Return the snapshot of a body. Raises Unreadable."""
    try:
        read_at, lives, sent, received = _COUNTERS_HEAD.unpack_from(body)
        numbers = struct.unpack(f">{sent + received}Q", body[_COUNTERS_HEAD.size :])
    except struct.error:
        raise Unreadable("of another length") from None
    return CounterSnapshot(
        association_id=association_id,
        read_at=read_at,
        sent=numbers[:sent],
        received=numbers[sent:],
        lives=lives,
    )


def encode_floors(read_at: float, lives: Mapping[str, int]) -> bytes:
    """Return the body of a row: the ``lives`` of many sets, by id, as of one instant."""
    parts = [_FLOORS_HEAD.pack(read_at)]
    for association_id, number in lives.items():
        name = association_id.encode()
        parts += [_FLOOR.pack(number, len(name)), name]
    return b"".join(parts)


def decode_floors(body: bytes) -> tuple[float, dict[str, int]]:
    """Return what :func:`encode_floors` was given. Raises Unreadable."""
    try:
        (read_at,) = _FLOORS_HEAD.unpack_from(body)
        lives: dict[str, int] = {}
        at = _FLOORS_HEAD.size
        while at < len(body):
            number, size = _FLOOR.unpack_from(body, at)
            at += _FLOOR.size + size
            if at > len(body):
                raise Unreadable("too short")
            lives[body[at - size : at].decode()] = number
    except (struct.error, UnicodeDecodeError):
        raise Unreadable("of another form") from None
    return read_at, lives
