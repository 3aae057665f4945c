"""What the kernel says, by a header walk: dumps and answers.

The counterpart of :mod:`netlink.reference`. Everything is read in place from the caller's receive
buffer and nothing of a body is kept: an SA's body holds its keys, and the attributes with keys are
stepped over unread. The walk itself is :mod:`netlink.walk`'s; notices are read by
:mod:`netlink.decode_events`.

Objects for which :mod:`netlink.model` has no words (per-socket policies, modes other than
transport and tunnel) cannot be ours and decode to None.
"""

import functools
import ipaddress
import struct
from typing import Final

from netlink.model import (
    CurrentLifetime,
    Direction,
    Encapsulation,
    Mode,
    ObservedPolicy,
    ObservedSa,
    PolicyAction,
    PolicyId,
    ReplayState,
    SaId,
    Selector,
    Template,
)
from netlink.uapi import (
    AF_INET,
    AF_INET6,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLMSG_HDRLEN,
    NLMSGERR_ATTR_MSG,
    UDP_ENCAP_ESPINUDP,
    XFRM_INF,
    XFRMA_ENCAP,
    XFRMA_REPLAY_ESN_VAL,
    XFRMA_REPLAY_VAL,
    XFRMA_SAD_CNT,
    XFRMA_SPD_INFO,
    XFRMA_TMPL,
)
from netlink.walk import Buffer, MalformedMessage, Message, attribute, messages, require

__all__ = [
    "DIRECTIONS",
    "FAMILIES",
    "POLICY_SIZE",
    "SA_SIZE",
    "Buffer",
    "MalformedMessage",
    "Message",
    "address_of",
    "answer",
    "messages",
    "policy",
    "policy_count",
    "replay_of",
    "sa",
    "sa_count",
    "selector_of",
]

_ERROR: Final = struct.Struct("=iI")  # error, length of the echoed message
_SELECTOR: Final = struct.Struct("=16s16s8sHBBB7xI")
_PORTS: Final = struct.Struct(">HHHH")
_SA: Final = struct.Struct("=16s4sB3x16s24xQ8xQ16x4Q4xII4xIHBB8x")  # from usersa_info.id on
_POLICY: Final = struct.Struct("=40xQ16x16xQ8xIIBB6x")  # from userpolicy_info.lft on
_TEMPLATE: Final = struct.Struct("=16s4xB3xH2x16sIB15x")
_ENCAPSULATION: Final = struct.Struct("=H2s2s18x")
_WORD: Final = struct.Struct("=I")
_SPD_COUNTS: Final = struct.Struct("=6I")

_SELECTOR_SIZE: Final = 56
SA_SIZE: Final = 224
POLICY_SIZE: Final = 168
FAMILIES: Final = (AF_INET, AF_INET6)
_MODES: Final = {mode.value: mode for mode in Mode}
DIRECTIONS: Final = {direction.value: direction for direction in Direction}
_ACTIONS: Final = {action.value: action for action in PolicyAction}
_ERRNO_SIZE: Final = 4
_NO_PORTS: Final = bytes(8)
_ESN_WINDOW_OFFSET: Final = 20
_ESN_NUMBERS: Final = struct.Struct("=4xII")  # behind bmp_len: oseq, seq
_NUMBERS: Final = struct.Struct("=II")  # of xfrm_replay_state: oseq, seq


@functools.lru_cache(maxsize=65536)
def address_of(packed: bytes, family: int) -> str:
    """Return an address of a 16-byte field as canonical text."""
    if family == AF_INET:
        return f"{packed[0]}.{packed[1]}.{packed[2]}.{packed[3]}"
    return ipaddress.IPv6Address(packed).compressed


def selector_of(buffer: Buffer, start: int, default_family: int) -> Selector | None:
    """Decode ``struct xfrm_selector``; None for one of no IP family."""
    destination, source, ports, family, prefix_d, prefix_s, protocol, owner = (
        _SELECTOR.unpack_from(buffer, start)
    )
    family = family or default_family  # an SA for both families has a selector of none
    if family not in FAMILIES:
        return None
    dport, dport_mask, sport, sport_mask = (
        (0, 0, 0, 0) if ports == _NO_PORTS else _PORTS.unpack(ports)
    )
    return Selector(
        address_of(source, family),
        prefix_s,
        address_of(destination, family),
        prefix_d,
        sport,
        sport_mask,
        dport,
        dport_mask,
        protocol,
        owner,
    )


# --- dumps and single answers --------------------------------------------------------------------


