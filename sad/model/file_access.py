"""Who may use a file, from its mode and access list. Pure."""

import stat
import struct
from typing import Final

_ENTRY: Final = struct.Struct("<HHI")  # tag, permissions, id: linux/posix_acl_xattr.h
_HEADER: Final = struct.Struct("<I")
_VERSION: Final = 2
_GROUPS: Final = frozenset({0x04, 0x08})  # the owning group, other groups
_OWNER, _USER, _OWNING_GROUP, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_READ: Final = 4
_NOBODY: Final = 0xFFFF_FFFF


def is_open_to_others(mode: int, access_list: bytes | None) -> bool:
    """Whether anybody but the owner, and users named in the access list, may use a file.

    Where there is a list (systemd names the service's user in one) the group bits are its mask.
    """
    if mode & stat.S_IRWXO:
        return True
    if access_list is None:
        return bool(mode & stat.S_IRWXG)
    entries = _ENTRY.iter_unpack(access_list[_HEADER.size :])
    return any(tag in _GROUPS and permissions for tag, permissions, _ in entries)


def readable_by(uids: frozenset[int], gid: int | None) -> bytes:
    """Return the access list of a file that its owner and these may read, and nobody else.

    The kernel wants the entries by tag, then by id (acl(5)).
    """
    named = [(_USER, uid) for uid in sorted(uids)]
    groups = [] if gid is None else [(_GROUP, gid)]
    entries = [
        (_OWNER, _READ, _NOBODY),
        *((tag, _READ, number) for tag, number in named),
        (_OWNING_GROUP, 0, _NOBODY),
        *((tag, _READ, number) for tag, number in groups),
        (_MASK, _READ, _NOBODY),
        (_OTHER, 0, _NOBODY),
    ]
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)
