"""Packets of VICI, by the codec of the ``vici`` package; lengths are :mod:`sad.vici.connection`'s.

Values are bytes in charon's answers and text, numbers or bytes in requests; sections are
dictionaries, lists are lists.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vici.exception import DeserializationException
from vici.protocol import Message as _Codec
from vici.protocol import Packet as _Packet

from sad.vici.errors import BadMessage

#: A message as charon has it.
Message = Mapping[str, Any]

#: The longest packet that charon sends or takes (VICI: 512 KB).
LONGEST: Final = 512 * 1024
LENGTH: Final = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a command."""

    message: Message


@dataclass(frozen=True, slots=True)
class Event:
    """Something that charon tells."""

    name: str
    message: Message


@dataclass(frozen=True, slots=True)
class Registered:
    """An event is registered, or is no more."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Charon does not know the command or the event: it is older, or lacks a plugin."""


Reply = Response | Event | Registered | Unknown


def request(command: str, message: Message | None = None) -> bytes:
    """Return the packet of a command."""
    return bytes(_Packet.request(command, _Codec.serialize(dict(message or {}))))


def register(event: str) -> bytes:
    """Return the packet that has an event told on this connection."""
    return bytes(_Packet.register_event(event))


def unregister(event: str) -> bytes:
    """Return the packet that ends it. An event that is registered twice is told twice."""
    return bytes(_Packet.unregister_event(event))


def framed(packet: bytes) -> bytes:
    """Return a packet with its length before it."""
    return LENGTH.pack(len(packet)) + packet


def parse(packet: bytes) -> Reply:
    """Read a packet of charon; raise BadMessage if it is none."""
    try:
        parsed = _Packet.parse(packet)
        match parsed.response_type:
            case _Packet.CMD_RESPONSE:
                return Response(_Codec.deserialize(parsed.payload))
            case _Packet.EVENT:
                return Event(parsed.event_type.decode(), _Codec.deserialize(parsed.payload))
            case _Packet.EVENT_CONFIRM:
                return Registered()
            case _Packet.CMD_UNKNOWN | _Packet.EVENT_UNKNOWN:
                return Unknown()
    except (DeserializationException, struct.error, UnicodeDecodeError, ValueError) as error:
        raise BadMessage(f"not VICI: {type(error).__name__}") from error
    raise BadMessage(f"not VICI: packet of kind {parsed.response_type}")
