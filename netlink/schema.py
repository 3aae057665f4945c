"""The messages of XFRM as pyroute2 ``nlmsg`` classes: how the kernel's headers read.

This is the layout's one source. :mod:`netlink.reference` fills these classes in from the model,
:mod:`netlink.templates` learns its byte positions from what they encode, and the tests build with
them what :mod:`netlink.decode` must understand. Slow by design (0.2 ms a message), so never on a
hot path; and never given real keys outside tests, because pyroute2 logs a value it cannot pack.

The names of messages, attributes and fields are those of linux/xfrm.h.
"""

from typing import Final, NamedTuple

from pyroute2.netlink import nla, nlmsg

from netlink import uapi
from netlink.structs import (
    ENCAP_TMPL,
    ID,
    LIFETIME_CUR,
    SELECTOR,
    USER_MAPPING,
    USER_TMPL,
    USERPOLICY_ID,
    USERPOLICY_INFO,
    USERSA_ID,
    USERSA_INFO,
    Fields,
    nested,
)


def _byte_defaults(fields: Fields) -> dict[str, bytes]:
    """Return what absent byte fields hold; pyroute2's own default is the number 0."""
    return {name: b"" for name, code in fields if code.endswith("s")}


# --- attributes ----------------------------------------------------------------------------------


class Attribute(nla):  # type: ignore[misc]  # pyroute2 is untyped
    """Base of the attributes with a struct inside."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        cls.defaults = _byte_defaults(cls.fields)


class AlgorithmAttribute(Attribute):
    """``struct xfrm_algo``; the key's length is in bits."""

    __slots__ = ()
    fields = (("alg_name", "64s"), ("alg_key_len", "I"), ("alg_key", "s"))


class TruncatedAlgorithmAttribute(Attribute):
    """``struct xfrm_algo_auth``; both lengths are in bits."""

    __slots__ = ()
    fields = (
        ("alg_name", "64s"),
        ("alg_key_len", "I"),
        ("alg_trunc_len", "I"),
        ("alg_key", "s"),
    )


class AeadAlgorithmAttribute(Attribute):
    """``struct xfrm_algo_aead``; both lengths are in bits."""

    __slots__ = ()
    fields = (("alg_name", "64s"), ("alg_key_len", "I"), ("alg_icv_len", "I"), ("alg_key", "s"))


class TemplateAttribute(Attribute):
    """``struct xfrm_user_tmpl``: one, though the kernel takes up to six."""

    __slots__ = ()
    fields = USER_TMPL


class EncapsulationAttribute(Attribute):
    """``struct xfrm_encap_tmpl``."""

    __slots__ = ()
    fields = ENCAP_TMPL


class SaAttribute(Attribute):
    """``struct xfrm_usersa_info`` inside the notice of a deletion."""

    __slots__ = ()
    fields = USERSA_INFO


class PolicyAttribute(Attribute):
    """``struct xfrm_userpolicy_info`` inside the notice of a deletion."""

    __slots__ = ()
    fields = USERPOLICY_INFO


class LifetimeAttribute(Attribute):
    """``struct xfrm_lifetime_cur``."""

    __slots__ = ()
    fields = LIFETIME_CUR


class ReplayAttribute(Attribute):
    """``struct xfrm_replay_state``."""

    __slots__ = ()
    fields = (("oseq", "I"), ("seq", "I"), ("bitmap", "I"))


class ReplayEsnAttribute(Attribute):
    """``struct xfrm_replay_state_esn`` with its bitmap of ``bmp_len`` words."""

    __slots__ = ()
    fields = (
        ("bmp_len", "I"),
        ("oseq", "I"),
        ("seq", "I"),
        ("oseq_hi", "I"),
        ("seq_hi", "I"),
        ("replay_window", "I"),
        ("bmp", "s"),
    )


class PolicyTypeAttribute(Attribute):
    """``struct xfrm_userpolicy_type``."""

    __slots__ = ()
    fields = (("type", "B"), ("reserved1", "1x"), ("reserved2", "H"), ("reserved3", "2x"))


class SadHashAttribute(Attribute):
    """``struct xfrmu_sadhinfo``."""

    __slots__ = ()
    fields = (("sadhcnt", "I"), ("sadhmcnt", "I"))


class SpdCountsAttribute(Attribute):
    """``struct xfrmu_spdinfo``: policies by direction, then those of sockets."""

    __slots__ = ()
    fields = (
        ("incnt", "I"),
        ("outcnt", "I"),
        ("fwdcnt", "I"),
        ("inscnt", "I"),
        ("outscnt", "I"),
        ("fwdscnt", "I"),
    )


