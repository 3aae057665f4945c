"""The kernel's notices of SAs, policies, expiry and NAT mappings, by a header walk.

A notice is read as a dump is (:mod:`netlink.decode`), but only what it is about: a mass expiry
brings hundreds of thousands, and nothing but identity and owner is asked of them.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from netlink.decode import (
    DIRECTIONS,
    FAMILIES,
    POLICY_SIZE,
    SA_SIZE,
    address_of,
    replay_of,
)
from netlink.model import (
    KernelEvent,
    NatMapping,
    PolicyAdded,
    PolicyDeleted,
    PolicyExpired,
    PolicyId,
    SaAdded,
    SaDeleted,
    SadFlushed,
    SaExpired,
    SaId,
    Selector,
    SpdFlushed,
)
from netlink.uapi import (
    XFRM_MSG_DELPOLICY,
    XFRM_MSG_DELSA,
    XFRM_MSG_EXPIRE,
    XFRM_MSG_FLUSHPOLICY,
    XFRM_MSG_FLUSHSA,
    XFRM_MSG_MAPPING,
    XFRM_MSG_NEWPOLICY,
    XFRM_MSG_NEWSA,
    XFRM_MSG_POLEXPIRE,
    XFRM_MSG_UPDPOLICY,
    XFRM_MSG_UPDSA,
    XFRMA_POLICY,
    XFRMA_SA,
)
from netlink.walk import Buffer, MalformedMessage, Message, attribute, require

_SA_TAG: Final = struct.Struct("=52xI16s4sB135xH")  # owner, identity and family of usersa_info
_MAPPING: Final = struct.Struct("=16s4sHBx4x16x16s2x2s")
_POLICY_TAG: Final = struct.Struct(
    "=16s16s8sHBBB7xI104xB"
)  # selector and direction of policy_info
_PORTS: Final = struct.Struct(">HHHH")
_NO_PORTS: Final = bytes(8)
_SA_ID_SIZE: Final = 24
_POLICY_ID_SIZE: Final = 64

#: Named tuples made of tuples: their classes would call a function of Python's for each.
_selector: Final = cast("Callable[[tuple[Any, ...]], Selector]", partial(tuple.__new__, Selector))
_identity: Final = cast("Callable[[tuple[Any, ...]], PolicyId]", partial(tuple.__new__, PolicyId))


def event(buffer: Buffer, message: Message) -> KernelEvent | None:
    """Decode a notice of the groups SA, POLICY, EXPIRE and MAPPING; None for all others."""
    kind, _, _, port_id, start, end = message
    read = NOTICES.get(kind)
    return None if read is None else read(buffer, start, end, port_id)


def _sa_added(buffer: Buffer, start: int, end: int, port_id: int) -> SaAdded | None:
    tag = _sa_tag(buffer, start, end)
    return SaAdded(*tag, port_id) if tag else None


def _sa_deleted(buffer: Buffer, start: int, end: int, port_id: int) -> SaDeleted | None:
    at = attribute(buffer, start + _SA_ID_SIZE, end, XFRMA_SA, SA_SIZE)
    if at is None:
        raise MalformedMessage("a DELSA notice without its SA")
    tag = _sa_tag(buffer, *at)
    if tag is None:
        return None
    return SaDeleted(*tag, port_id, replay_of(buffer, start + _SA_ID_SIZE, end))


def _sa_expired(buffer: Buffer, start: int, end: int, _port_id: int) -> SaExpired | None:
    require(start, end, SA_SIZE + 1)
    tag = _sa_tag(buffer, start, end)
    return SaExpired(*tag, bool(buffer[start + SA_SIZE])) if tag else None


def _policy_added(buffer: Buffer, start: int, end: int, port_id: int) -> PolicyAdded | None:
    policy_id = _policy_id(buffer, start, end)
    return PolicyAdded(policy_id, port_id) if policy_id else None


def _policy_deleted(buffer: Buffer, start: int, end: int, port_id: int) -> PolicyDeleted | None:
    # The head holds the selector or the index, as it was asked for; the attribute both.
    at = attribute(buffer, start + _POLICY_ID_SIZE, end, XFRMA_POLICY, POLICY_SIZE)
    if at is None:
        raise MalformedMessage("a DELPOLICY notice without its policy")
    policy_id = _policy_id(buffer, *at)
    return PolicyDeleted(policy_id, port_id) if policy_id else None


def _policy_expired(buffer: Buffer, start: int, end: int, _port_id: int) -> PolicyExpired | None:
    require(start, end, POLICY_SIZE + 1)
    policy_id = _policy_id(buffer, start, end)
    return PolicyExpired(policy_id, bool(buffer[start + POLICY_SIZE])) if policy_id else None


def _sad_flushed(buffer: Buffer, start: int, end: int, port_id: int) -> SadFlushed:
    require(start, end, 1)
    return SadFlushed(buffer[start], port_id)


def _spd_flushed(_buffer: Buffer, _start: int, _end: int, port_id: int) -> SpdFlushed:
    return SpdFlushed(port_id)


def _mapping(buffer: Buffer, start: int, end: int, _port_id: int) -> NatMapping | None:
    """Decode ``struct xfrm_user_mapping``."""
    require(start, end, _MAPPING.size)
    destination, spi, family, protocol, address, port = _MAPPING.unpack_from(buffer, start)
    if family not in FAMILIES:
        return None
    return NatMapping(
        id=SaId(address_of(destination, family), int.from_bytes(spi, "big"), protocol),
        address=address_of(address, family),
        port=int.from_bytes(port, "big"),
    )


#: What reads which message: from where to where its body lies, and whose port caused it.
NOTICES: Final[dict[int, Callable[[Buffer, int, int, int], KernelEvent | None]]] = {
    XFRM_MSG_NEWSA: _sa_added,
    XFRM_MSG_UPDSA: _sa_added,
    XFRM_MSG_DELSA: _sa_deleted,
    XFRM_MSG_EXPIRE: _sa_expired,
    XFRM_MSG_NEWPOLICY: _policy_added,
    XFRM_MSG_UPDPOLICY: _policy_added,
    XFRM_MSG_DELPOLICY: _policy_deleted,
    XFRM_MSG_POLEXPIRE: _policy_expired,
    XFRM_MSG_FLUSHSA: _sad_flushed,
    XFRM_MSG_FLUSHPOLICY: _spd_flushed,
    XFRM_MSG_MAPPING: _mapping,
}


def _sa_tag(buffer: Buffer, start: int, end: int) -> tuple[SaId, int] | None:
    """Return identity and owner of ``struct xfrm_usersa_info``."""
    require(start, end, SA_SIZE)
    owner, destination, spi, protocol, family = _SA_TAG.unpack_from(buffer, start)
    if family not in FAMILIES:
        return None
    return SaId(address_of(destination, family), int.from_bytes(spi, "big"), protocol), owner


def _policy_id(buffer: Buffer, start: int, end: int) -> PolicyId | None:
    """Return the identity of ``struct xfrm_userpolicy_info``."""
    if end - start < POLICY_SIZE:
        require(start, end, POLICY_SIZE)
    (
        to,
        from_,
        ports,
        family,
        to_prefix,
        from_prefix,
        protocol,
        owner,
        number,
    ) = _POLICY_TAG.unpack_from(buffer, start)
    direction = DIRECTIONS.get(number)
    if direction is None or family not in FAMILIES:
        return None
    to_port, to_mask, from_port, from_mask = (
        (0, 0, 0, 0) if ports == _NO_PORTS else _PORTS.unpack(ports)
    )
    from_, to = address_of(from_, family), address_of(to, family)
    return _identity(
        (
            direction,
            _selector(
                (
                    from_,
                    from_prefix,
                    to,
                    to_prefix,
                    from_port,
                    from_mask,
                    to_port,
                    to_mask,
                    protocol,
                    owner,
                )
            ),
        )
    )
