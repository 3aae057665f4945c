"""Entries of the fake kernel's tables as bytes, as the real one shows them in a dump.

:mod:`tests.support.recognition_contract` holds both to the same.
"""

import struct
from typing import Final

from netlink.model import AddPolicy, AddSa, CurrentLifetime, Policy, SaKeys, SecurityAssociation
from netlink.reference import encode_reference
from netlink.secret import Secret
from netlink.uapi import NLMSG_HDRLEN

_SECONDS: Final = struct.Struct("=Q")
#: Where curlft.add_time lies in struct xfrm_usersa_info and in struct xfrm_userpolicy_info.
_ADDED_SA, _ADDED_POLICY = NLMSG_HDRLEN + 176, NLMSG_HDRLEN + 136


def shown_sa(
    sa: SecurityAssociation, integrity_key: bytes, encryption_key: bytes, current: CurrentLifetime
) -> bytearray:
    """Return the message of a dump that shows an SA."""
    keys = SaKeys(integrity=Secret(integrity_key), encryption=Secret(encryption_key))
    return _added_at(encode_reference(AddSa(sa=sa, keys=keys), 0, 0), _ADDED_SA, current.add_time)


def shown_policy(policy: Policy, add_time: int) -> bytearray:
    """Return the message of a dump that shows a policy."""
    return _added_at(encode_reference(AddPolicy(policy), 0, 0), _ADDED_POLICY, add_time)


def _added_at(message: bytes, place: int, seconds: int) -> bytearray:
    shown = bytearray(message)
    _SECONDS.pack_into(shown, place, seconds)
    return shown
