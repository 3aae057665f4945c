"""Where the sequence numbers and the counters of an SA stand. Pure.

The kernel says it in two ways: beside each SA of a dump, and in the notices of the group AEVENTS
(NEWAE). What one has read here is what another node goes on from (:class:`~netlink.model.AddSa`
with ``replay`` and ``current``). Of a dump nothing but identity and numbers is decoded: keys are
stepped over unread, as in :mod:`netlink.decode`.
"""

import struct
from dataclasses import dataclass
from typing import Final

from netlink import decode
from netlink.model import CurrentLifetime, ReplayState, SaId
from netlink.uapi import AF_INET, AF_INET6, XFRM_MSG_NEWAE, XFRMA_LTIME_VAL
from netlink.walk import Buffer, MalformedMessage, Message, attribute, require

_SA_SIZE: Final = 224
_SA: Final = struct.Struct("=56x16s4sB3x16x64x4Q12x4x4xH10x")  # of userpolicy_info what is read
_AEVENT_SIZE: Final = 48
_AEVENT: Final = struct.Struct("=16s4sHB")  # struct xfrm_aevent_id begins with an identity
_LIFETIME: Final = struct.Struct("=4Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedCounters:
    """Where one SA stood when the kernel said so."""

    id: SaId
    replay: ReplayState
    current: CurrentLifetime


def of_sa(buffer: Buffer, start: int, end: int) -> ObservedCounters | None:
    """Decode them out of an SA of a dump; None for families without a word here."""
    require(start, end, _SA_SIZE)
    destination, spi, protocol, *counts, family = _SA.unpack_from(buffer, start)
    return _observed((destination, spi, protocol, family), counts, buffer, (start + _SA_SIZE, end))


def of_notice(buffer: Buffer, message: Message) -> ObservedCounters | None:
    """Decode a notice of the group AEVENTS; None for all others."""
    read = NOTICES.get(message.type)
    return read and read(buffer, message.start, message.end, message.port_id)


def _of_event(buffer: Buffer, start: int, end: int, _port_id: int) -> ObservedCounters | None:
    require(start, end, _AEVENT_SIZE)
    destination, spi, family, protocol = _AEVENT.unpack_from(buffer, start)
    at = attribute(buffer, start + _AEVENT_SIZE, end, XFRMA_LTIME_VAL, _LIFETIME.size)
    if at is None:
        raise MalformedMessage("a NEWAE notice without the counters of its SA")
    counts = list(_LIFETIME.unpack_from(buffer, at[0]))
    return _observed(
        (destination, spi, protocol, family), counts, buffer, (start + _AEVENT_SIZE, end)
    )


#: What reads which message, as in :mod:`netlink.decode_events`.
NOTICES: Final = {XFRM_MSG_NEWAE: _of_event}


def _observed(
    identity: tuple[bytes, bytes, int, int],
    counts: list[int],
    buffer: Buffer,
    attributes: tuple[int, int],
) -> ObservedCounters | None:
    destination, spi, protocol, family = identity
    if family not in (AF_INET, AF_INET6):
        return None
    replay = decode.replay_of(buffer, *attributes)
    if replay is None:
        raise MalformedMessage("an SA without its sequence numbers")
    byte_count, packets, add_time, use_time = counts
    return ObservedCounters(
        id=SaId(decode.address_of(destination, family), int.from_bytes(spi, "big"), protocol),
        replay=replay,
        current=CurrentLifetime(
            bytes=byte_count, packets=packets, add_time=add_time, use_time=use_time
        ),
    )
