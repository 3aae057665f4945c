"""The forms of requests: what varies in each, in wire order.

A form is what changes a message's shape or is settled by configuration: kind, address family,
algorithms, replay window, direction. :mod:`netlink.templates` asks for each form once and keeps
the :class:`~netlink.layout.Template`; its encoders name the same fields in the same order.
"""

import struct
from dataclasses import replace
from typing import Final

from netlink.layout import CONSTANT, PORT_ID, SEQUENCE, Field, Template, Variable, learn
from netlink.model import (
    AddPolicy,
    AddSa,
    CurrentLifetime,
    DeletePolicy,
    DeleteSa,
    Encapsulation,
    MoveLifetime,
    PolicyId,
    ReplayState,
    SaId,
    SaKeys,
    SecurityAssociation,
    Selector,
    ShortenSa,
    UpdatePolicy,
)
from netlink.model import Template as SaTemplate
from netlink.reference import GetInfo, GetPolicy, GetSa, encode_reference
from netlink.secret import Secret

LARGEST_REPLAY_WINDOW: Final = 4096  # packets; XFRMA_REPLAY_ESN_MAX of linux/xfrm.h

_V6_SIZE: Final = 16
_HEADER: Final[tuple[Field, ...]] = (CONSTANT, SEQUENCE, PORT_ID)
_ZERO_LIFETIME: Final = CurrentLifetime(bytes=0, packets=0, add_time=0, use_time=0)


def _zero_address(size: int) -> str:
    return "::" if size == _V6_SIZE else "0.0.0.0"  # noqa: S104 - a probe, nothing binds to it


def _address(path: str, size: int) -> Variable:
    ones = ":".join(["ffff"] * 8) if size == _V6_SIZE else "255.255.255.255"
    return Variable((path,), f"{size}s", ones)


def _number(path: str, code: str) -> Variable:
    return Variable((path,), code, (1 << 8 * struct.calcsize("=" + code)) - 1)


def _spi(path: str) -> Variable:
    """Return the variable of an SPI, which travels in network order."""
    return Variable((path,), "4s", 0xFFFF_FFFF)


def _key(path: str, size: int) -> tuple[Field, ...]:
    """Return a key behind its attribute's head; an empty key has no byte to learn."""
    return (CONSTANT, Variable((path,), f"{size}s", Secret(b"\xff" * size))) if size else ()


def _zero_selector(size: int) -> Selector:
    address = _zero_address(size)
    return Selector(source=address, source_prefix=0, destination=address, destination_prefix=0)


def _selector(at: str, size: int) -> tuple[Field, ...]:
    ports = ("destination_port", "destination_port_mask", "source_port", "source_port_mask")
    return (
        _address(f"{at}.destination", size),
        _address(f"{at}.source", size),
        Variable(tuple(f"{at}.{name}" for name in ports), "8s", 0xFFFF),
        CONSTANT,  # family
        _number(f"{at}.destination_prefix", "B"),
        _number(f"{at}.source_prefix", "B"),
        _number(f"{at}.protocol", "B"),
        _number(f"{at}.owner", "I"),
    )


def _sa_id(at: str, size: int) -> tuple[Field, ...]:
    return (_address(f"{at}.destination", size), _spi(f"{at}.spi"))


def _encapsulation(sa: SecurityAssociation) -> tuple[Field, ...]:
    """Return the ports of XFRMA_ENCAP behind what names the attribute and its type."""
    if sa.encapsulation is None:
        return ()
    ports = ("sa.encapsulation.source_port", "sa.encapsulation.destination_port")
    return (CONSTANT, Variable(ports, "4s", 0xFFFF))


def _lifetime(at: str) -> tuple[Field, ...]:
    """Return the counters of XFRMA_LTIME_VAL behind the attribute's head."""
    names = ("bytes", "packets", "add_time", "use_time")
    return tuple(_number(f"{at}.{name}", "Q") for name in names)


def _sa(sa: SecurityAssociation, size: int) -> tuple[Field, ...]:
    return (
        *_HEADER,
        *_selector("sa.selector", size),
        *_sa_id("sa.id", size),
        _number("sa.id.protocol", "B"),
        _address("sa.source", size),
        CONSTANT,  # no limit by bytes or packets
        _number("sa.hard_add_seconds", "Q"),
        _number("sa.reqid", "I"),
        *_encapsulation(sa),
    )


