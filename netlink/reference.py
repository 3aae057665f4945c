"""The model's requests in the schema's messages: the reference encoding.

The counterpart of :mod:`netlink.decode`, and what :mod:`netlink.templates` is compiled from and
tested against, byte by byte.
"""

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from netlink.model import (
    AddPolicy,
    AddSa,
    CurrentLifetime,
    DeletePolicy,
    DeleteSa,
    Encapsulation,
    MoveLifetime,
    Operation,
    Policy,
    PolicyId,
    ReplayState,
    SaId,
    SecurityAssociation,
    Selector,
    ShortenSa,
    Template,
    UpdatePolicy,
    family_of,
    packed_address,
)
from netlink.schema import Head, encode_message
from netlink.transforms import Combined
from netlink.uapi import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NLMSG_HDRLEN,
    UDP_ENCAP_ESPINUDP,
    XFRM_INF,
    XFRM_MSG_DELPOLICY,
    XFRM_MSG_DELSA,
    XFRM_MSG_GETPOLICY,
    XFRM_MSG_GETSA,
    XFRM_MSG_NEWAE,
    XFRM_MSG_NEWPOLICY,
    XFRM_MSG_NEWSA,
    XFRM_MSG_UPDPOLICY,
    XFRM_MSG_UPDSA,
)

LEGACY_REPLAY_WINDOW: Final = 32  # packets; more needs the attribute with its own bitmap

Fields: TypeAlias = dict[str, int | bytes]
Attributes: TypeAlias = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class GetSa:
    """GETSA by identity."""

    id: SaId


@dataclass(frozen=True, slots=True)
class GetPolicy:
    """GETPOLICY by direction and selector."""

    id: PolicyId


@dataclass(frozen=True, slots=True)
class GetInfo:
    """GETSADINFO or GETSPDINFO: how much a table holds."""

    message_type: int


Request: TypeAlias = Operation | GetSa | GetPolicy | GetInfo


def selector_fields(selector: Selector, prefix: str = "sel") -> Fields:
    """Return ``struct xfrm_selector``."""
    return {
        f"{prefix}_daddr": packed_address(selector.destination),
        f"{prefix}_saddr": packed_address(selector.source),
        f"{prefix}_dport": selector.destination_port,
        f"{prefix}_dport_mask": selector.destination_port_mask,
        f"{prefix}_sport": selector.source_port,
        f"{prefix}_sport_mask": selector.source_port_mask,
        f"{prefix}_family": family_of(selector.destination),
        f"{prefix}_prefixlen_d": selector.destination_prefix,
        f"{prefix}_prefixlen_s": selector.source_prefix,
        f"{prefix}_proto": selector.protocol,
        f"{prefix}_user": selector.owner,
    }


def limit_fields(hard_add_seconds: int, hard_packets: int = 0) -> Fields:
    """Return ``struct xfrm_lifetime_cfg``: limits of time and of packets, 0 for none."""
    return {
        "lft_soft_byte_limit": XFRM_INF,
        "lft_hard_byte_limit": XFRM_INF,
        "lft_soft_packet_limit": XFRM_INF,
        "lft_hard_packet_limit": hard_packets or XFRM_INF,
        "lft_hard_add_expires_seconds": hard_add_seconds,
    }


def _sa_id_fields(sa_id: SaId, prefix: str = "") -> Fields:
    """Return ``struct xfrm_usersa_id``."""
    return {
        f"{prefix}daddr": packed_address(sa_id.destination),
        f"{prefix}spi": sa_id.spi,
        f"{prefix}family": family_of(sa_id.destination),
        f"{prefix}proto": sa_id.protocol,
    }


