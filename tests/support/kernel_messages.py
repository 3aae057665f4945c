"""The kernel's side of netlink: dumps, notices and answers, built from the schema.

The counterpart of :mod:`netlink.decode` in tests. Bodies carry keys, as the kernel's do.
"""

import struct
from typing import Final

from netlink import uapi
from netlink.model import (
    CurrentLifetime,
    ObservedPolicy,
    ObservedSa,
    ReplayState,
    family_of,
    packed_address,
)
from netlink.reference import Fields, selector_fields
from netlink.schema import Head, encode_message

REPLAY: Final = ReplayState(sent=3, received=4)
KEY: Final = b"\xa5key-that-nobody-may-ever-see\xa5"

Attributes = tuple[tuple[str, object], ...]


def _current(current: CurrentLifetime) -> Fields:
    return {
        "curlft_bytes": current.bytes,
        "curlft_packets": current.packets,
        "curlft_add_time": current.add_time,
        "curlft_use_time": current.use_time,
    }


def sa_fields(sa: ObservedSa) -> Fields:
    return {
        **selector_fields(sa.selector),
        "id_daddr": packed_address(sa.id.destination),
        "id_spi": sa.id.spi,
        "id_proto": sa.id.protocol,
        "saddr": packed_address(sa.source),
        "lft_hard_packet_limit": sa.hard_packets or uapi.XFRM_INF,
        "lft_hard_add_expires_seconds": sa.hard_add_seconds,
        **_current(sa.current),
        "stats_replay": sa.replay_failures,
        "stats_integrity_failed": sa.integrity_failures,
        "reqid": sa.reqid,
        "family": family_of(sa.id.destination),
        "mode": int(sa.mode),
        "replay_window": sa.replay_window if sa.replay_window <= 0xFF else 0,
        "seq": 0x7EA5E,
    }


def sa_attributes(sa: ObservedSa) -> Attributes:
    """The attributes in the kernel's order, keys before the replay state."""
    algorithm = {"alg_name": b"hmac(sha1)", "alg_key_len": 8 * len(KEY), "alg_key": KEY}
    attributes: list[tuple[str, object]] = [
        ("XFRMA_LASTUSED", 1_700_000_000),
        ("XFRMA_ALG_AUTH", algorithm),
        ("XFRMA_ALG_AUTH_TRUNC", {**algorithm, "alg_trunc_len": 96}),
        ("XFRMA_ALG_CRYPT", {**algorithm, "alg_name": b"cbc(aes)"}),
    ]
    if sa.encapsulation is not None:
        ports = {
            "encap_sport": sa.encapsulation.source_port,
            "encap_dport": sa.encapsulation.destination_port,
        }
        attributes.append(("XFRMA_ENCAP", {"encap_type": uapi.UDP_ENCAP_ESPINUDP, **ports}))
    return (*attributes, _replay_attribute(sa))