def _zero_sa(sa: SecurityAssociation, size: int) -> SecurityAssociation:
    if not 0 <= sa.replay_window <= LARGEST_REPLAY_WINDOW:
        raise ValueError(f"a replay window is 0 to {LARGEST_REPLAY_WINDOW} packets")
    return replace(
        sa,
        id=SaId(_zero_address(size), 0, 0),
        source=_zero_address(size),
        reqid=0,
        selector=_zero_selector(size),
        hard_add_seconds=0,
        encapsulation=sa.encapsulation and Encapsulation(source_port=0, destination_port=0),
    )


def learn_add_sa(request: AddSa, size: int) -> Template:
    """Compile NEWSA. ``size`` is that of an address: 4 or 16."""
    integrity, encryption = len(request.keys.integrity), len(request.keys.encryption)
    keys = SaKeys(integrity=Secret(bytes(integrity)), encryption=Secret(bytes(encryption)))
    replay = None if request.replay is None else ReplayState()
    current = None if request.current is None else _ZERO_LIFETIME
    numbers: tuple[Field, ...] = ()
    if replay is not None:
        # Behind the attribute's head, before its bitmap.
        numbers = (CONSTANT, _number("replay.sent", "I"), _number("replay.received", "I"))
    if current is not None:
        numbers = (*numbers, CONSTANT, *_lifetime("current"))
    fields = (
        *_sa(request.sa, size),
        *_key("keys.integrity", integrity),
        *_key("keys.encryption", encryption),
        *numbers,
        CONSTANT,
    )
    zero = replace(
        request, sa=_zero_sa(request.sa, size), keys=keys, replay=replay, current=current
    )
    return learn(encode_reference, zero, fields)


def learn_shorten_sa(request: ShortenSa, size: int) -> Template:
    """Compile UPDSA, whose zero keys are constants."""
    zero = ShortenSa(_zero_sa(request.sa, size))
    return learn(encode_reference, zero, (*_sa(request.sa, size), CONSTANT))


def learn_move_lifetime(size: int) -> Template:
    """Compile NEWAE."""
    zero = MoveLifetime(
        id=SaId(_zero_address(size), 0, 0),
        source=_zero_address(size),
        reqid=0,
        current=_ZERO_LIFETIME,
    )
    fields = (
        *_HEADER,
        *_sa_id("id", size),
        CONSTANT,  # family
        _number("id.protocol", "B"),
        _address("source", size),
        _number("reqid", "I"),
        CONSTANT,  # head of XFRMA_LTIME_VAL
        *_lifetime("current"),
    )
    return learn(encode_reference, zero, fields)


def learn_sa_id(request: DeleteSa | GetSa, size: int) -> Template:
    """Compile DELSA or GETSA."""
    zero = replace(request, id=SaId(_zero_address(size), 0, 0))
    fields = (*_HEADER, *_sa_id("id", size), CONSTANT, _number("id.protocol", "B"))
    return learn(encode_reference, zero, fields)


def learn_policy(request: AddPolicy | UpdatePolicy, size: int) -> Template:
    """Compile NEWPOLICY or UPDPOLICY, with or without a template."""
    policy = request.policy
    fields: tuple[Field, ...] = (
        *_HEADER,
        *_selector("policy.id.selector", size),
        CONSTANT,  # no limit by bytes or packets
        _number("policy.hard_add_seconds", "Q"),
        _number("policy.priority", "I"),
        CONSTANT,  # direction and action
    )
    demand = policy.template
    if demand is not None:
        address = _zero_address(size)
        demand = SaTemplate(
            source=address, destination=address, reqid=0, mode=demand.mode, protocol=0
        )
        fields = (
            *fields,
            _address("policy.template.destination", size),
            _number("policy.template.protocol", "B"),
            CONSTANT,  # family
            _address("policy.template.source", size),
            _number("policy.template.reqid", "I"),
            CONSTANT,  # mode and every algorithm
        )
    zero = replace(
        policy,
        id=PolicyId(policy.id.direction, _zero_selector(size)),
        priority=0,
        template=demand,
        hard_add_seconds=0,
    )
    return learn(encode_reference, replace(request, policy=zero), fields)


def learn_policy_id(request: DeletePolicy | GetPolicy, size: int) -> Template:
    """Compile DELPOLICY or GETPOLICY."""
    zero = replace(request, id=PolicyId(request.id.direction, _zero_selector(size)))
    fields = (*_HEADER, *_selector("id.selector", size), CONSTANT)
    return learn(encode_reference, zero, fields)


def learn_info(request: GetInfo) -> Template:
    """Compile GETSADINFO or GETSPDINFO."""
    return learn(encode_reference, request, (*_HEADER, CONSTANT))