def _sa_message(
    head: Head,
    sa: SecurityAssociation,
    integrity_key: bytes,
    encryption_key: bytes,
    replay: ReplayState | None = None,
    more: Attributes = (),
) -> bytes:
    """Return NEWSA or UPDSA."""
    legacy = sa.replay_window if sa.replay_window <= LEGACY_REPLAY_WINDOW else 0
    fields: Fields = {
        **selector_fields(sa.selector),
        "id_daddr": packed_address(sa.id.destination),
        "id_spi": sa.id.spi,
        "id_proto": sa.id.protocol,
        "saddr": packed_address(sa.source),
        **limit_fields(sa.hard_add_seconds, sa.hard_packets),
        "reqid": sa.reqid,
        "family": family_of(sa.id.destination),
        "mode": int(sa.mode),
        "replay_window": legacy,
    }
    attributes = (
        *_encapsulation_attribute(sa.encapsulation),
        *_algorithm_attributes(sa, integrity_key, encryption_key),
        *_replay_attribute(sa.replay_window, replay),
        *more,
    )
    return encode_message(head, fields, attributes)


def _encapsulation_attribute(encapsulation: Encapsulation | None) -> Attributes:
    """Return XFRMA_ENCAP: ESP in UDP (RFC 3948)."""
    if encapsulation is None:
        return ()
    ports = {
        "encap_type": UDP_ENCAP_ESPINUDP,
        "encap_sport": encapsulation.source_port,
        "encap_dport": encapsulation.destination_port,
    }
    return (("XFRMA_ENCAP", ports),)


def _algorithm_attributes(
    sa: SecurityAssociation, integrity_key: bytes, encryption_key: bytes
) -> Attributes:
    """Return the algorithms. A zero-length key (the null cipher) is an attribute without key."""
    cipher = {
        "alg_name": sa.encryption.name.encode(),
        "alg_key_len": sa.encryption.key_bits,
        "alg_key": encryption_key,
    }
    if isinstance(sa.encryption, Combined):
        if sa.integrity is not None:
            raise ValueError("a combined mode algorithm stands alone")
        return (("XFRMA_ALG_AEAD", cipher | {"alg_icv_len": sa.encryption.icv_bits}),)
    if sa.integrity is None:
        raise ValueError("an encryption algorithm needs one of integrity beside it")
    integrity = {
        "alg_name": sa.integrity.name.encode(),
        "alg_key_len": sa.integrity.key_bits,
        "alg_trunc_len": sa.integrity.icv_bits,
        "alg_key": integrity_key,
    }
    return (("XFRMA_ALG_AUTH_TRUNC", integrity), ("XFRMA_ALG_CRYPT", cipher))


