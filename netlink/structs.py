"""The structs of linux/xfrm.h as field lists: name and ``struct`` code, pads included.

:mod:`netlink.schema` makes messages of them. '>' marks what travels in network order, everything
else is in the host's.
"""

from typing import Final, TypeAlias

Fields: TypeAlias = tuple[tuple[str, str], ...]


def nested(prefix: str, fields: Fields) -> Fields:
    """Prefix the fields of a nested struct: pyroute2 knows flat structs only."""
    return tuple((f"{prefix}_{name}", code) for name, code in fields)


SELECTOR: Final[Fields] = (
    ("daddr", "16s"),
    ("saddr", "16s"),
    ("dport", ">H"),
    ("dport_mask", ">H"),
    ("sport", ">H"),
    ("sport_mask", ">H"),
    ("family", "H"),
    ("prefixlen_d", "B"),
    ("prefixlen_s", "B"),
    ("proto", "B"),
    ("pad", "3x"),
    ("ifindex", "i"),
    ("user", "I"),
)
ID: Final[Fields] = (("daddr", "16s"), ("spi", ">I"), ("proto", "B"), ("pad", "3x"))
LIFETIME_CFG: Final[Fields] = (
    ("soft_byte_limit", "Q"),
    ("hard_byte_limit", "Q"),
    ("soft_packet_limit", "Q"),
    ("hard_packet_limit", "Q"),
    ("soft_add_expires_seconds", "Q"),
    ("hard_add_expires_seconds", "Q"),
    ("soft_use_expires_seconds", "Q"),
    ("hard_use_expires_seconds", "Q"),
)
LIFETIME_CUR: Final[Fields] = (
    ("bytes", "Q"),
    ("packets", "Q"),
    ("add_time", "Q"),
    ("use_time", "Q"),
)
STATS: Final[Fields] = (("replay_window", "I"), ("replay", "I"), ("integrity_failed", "I"))
ENCAP_TMPL: Final[Fields] = (
    ("encap_type", "H"),
    ("encap_sport", ">H"),
    ("encap_dport", ">H"),
    ("pad", "2x"),
    ("encap_oa", "16s"),
)
USERSA_INFO: Final[Fields] = (
    *nested("sel", SELECTOR),
    *nested("id", ID),
    ("saddr", "16s"),
    *nested("lft", LIFETIME_CFG),
    *nested("curlft", LIFETIME_CUR),
    *nested("stats", STATS),
    ("seq", "I"),
    ("reqid", "I"),
    ("family", "H"),
    ("mode", "B"),
    ("replay_window", "B"),
    ("flags", "B"),
    ("pad", "7x"),
)
USERSA_ID: Final[Fields] = (
    ("daddr", "16s"),
    ("spi", ">I"),
    ("family", "H"),
    ("proto", "B"),
    ("pad", "1x"),
)
USERPOLICY_INFO: Final[Fields] = (
    *nested("sel", SELECTOR),
    *nested("lft", LIFETIME_CFG),
    *nested("curlft", LIFETIME_CUR),
    ("priority", "I"),
    ("index", "I"),
    ("dir", "B"),
    ("action", "B"),
    ("flags", "B"),
    ("share", "B"),
    ("pad", "4x"),
)
USERPOLICY_ID: Final[Fields] = (
    *nested("sel", SELECTOR),
    ("index", "I"),
    ("dir", "B"),
    ("pad", "3x"),
)
USER_TMPL: Final[Fields] = (
    *nested("id", ID),
    ("family", "H"),
    ("pad1", "2x"),
    ("saddr", "16s"),
    ("reqid", "I"),
    ("mode", "B"),
    ("share", "B"),
    ("optional", "B"),
    ("pad2", "1x"),
    ("aalgos", "I"),
    ("ealgos", "I"),
    ("calgos", "I"),
)
USER_MAPPING: Final[Fields] = (
    *nested("id", USERSA_ID),
    ("reqid", "I"),
    ("old_saddr", "16s"),
    ("new_saddr", "16s"),
    ("old_sport", ">H"),
    ("new_sport", ">H"),
)
