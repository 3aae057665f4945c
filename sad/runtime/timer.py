"""One timer on CLOCK_BOOTTIME, which counts through suspend as the event loop's clock does not.

Python has ``os.timerfd_create`` only from 3.13 on, hence libc by ctypes.
"""

import asyncio
import contextlib
import ctypes
import os
import time
from collections.abc import Callable
from typing import Final

_CLOCK_BOOTTIME: Final = 7  # linux/time.h
_TFD_TIMER_ABSTIME: Final = 1
_TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class SystemClock:
    """The kernel's clocks, in seconds."""

    def boottime(self) -> float:
        """CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def realtime(self) -> float:
        """The real-time clock."""
        return time.time()


class BoottimeTimer:
    """Calls ``callback`` once CLOCK_BOOTTIME has reached the armed instant."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_BOOTTIME, _TFD_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create(CLOCK_BOOTTIME)")
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._fired)

    def arm(self, at: float | None) -> None:
        """Fire at ``at`` (seconds of CLOCK_BOOTTIME; the past fires at once), None disarms."""
        nanoseconds = 0 if at is None else max(1, int(at * 1e9))
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(nanoseconds // 10**9, nanoseconds % 10**9))
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _fired(self) -> None:
        with contextlib.suppress(BlockingIOError):  # re-armed between readiness and this read
            os.read(self._fd, 8)
            self._callback()

    def close(self) -> None:
        """Disarm and free the descriptor."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
