"""The fast encoding: compiled templates of :mod:`netlink.forms`, filled by hand-unrolled calls.

The first request of a form compiles it (some milliseconds), each later one costs about a
microsecond. Byte-equal to :mod:`netlink.reference`, which the tests prove. Messages are written
into the caller's buffer, so that the keys in it can be wiped once the kernel has them.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from netlink import forms
from netlink.layout import Template
from netlink.model import (
    AddPolicy,
    AddSa,
    DeletePolicy,
    DeleteSa,
    MoveLifetime,
    SecurityAssociation,
    ShortenSa,
    UpdatePolicy,
    packed_address,
)
from netlink.reference import GetInfo, GetPolicy, GetSa, Request
from netlink.transforms import Combined

LARGEST_MESSAGE: Final = 1232  # a NEWSA with all there is, the largest bitmap, keys of 64 bytes

_Form: TypeAlias = tuple[object, ...]

_PORTS: Final = struct.Struct(">HHHH").pack
_PORT_PAIR: Final = struct.Struct(">HH").pack
_SPI: Final = struct.Struct(">I").pack

_templates: Final[dict[_Form, Template]] = {}


def _keep(form: _Form, template: Template) -> Template:
    if template.size > LARGEST_MESSAGE:
        raise ValueError("keys of more than 64 bytes")
    _templates[form] = template
    return template


def _mixed() -> ValueError:
    # struct would cut or pad such an address silently to one of the other family.
    return ValueError("the addresses of a request are of two families")


def _write_sa(
    sa: SecurityAssociation,
    template: Template,
    tail: tuple[int | bytes, ...],
    buffer: bytearray,
    offset: int,
    sequence: int,
    port_id: int,
) -> int:
    selector, sa_id = sa.selector, sa.id
    destination, source = packed_address(sa_id.destination), packed_address(sa.source)
    to, from_ = packed_address(selector.destination), packed_address(selector.source)
    if not len(destination) == len(source) == len(to) == len(from_):
        raise _mixed()
    header, family, unlimited, *others = template.constants
    udp = sa.encapsulation
    if udp is not None:
        tail = (others[0], _PORT_PAIR(udp.source_port, udp.destination_port), *tail)
    template.pack_into(
        buffer,
        offset,
        header,
        sequence,
        port_id,
        to,
        from_,
        _PORTS(
            selector.destination_port,
            selector.destination_port_mask,
            selector.source_port,
            selector.source_port_mask,
        ),
        family,
        selector.destination_prefix,
        selector.source_prefix,
        selector.protocol,
        selector.owner,
        destination,
        _SPI(sa_id.spi),
        sa_id.protocol,
        source,
        unlimited,
        sa.hard_add_seconds,
        sa.reqid,
        *tail,
    )
    return offset + template.size


def _sa_form(kind: type, sa: SecurityAssociation) -> _Form:
    integrity, encryption = sa.integrity, sa.encryption
    return (
        kind,
        len(packed_address(sa.id.destination)),
        None if integrity is None else (integrity.name, integrity.key_bits, integrity.icv_bits),
        encryption.name,
        encryption.key_bits,
        encryption.icv_bits if isinstance(encryption, Combined) else None,
        sa.replay_window,
        sa.hard_packets,
        sa.mode,
        sa.encapsulation is None,
    )


def _tail_constants(template: Template, sa: SecurityAssociation) -> tuple[bytes, ...]:
    """Return the constants behind what every SA has and behind its UDP ports."""
    return template.constants[3 if sa.encapsulation is None else 4 :]


def _add_sa(request: AddSa, buffer: bytearray, offset: int, sequence: int, port_id: int) -> int:
    sa, keys = request.sa, request.keys
    integrity, encryption = keys.integrity.reveal(), keys.encryption.reveal()
    integrity_bits = 0 if sa.integrity is None else sa.integrity.key_bits
    if 8 * len(integrity) != integrity_bits or 8 * len(encryption) != sa.encryption.key_bits:
        raise ValueError("a key's length is not that of its algorithm")
    if (integrity and not any(integrity)) or (encryption and not any(encryption)):
        raise ValueError("a key of zeros: it was wiped before it was used")
    replay, current = request.replay, request.current
    form = (*_sa_form(AddSa, sa), replay is None, current is None, request.tell_counters)
    template = _templates.get(form)
    if template is None:
        template = _keep(form, forms.learn_add_sa(request, len(packed_address(sa.source))))
    constants = _tail_constants(template, sa)
    keys_tail: tuple[bytes, ...]
    if not integrity:
        encryption_head, *rest = constants
        keys_tail = (encryption_head, encryption)
    elif encryption:
        integrity_head, encryption_head, *rest = constants
        keys_tail = (integrity_head, integrity, encryption_head, encryption)
    else:
        integrity_head, *rest = constants
        keys_tail = (integrity_head, integrity)
    tail: tuple[int | bytes, ...] = keys_tail
    if replay is not None:
        replay_head, *rest = rest
        tail = (*tail, replay_head, replay.sent, replay.received)
    if current is not None:
        lifetime_head, *rest = rest
        counts = current.bytes, current.packets, current.add_time, current.use_time
        tail = (*tail, lifetime_head, *counts)
    tail = (*tail, *rest)
    return _write_sa(sa, template, tail, buffer, offset, sequence, port_id)


def _shorten_sa(
    request: ShortenSa, buffer: bytearray, offset: int, sequence: int, port_id: int
) -> int:
    sa = request.sa
    form = _sa_form(ShortenSa, sa)
    template = _templates.get(form)
    if template is None:
        template = _keep(form, forms.learn_shorten_sa(request, len(packed_address(sa.source))))
    return _write_sa(
        sa, template, _tail_constants(template, sa), buffer, offset, sequence, port_id
    )


def _move_lifetime(
    request: MoveLifetime, buffer: bytearray, offset: int, sequence: int, port_id: int
) -> int:
    sa_id, current = request.id, request.current
    destination, source = packed_address(sa_id.destination), packed_address(request.source)
    size = len(destination)
    if len(source) != size:
        raise _mixed()
    form = (MoveLifetime, size)
    template = _templates.get(form) or _keep(form, forms.learn_move_lifetime(size))
    header, family, lifetime = template.constants
    template.pack_into(
        buffer,
        offset,
        header,
        sequence,
        port_id,
        destination,
        _SPI(sa_id.spi),
        family,
        sa_id.protocol,
        source,
        request.reqid,
        lifetime,
        current.bytes,
        current.packets,
        current.add_time,
        current.use_time,
    )
    return offset + template.size


def _sa_by_id(
    request: DeleteSa | GetSa, buffer: bytearray, offset: int, sequence: int, port_id: int
) -> int:
    sa_id = request.id
    destination = packed_address(sa_id.destination)
    size = len(destination)
    form = (type(request), size)
    template = _templates.get(form) or _keep(form, forms.learn_sa_id(request, size))
    header, family = template.constants
    template.pack_into(
        buffer,
        offset,
        header,
        sequence,
        port_id,
        destination,
        _SPI(sa_id.spi),
        family,
        sa_id.protocol,
    )
    return offset + template.size


def _policy(
    request: AddPolicy | UpdatePolicy, buffer: bytearray, offset: int, sequence: int, port_id: int
) -> int:
    policy = request.policy
    demand = policy.template
    selector = policy.id.selector
    to, from_ = packed_address(selector.destination), packed_address(selector.source)
    size = len(to)
    if len(from_) != size:
        raise _mixed()
    mode = None if demand is None else demand.mode
    form = (type(request), size, policy.id.direction, policy.action, mode)
    template = _templates.get(form) or _keep(form, forms.learn_policy(request, size))
    tail: tuple[int | bytes, ...]
    if demand is None:
        header, family, unlimited, action = template.constants
        tail = ()
    else:
        header, family, unlimited, action, template_family, every = template.constants
        destination, source = packed_address(demand.destination), packed_address(demand.source)
        if not len(destination) == len(source) == size:
            raise _mixed()
        tail = (destination, demand.protocol, template_family, source, demand.reqid, every)
    template.pack_into(
        buffer,
        offset,
        header,
        sequence,
        port_id,
        to,
        from_,
        _PORTS(
            selector.destination_port,
            selector.destination_port_mask,
            selector.source_port,
            selector.source_port_mask,
        ),
        family,
        selector.destination_prefix,
        selector.source_prefix,
        selector.protocol,
        selector.owner,
        unlimited,
        policy.hard_add_seconds,
        policy.priority,
        action,
        *tail,
    )
    return offset + template.size


def _policy_by_id(
    request: DeletePolicy | GetPolicy, buffer: bytearray, offset: int, sequence: int, port_id: int
) -> int:
    selector = request.id.selector
    to, from_ = packed_address(selector.destination), packed_address(selector.source)
    size = len(to)
    if len(from_) != size:
        raise _mixed()
    form = (type(request), size, request.id.direction)
    template = _templates.get(form) or _keep(form, forms.learn_policy_id(request, size))
    header, family, direction = template.constants
    template.pack_into(
        buffer,
        offset,
        header,
        sequence,
        port_id,
        to,
        from_,
        _PORTS(
            selector.destination_port,
            selector.destination_port_mask,
            selector.source_port,
            selector.source_port_mask,
        ),
        family,
        selector.destination_prefix,
        selector.source_prefix,
        selector.protocol,
        selector.owner,
        direction,
    )
    return offset + template.size


def _info(request: GetInfo, buffer: bytearray, offset: int, sequence: int, port_id: int) -> int:
    form = (GetInfo, request.message_type)
    template = _templates.get(form) or _keep(form, forms.learn_info(request))
    header, flags = template.constants
    template.pack_into(buffer, offset, header, sequence, port_id, flags)
    return offset + template.size


_ENCODERS: Final[dict[type, Callable[[Any, bytearray, int, int, int], int]]] = {
    AddSa: _add_sa,
    ShortenSa: _shorten_sa,
    MoveLifetime: _move_lifetime,
    DeleteSa: _sa_by_id,
    GetSa: _sa_by_id,
    AddPolicy: _policy,
    UpdatePolicy: _policy,
    DeletePolicy: _policy_by_id,
    GetPolicy: _policy_by_id,
    GetInfo: _info,
}


def encode_into(
    buffer: bytearray, offset: int, request: Request, sequence: int, port_id: int
) -> int:
    """Write one message and return where it ends; there must be room for LARGEST_MESSAGE.

    ``port_id`` is that of the sending socket: notices repeat it, and XFRM takes it from here. The
    buffer then holds the request's keys: wipe it after use.

    Raises ``ValueError`` for addresses of two families, a key of the wrong length or of zeros, or
    a number that does not fit its field; its text never holds a value.
    """
    try:
        return _ENCODERS[type(request)](request, buffer, offset, sequence, port_id)
    except struct.error:
        kind = type(request).__name__
        raise ValueError(f"a number of {kind} does not fit its field") from None


def check(requests: Iterable[Request]) -> None:
    """Raise the ``ValueError`` that :func:`encode_into` would raise for one of them."""
    buffer = bytearray(LARGEST_MESSAGE)
    try:
        for request in requests:
            encode_into(buffer, 0, request, 0, 0)
    finally:
        buffer[:] = bytes(LARGEST_MESSAGE)