def _replay_attribute(window: int, replay: ReplayState | None) -> Attributes:
    """Return what the struct cannot say: a large window, and where the sequence numbers stand.

    A bitmap of ones says that everything up to the highest number was received.
    """
    numbers = {} if replay is None else {"oseq": replay.sent, "seq": replay.received}
    seen = b"\0" if replay is None else b"\xff"
    if window > LEGACY_REPLAY_WINDOW:
        # The bitmap form without XFRM_STATE_ESN: a large window over 32-bit sequence numbers.
        words = -(-window // 32)
        esn = {"bmp_len": words, "replay_window": window, "bmp": seen * (4 * words)}
        return (("XFRMA_REPLAY_ESN_VAL", esn | numbers),)
    if replay is not None:
        return (("XFRMA_REPLAY_VAL", {"bitmap": int.from_bytes(seen * 4, "big")} | numbers),)
    return ()


def _lifetime_attribute(current: CurrentLifetime | None) -> Attributes:
    """Return XFRMA_LTIME_VAL: the counters, and from when a time limit counts."""
    if current is None:
        return ()
    lifetime = {
        "bytes": current.bytes,
        "packets": current.packets,
        "add_time": current.add_time,
        "use_time": current.use_time,
    }
    return (("XFRMA_LTIME_VAL", lifetime),)


def _notice_attribute(*, tell_counters: bool) -> Attributes:
    """Return XFRMA_REPLAY_THRESH: no number of packets is a reason for a notice, only time."""
    return (("XFRMA_REPLAY_THRESH", 0),) if tell_counters else ()


def _template_attribute(template: Template) -> tuple[str, object]:
    """Return XFRMA_TMPL; all algorithms are allowed, since reqid alone names the SA."""
    every = 0xFFFF_FFFF
    return (
        "XFRMA_TMPL",
        {
            "id_daddr": packed_address(template.destination),
            "id_proto": template.protocol,
            "family": family_of(template.destination),
            "saddr": packed_address(template.source),
            "reqid": template.reqid,
            "mode": int(template.mode),
            "aalgos": every,
            "ealgos": every,
            "calgos": every,
        },
    )


def _policy_message(head: Head, policy: Policy) -> bytes:
    """Return NEWPOLICY or UPDPOLICY."""
    fields: Fields = {
        **selector_fields(policy.id.selector),
        **limit_fields(policy.hard_add_seconds),
        "priority": policy.priority,
        "dir": int(policy.id.direction),
        "action": int(policy.action),
    }
    attributes = () if policy.template is None else (_template_attribute(policy.template),)
    return encode_message(head, fields, attributes)


def _policy_id_message(head: Head, policy_id: PolicyId) -> bytes:
    """Return DELPOLICY or GETPOLICY: index 0 makes the kernel look at the selector."""
    fields = {**selector_fields(policy_id.selector), "dir": int(policy_id.direction)}
    return encode_message(head, fields)


def encode_reference(request: Request, sequence: int, port_id: int) -> bytes:
    """Return the request as one netlink message, by way of the schema.

    ``port_id`` is that of the sending socket. XFRM's notices repeat the one of this header and
    not, as other families do, the one the socket has.
    """

    def head(message_type: int, flags: int = 0) -> Head:
        return Head(message_type, NLM_F_REQUEST | flags, sequence, port_id)

    exclusive = NLM_F_CREATE | NLM_F_EXCL
    match request:
        case AddSa(sa=sa, keys=keys, replay=replay):
            integrity, encryption = keys.integrity.reveal(), keys.encryption.reveal()
            added = head(XFRM_MSG_NEWSA, exclusive)
            more = (
                *_lifetime_attribute(request.current),
                *_notice_attribute(tell_counters=request.tell_counters),
            )
            return _sa_message(added, sa, integrity, encryption, replay, more)
        case ShortenSa(sa=sa):
            integrity = bytes(0 if sa.integrity is None else sa.integrity.key_bits // 8)
            encryption = bytes(sa.encryption.key_bits // 8)
            return _sa_message(head(XFRM_MSG_UPDSA), sa, integrity, encryption)
        case MoveLifetime(id=sa_id, source=source, reqid=reqid, current=current):
            fields = {
                **_sa_id_fields(sa_id, "sa_id_"),
                "saddr": packed_address(source),
                "reqid": reqid,
            }
            changed = head(XFRM_MSG_NEWAE, NLM_F_REPLACE)
            return encode_message(changed, fields, _lifetime_attribute(current))
        case DeleteSa(id=sa_id):
            return encode_message(head(XFRM_MSG_DELSA), _sa_id_fields(sa_id))
        case GetSa(id=sa_id):
            return encode_message(head(XFRM_MSG_GETSA), _sa_id_fields(sa_id))
        case AddPolicy(policy=policy):
            return _policy_message(head(XFRM_MSG_NEWPOLICY, exclusive), policy)
        case UpdatePolicy(policy=policy):
            return _policy_message(head(XFRM_MSG_UPDPOLICY), policy)
        case DeletePolicy(id=policy_id):
            return _policy_id_message(head(XFRM_MSG_DELPOLICY), policy_id)
        case GetPolicy(id=policy_id):
            return _policy_id_message(head(XFRM_MSG_GETPOLICY), policy_id)
        case GetInfo(message_type=message_type):
            # A word of flags, which the kernel wants and ignores.
            return encode_message(head(message_type), {"flags": 0xFFFF_FFFF})


def dump_request(message_type: int, sequence: int) -> bytes:
    """Return GETSA or GETPOLICY for the whole table: the kernel reads no struct here."""
    flags = NLM_F_REQUEST | NLM_F_DUMP
    return struct.pack("=IHHII", NLMSG_HDRLEN, message_type, flags, sequence, 0)
