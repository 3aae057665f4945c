"""Keys pass through this process: it leaves no core and cannot be read by its user's others."""

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def forbid_core_dumps() -> None:
    """Make the process not dumpable (no core, no ptrace by its own uid). Raises OSError."""
    # Under the unit LimitCORE=0 stands already and its system call filter forbids setting it.
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "PR_SET_DUMPABLE")