def _replay_attribute(sa: ObservedSa) -> tuple[str, object]:
    numbers = {"oseq": REPLAY.sent, "seq": REPLAY.received}
    if sa.replay_window > 0xFF:
        words = -(-sa.replay_window // 32)
        esn = {"bmp_len": words, "replay_window": sa.replay_window, "bmp": bytes(4 * words)}
        return ("XFRMA_REPLAY_ESN_VAL", esn | numbers)
    return ("XFRMA_REPLAY_VAL", {"bitmap": 5} | numbers)


def policy_fields(policy: ObservedPolicy) -> Fields:
    return {
        **selector_fields(policy.id.selector),
        "lft_hard_add_expires_seconds": policy.hard_add_seconds,
        "curlft_add_time": policy.add_time,
        "priority": policy.priority,
        "index": policy.index,
        "dir": int(policy.id.direction),
        "action": int(policy.action),
    }


def policy_attributes(policy: ObservedPolicy) -> Attributes:
    template = policy.template
    if template is None:
        return (("XFRMA_POLICY_TYPE", {"type": 0}),)
    value = {
        "id_daddr": packed_address(template.destination),
        "id_proto": template.protocol,
        "family": family_of(template.destination),
        "saddr": packed_address(template.source),
        "reqid": template.reqid,
        "mode": int(template.mode),
    }
    return (("XFRMA_TMPL", value), ("XFRMA_POLICY_TYPE", {"type": 0}))


def _prefixed(prefix: str, fields: Fields) -> Fields:
    return {f"{prefix}_{name}": value for name, value in fields.items()}


def sa_message(sa: ObservedSa, head: Head | None = None) -> bytes:
    """NEWSA of a dump, or NEWSA and UPDSA of a notice."""
    return encode_message(head or Head(uapi.XFRM_MSG_NEWSA), sa_fields(sa), sa_attributes(sa))


def sa_deletion(sa: ObservedSa, port_id: int) -> bytes:
    """DELSA of a notice: the identity, then the whole SA as an attribute, then its keys."""
    head = Head(uapi.XFRM_MSG_DELSA, port_id=port_id)
    fields: Fields = {
        "daddr": packed_address(sa.id.destination),
        "spi": sa.id.spi,
        "family": family_of(sa.id.destination),
        "proto": sa.id.protocol,
    }
    return encode_message(head, fields, (("XFRMA_SA", sa_fields(sa)), *sa_attributes(sa)))


def sa_expiry(sa: ObservedSa, *, hard: bool) -> bytes:
    """EXPIRE, the attributes of which are none of our business."""
    fields = {**_prefixed("state", sa_fields(sa)), "hard": int(hard)}
    return encode_message(Head(uapi.XFRM_MSG_EXPIRE), fields)


def counter_notice(sa: ObservedSa) -> bytes:
    """NEWAE of a notice: identity, sequence numbers, counters, thresholds."""
    fields: Fields = {
        "sa_id_daddr": packed_address(sa.id.destination),
        "sa_id_spi": sa.id.spi,
        "sa_id_family": family_of(sa.id.destination),
        "sa_id_proto": sa.id.protocol,
        "saddr": packed_address(sa.source),
        "reqid": sa.reqid,
        "flags": 0x40,  # XFRM_AE_CE: time has passed
    }
    lifetime = {
        "bytes": sa.current.bytes,
        "packets": sa.current.packets,
        "add_time": sa.current.add_time,
        "use_time": sa.current.use_time,
    }
    return encode_message(
        Head(uapi.XFRM_MSG_NEWAE),
        fields,
        (_replay_attribute(sa), ("XFRMA_LTIME_VAL", lifetime), ("XFRMA_REPLAY_THRESH", 0)),
    )


def policy_message(policy: ObservedPolicy, head: Head | None = None) -> bytes:
    """NEWPOLICY of a dump, or NEWPOLICY and UPDPOLICY of a notice."""
    head = head or Head(uapi.XFRM_MSG_NEWPOLICY)
    return encode_message(head, policy_fields(policy), policy_attributes(policy))


def policy_deletion(policy: ObservedPolicy, port_id: int) -> bytes:
    """DELPOLICY of a notice about a deletion by index: only the attribute has the selector."""
    head = Head(uapi.XFRM_MSG_DELPOLICY, port_id=port_id)
    fields: Fields = {"index": policy.index, "dir": int(policy.id.direction)}
    attributes = (("XFRMA_POLICY", policy_fields(policy)), *policy_attributes(policy))
    return encode_message(head, fields, attributes)


def policy_expiry(policy: ObservedPolicy, *, hard: bool) -> bytes:
    """POLEXPIRE."""
    fields = {**_prefixed("pol", policy_fields(policy)), "hard": int(hard)}
    return encode_message(Head(uapi.XFRM_MSG_POLEXPIRE), fields, policy_attributes(policy))


def error(sequence: int, number: int = 0, words: str = "", *, echo: bytes | None = None) -> bytes:
    """NLMSG_ERROR with a positive errno, 0 for an acknowledgement.

    With ``echo`` the kernel repeats the whole request, as it does where NETLINK_CAP_ACK is off.
    """
    flags = 0 if echo is not None else uapi.NLM_F_CAPPED
    body = struct.pack("=i", -number)
    body += echo if echo is not None else struct.pack("=IHHII", 444, 16, 5, sequence, 0)
    if words:
        flags |= uapi.NLM_F_ACK_TLVS
        text = words.encode() + b"\0"
        body += struct.pack("=HHI", 8, 2, 24)  # NLMSGERR_ATTR_OFFS
        body += struct.pack("=HH", 4 + len(text), uapi.NLMSGERR_ATTR_MSG) + text
        body += bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), uapi.NLMSG_ERROR, flags, sequence, 0) + body