class SpdHashAttribute(Attribute):
    """``struct xfrmu_spdhinfo``."""

    __slots__ = ()
    fields = (("spdhcnt", "I"), ("spdhmcnt", "I"))


class SpdThresholdAttribute(Attribute):
    """``struct xfrmu_spdhthresh``: prefix lengths from which a selector is hashed."""

    __slots__ = ()
    fields = (("lbits", "B"), ("rbits", "B"))


# --- messages ------------------------------------------------------------------------------------


class Message(nlmsg):  # type: ignore[misc]  # pyroute2 is untyped
    """A message without attributes."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        cls.defaults = _byte_defaults(cls.fields)


class XfrmMessage(Message):
    """A message with the attributes of ``enum xfrm_attr_type_t``."""

    __slots__ = ()
    algorithm = AlgorithmAttribute
    truncated_algorithm = TruncatedAlgorithmAttribute
    aead_algorithm = AeadAlgorithmAttribute
    encapsulation = EncapsulationAttribute
    template = TemplateAttribute
    sa = SaAttribute
    policy = PolicyAttribute
    lifetime = LifetimeAttribute
    replay = ReplayAttribute
    replay_esn = ReplayEsnAttribute
    policy_type = PolicyTypeAttribute
    nla_map = (
        (uapi.XFRMA_ALG_AUTH, "XFRMA_ALG_AUTH", "algorithm"),
        (uapi.XFRMA_ALG_CRYPT, "XFRMA_ALG_CRYPT", "algorithm"),
        (uapi.XFRMA_ENCAP, "XFRMA_ENCAP", "encapsulation"),
        (uapi.XFRMA_TMPL, "XFRMA_TMPL", "template"),
        (uapi.XFRMA_SA, "XFRMA_SA", "sa"),
        (uapi.XFRMA_POLICY, "XFRMA_POLICY", "policy"),
        (uapi.XFRMA_LTIME_VAL, "XFRMA_LTIME_VAL", "lifetime"),
        (uapi.XFRMA_REPLAY_VAL, "XFRMA_REPLAY_VAL", "replay"),
        (uapi.XFRMA_REPLAY_THRESH, "XFRMA_REPLAY_THRESH", "uint32"),
        (uapi.XFRMA_SRCADDR, "XFRMA_SRCADDR", "cdata"),
        (uapi.XFRMA_LASTUSED, "XFRMA_LASTUSED", "uint64"),
        (uapi.XFRMA_POLICY_TYPE, "XFRMA_POLICY_TYPE", "policy_type"),
        (uapi.XFRMA_ALG_AEAD, "XFRMA_ALG_AEAD", "aead_algorithm"),
        (uapi.XFRMA_ALG_AUTH_TRUNC, "XFRMA_ALG_AUTH_TRUNC", "truncated_algorithm"),
        (uapi.XFRMA_REPLAY_ESN_VAL, "XFRMA_REPLAY_ESN_VAL", "replay_esn"),
    )


class SaMessage(XfrmMessage):
    """NEWSA and UPDSA: ``struct xfrm_usersa_info``."""

    __slots__ = ()
    fields = USERSA_INFO


class SaIdMessage(XfrmMessage):
    """DELSA and GETSA: ``struct xfrm_usersa_id``."""

    __slots__ = ()
    fields = USERSA_ID


class PolicyMessage(XfrmMessage):
    """NEWPOLICY and UPDPOLICY: ``struct xfrm_userpolicy_info``."""

    __slots__ = ()
    fields = USERPOLICY_INFO


class PolicyIdMessage(XfrmMessage):
    """DELPOLICY and GETPOLICY: ``struct xfrm_userpolicy_id``."""

    __slots__ = ()
    fields = USERPOLICY_ID


class AeventMessage(XfrmMessage):
    """NEWAE and GETAE: ``struct xfrm_aevent_id``."""

    __slots__ = ()
    fields = (*nested("sa_id", USERSA_ID), ("saddr", "16s"), ("flags", "I"), ("reqid", "I"))


class ExpireMessage(XfrmMessage):
    """EXPIRE: ``struct xfrm_user_expire``."""

    __slots__ = ()
    fields = (*nested("state", USERSA_INFO), ("hard", "B"), ("pad", "7x"))


class PolicyExpireMessage(XfrmMessage):
    """POLEXPIRE: ``struct xfrm_user_polexpire``."""

    __slots__ = ()
    fields = (*nested("pol", USERPOLICY_INFO), ("hard", "B"), ("pad", "7x"))


class AcquireMessage(XfrmMessage):
    """ACQUIRE: ``struct xfrm_user_acquire``."""

    __slots__ = ()
    fields = (
        *nested("id", ID),
        ("saddr", "16s"),
        *nested("sel", SELECTOR),
        *nested("policy", USERPOLICY_INFO),
        ("aalgos", "I"),
        ("ealgos", "I"),
        ("calgos", "I"),
        ("seq", "I"),
    )


class MappingMessage(XfrmMessage):
    """MAPPING: ``struct xfrm_user_mapping``."""

    __slots__ = ()
    fields = USER_MAPPING


class FlushSaMessage(XfrmMessage):
    """FLUSHSA: ``struct xfrm_usersa_flush``."""

    __slots__ = ()
    fields = (("proto", "B"),)


class FlushPolicyMessage(XfrmMessage):
    """FLUSHPOLICY: no struct, the policy type as an attribute."""

    __slots__ = ()


class SadInfoMessage(Message):
    """GETSADINFO and NEWSADINFO: a word of flags, then ``enum xfrm_sadattr_type_t``."""

    __slots__ = ()
    fields = (("flags", "I"),)
    sad_hash = SadHashAttribute
    nla_map = (
        (uapi.XFRMA_SAD_CNT, "XFRMA_SAD_CNT", "uint32"),
        (uapi.XFRMA_SAD_HINFO, "XFRMA_SAD_HINFO", "sad_hash"),
    )


class SpdInfoMessage(Message):
    """GETSPDINFO and NEWSPDINFO: a word of flags, then ``enum xfrm_spdattr_type_t``."""

    __slots__ = ()
    fields = (("flags", "I"),)
    spd_counts = SpdCountsAttribute
    spd_hash = SpdHashAttribute
    spd_threshold = SpdThresholdAttribute
    nla_map = (
        (uapi.XFRMA_SPD_INFO, "XFRMA_SPD_INFO", "spd_counts"),
        (uapi.XFRMA_SPD_HINFO, "XFRMA_SPD_HINFO", "spd_hash"),
        (uapi.XFRMA_SPD_IPV4_HTHRESH, "XFRMA_SPD_IPV4_HTHRESH", "spd_threshold"),
        (uapi.XFRMA_SPD_IPV6_HTHRESH, "XFRMA_SPD_IPV6_HTHRESH", "spd_threshold"),
    )


MESSAGES: Final[dict[int, type[Message]]] = {
    uapi.XFRM_MSG_NEWSA: SaMessage,
    uapi.XFRM_MSG_UPDSA: SaMessage,
    uapi.XFRM_MSG_DELSA: SaIdMessage,
    uapi.XFRM_MSG_GETSA: SaIdMessage,
    uapi.XFRM_MSG_NEWPOLICY: PolicyMessage,
    uapi.XFRM_MSG_UPDPOLICY: PolicyMessage,
    uapi.XFRM_MSG_DELPOLICY: PolicyIdMessage,
    uapi.XFRM_MSG_GETPOLICY: PolicyIdMessage,
    uapi.XFRM_MSG_NEWAE: AeventMessage,
    uapi.XFRM_MSG_GETAE: AeventMessage,
    uapi.XFRM_MSG_EXPIRE: ExpireMessage,
    uapi.XFRM_MSG_POLEXPIRE: PolicyExpireMessage,
    uapi.XFRM_MSG_ACQUIRE: AcquireMessage,
    uapi.XFRM_MSG_MAPPING: MappingMessage,
    uapi.XFRM_MSG_FLUSHSA: FlushSaMessage,
    uapi.XFRM_MSG_FLUSHPOLICY: FlushPolicyMessage,
    uapi.XFRM_MSG_GETSADINFO: SadInfoMessage,
    uapi.XFRM_MSG_NEWSADINFO: SadInfoMessage,
    uapi.XFRM_MSG_GETSPDINFO: SpdInfoMessage,
    uapi.XFRM_MSG_NEWSPDINFO: SpdInfoMessage,
}


class Head(NamedTuple):
    """``struct nlmsghdr`` without its length."""

    type: int
    flags: int = 0
    sequence: int = 0
    port_id: int = 0


def encode_message(
    head: Head,
    fields: dict[str, int | bytes],
    attributes: tuple[tuple[str, object], ...] = (),
) -> bytes:
    """Return one netlink message; fields that are not named are zero."""
    message = MESSAGES[head.type]()
    message["header"] = {
        "type": head.type,
        "flags": head.flags,
        "sequence_number": head.sequence,
        "pid": head.port_id,
    }
    message.update(fields)
    message["attrs"] = [list(attribute) for attribute in attributes]
    message.encode()
    return bytes(message.data)
