"""The few system calls that Python 3.11 has no name for: mounts and namespaces.

Counterpart of :mod:`tests.support.namespaces` and of :mod:`tests.lane.inside`, its two users.
Standard library only: the lane runs before any package is installed. Numbers are those of
``linux/mount.h``, ``linux/sched.h`` and ``sys/mount.h``, the same on every architecture.
"""

import ctypes
import os
import struct
from typing import Final

CLONE_NEWNET: Final = 0x40000000
MS_BIND: Final = 4096
MNT_DETACH: Final = 2
MOUNT_ATTR_RDONLY: Final = 1
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_SYS_MOUNT_SETATTR: Final = 442

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, *, flags: int = 0, data: str = "") -> None:
    """Mount ``source`` on ``target``; raise OSError with the kernel's reason."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
    )
    _checked(result, f"mount {kind} on {target}")


def unmount(target: str) -> None:
    """Detach what is mounted on ``target``; open files keep working until they are closed."""
    _checked(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def set_read_only(target: str, *, read_only: bool, recursive: bool = False) -> None:
    """Make a mount (and with ``recursive`` every mount below it) read-only or writable.

    mount_setattr(2), Linux 5.12. Only this view of the file system changes, never the
    underlying one.
    """
    wanted, cleared = (MOUNT_ATTR_RDONLY, 0) if read_only else (0, MOUNT_ATTR_RDONLY)
    attributes = struct.pack("=QQQQ", wanted, cleared, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        target.encode(),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        attributes,
        ctypes.c_size_t(len(attributes)),
    )
    _checked(result, f"mount_setattr {target}")


def unshare_network() -> None:
    """Move the calling thread, and no other, into a new network namespace."""
    _checked(_libc.unshare(CLONE_NEWNET), "unshare network")


def set_network(descriptor: int) -> None:
    """Move the calling thread, and no other, into the network namespace behind a descriptor."""
    _checked(_libc.setns(descriptor, CLONE_NEWNET), "setns")