def sa(buffer: Buffer, start: int, end: int) -> ObservedSa | None:
    """Decode ``struct xfrm_usersa_info``, and of the attributes replay window and UDP ports."""
    require(start, end, SA_SIZE)
    (
        destination,
        spi,
        protocol,
        source,
        hard_packets,
        hard_add,
        byte_count,
        packet_count,
        add_time,
        use_time,
        replay_failures,
        integrity_failures,
        reqid,
        family,
        mode_number,
        window,
    ) = _SA.unpack_from(buffer, start + _SELECTOR_SIZE)
    mode = _MODES.get(mode_number)
    if mode is None or family not in FAMILIES:
        return None
    selector = selector_of(buffer, start, family)
    if selector is None:
        return None
    if not window:
        esn = attribute(buffer, start + SA_SIZE, end, XFRMA_REPLAY_ESN_VAL, _ESN_WINDOW_OFFSET + 4)
        if esn is not None:
            (window,) = _WORD.unpack_from(buffer, esn[0] + _ESN_WINDOW_OFFSET)
    # What is ours is encapsulated in tunnel mode only: others need not be walked.
    tunnel = mode is Mode.TUNNEL
    return ObservedSa(
        id=SaId(address_of(destination, family), int.from_bytes(spi, "big"), protocol),
        source=address_of(source, family),
        reqid=reqid,
        selector=selector,
        mode=mode,
        hard_add_seconds=hard_add,
        hard_packets=0 if hard_packets == XFRM_INF else hard_packets,
        current=CurrentLifetime(
            bytes=byte_count, packets=packet_count, add_time=add_time, use_time=use_time
        ),
        replay_window=window,
        replay_failures=replay_failures,
        integrity_failures=integrity_failures,
        encapsulation=_encapsulation(buffer, start + SA_SIZE, end) if tunnel else None,
    )


def _encapsulation(buffer: Buffer, start: int, end: int) -> Encapsulation | None:
    """Decode ``struct xfrm_encap_tmpl``; None for none, and for other kinds than ESP in UDP."""
    at = attribute(buffer, start, end, XFRMA_ENCAP, _ENCAPSULATION.size)
    if at is None:
        return None
    kind, source, destination = _ENCAPSULATION.unpack_from(buffer, at[0])
    if kind != UDP_ENCAP_ESPINUDP:
        return None
    return Encapsulation(
        source_port=int.from_bytes(source, "big"),
        destination_port=int.from_bytes(destination, "big"),
    )


def policy(buffer: Buffer, start: int, end: int) -> ObservedPolicy | None:
    """Decode ``struct xfrm_userpolicy_info`` and the first template."""
    require(start, end, POLICY_SIZE)
    hard_add, add_time, priority, index, direction_number, action_number = _POLICY.unpack_from(
        buffer, start + _SELECTOR_SIZE
    )
    direction = DIRECTIONS.get(direction_number)
    action = _ACTIONS.get(action_number)
    selector = selector_of(buffer, start, 0)
    if direction is None or action is None or selector is None:
        return None
    template = None
    at = attribute(buffer, start + POLICY_SIZE, end, XFRMA_TMPL, _TEMPLATE.size)
    if at is not None:
        destination, protocol, family, source, reqid, mode_number = _TEMPLATE.unpack_from(
            buffer, at[0]
        )
        mode = _MODES.get(mode_number)
        if mode is None or family not in FAMILIES:
            return None
        template = Template(
            source=address_of(source, family),
            destination=address_of(destination, family),
            reqid=reqid,
            mode=mode,
            protocol=protocol,
        )
    return ObservedPolicy(
        id=PolicyId(direction, selector),
        action=action,
        priority=priority,
        index=index,
        template=template,
        hard_add_seconds=hard_add,
        add_time=add_time,
    )


def sa_count(buffer: Buffer, start: int, end: int) -> int:
    """Decode NEWSADINFO: how many SAs the namespace holds, anybody's."""
    at = attribute(buffer, start + _WORD.size, end, XFRMA_SAD_CNT, _WORD.size)
    if at is None:
        raise MalformedMessage("NEWSADINFO without a count")
    (count,) = _WORD.unpack_from(buffer, at[0])
    return int(count)


def policy_count(buffer: Buffer, start: int, end: int) -> int:
    """Decode NEWSPDINFO: how many policies the namespace holds, those of sockets left out."""
    at = attribute(buffer, start + _WORD.size, end, XFRMA_SPD_INFO, _SPD_COUNTS.size)
    if at is None:
        raise MalformedMessage("NEWSPDINFO without counts")
    inbound, outbound, forward, *_ = _SPD_COUNTS.unpack_from(buffer, at[0])
    return int(inbound + outbound + forward)


def answer(buffer: Buffer, message: Message) -> tuple[int, str]:
    """Decode NLMSG_ERROR: the positive errno, 0 for an acknowledgement, and the kernel's words.

    The echo of the request, which may hold keys, is stepped over.
    """
    require(message.start, message.end, _ERRNO_SIZE + NLMSG_HDRLEN)
    error, echoed_length = _ERROR.unpack_from(buffer, message.start)
    if error > 0:
        raise MalformedMessage("an error number that is not negative")
    if not message.flags & NLM_F_ACK_TLVS:
        return -error, ""
    capped = message.flags & NLM_F_CAPPED
    echo_size = NLMSG_HDRLEN if capped else max(NLMSG_HDRLEN, echoed_length)
    echo_end = message.start + _ERRNO_SIZE + echo_size
    at = attribute(buffer, echo_end, message.end, NLMSGERR_ATTR_MSG, 0)
    words = b"" if at is None else bytes(buffer[at[0] : at[1]]).rstrip(b"\0")
    return -error, words.decode("utf-8", "replace")


def replay_of(buffer: Buffer, start: int, end: int) -> ReplayState | None:
    """Return the sequence numbers that stand beside an SA, in either form."""
    for kind, numbers in (
        (XFRMA_REPLAY_ESN_VAL, _ESN_NUMBERS),
        (XFRMA_REPLAY_VAL, _NUMBERS),
    ):
        at = attribute(buffer, start, end, kind, numbers.size)
        if at is not None:
            sent, received = numbers.unpack_from(buffer, at[0])
            return ReplayState(sent=sent, received=received)
    return None
