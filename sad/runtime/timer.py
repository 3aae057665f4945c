"""What tells the loop of time: a timer on CLOCK_BOOTTIME, and steps of the real-time clock.

CLOCK_BOOTTIME counts through suspend as the event loop's clock does not; the real-time clock is
the one by which the kernel counts its own limits. Python has ``os.timerfd_create`` only from 3.13
on, hence libc by ctypes.
"""

import asyncio
import contextlib
import ctypes
import errno
import functools
import os
import time
from collections.abc import Callable
from typing import Final

_CLOCK_REALTIME: Final = 0  # linux/time.h
_CLOCK_BOOTTIME: Final = 7
_TFD_TIMER_ABSTIME: Final = 1
_TFD_TIMER_CANCEL_ON_SET: Final = 2
_NEVER: Final = 1 << 40  # seconds: some 35 000 years
_TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class SystemClock:
    """The kernel's clocks, in seconds: the calls themselves, for each request looks ten times."""

    boottime = staticmethod(functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME))
    realtime = staticmethod(time.time)


class _TimerDescriptor:
    """A timerfd that the running loop watches until :meth:`close`. Raises OSError."""

    def __init__(self, clock: int, fired: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(clock, _TFD_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), f"timerfd_create({clock})")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, fired)

    def arm(self, flags: int, nanoseconds: int) -> None:
        """Strike at an instant of its clock, 0 for never."""
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(nanoseconds // 10**9, nanoseconds % 10**9))
        if self._libc.timerfd_settime(self._fd, flags, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def read(self) -> None:
        """Take note of a strike. Raises OSError: BlockingIOError if there was none."""
        os.read(self._fd, 8)

    def close(self) -> None:
        """Disarm and free the descriptor."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


class BoottimeTimer:
    """Calls ``callback`` once CLOCK_BOOTTIME has reached the armed instant."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._timer = _TimerDescriptor(_CLOCK_BOOTTIME, self._fired)

    def arm(self, at: float | None) -> None:
        """Fire at ``at`` (seconds of CLOCK_BOOTTIME; the past fires at once), None disarms."""
        self._timer.arm(_TFD_TIMER_ABSTIME, 0 if at is None else max(1, int(at * 1e9)))

    def _fired(self) -> None:
        with contextlib.suppress(BlockingIOError):  # re-armed between readiness and this read
            self._timer.read()
            self._callback()

    def close(self) -> None:
        """Disarm and free the descriptor."""
        self._timer.close()


class ClockSetNotice:
    """Calls ``callback`` after each step of the real-time clock, and after a suspend.

    Slewing is no step. A step before the construction goes unnoticed.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._timer = _TimerDescriptor(_CLOCK_REALTIME, self._fired)
        self._timer.arm(_TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET, _NEVER * 10**9)

    def _fired(self) -> None:
        try:
            self._timer.read()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
        self._callback()  # the timer stays armed

    def close(self) -> None:
        """Free the descriptor."""
        self._timer.close()
