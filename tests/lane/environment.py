"""What a command finds in its environment, the same in every lane.

The contract: ``SAD_LANE`` names the lane, ``SAD_LANE_SCRATCH`` the one folder whose files
outlive the run; the rest of the host's file system is read-only; ``/run`` is an empty tmpfs
with ``TMPDIR`` and ``HOME`` in it; the user is root, alone in its network namespace with ``lo``
up; standard input is empty. Counterpart of :mod:`tests.lane.inside` (host) and
:mod:`tests.lane.guest` (UML), which make it true.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.lane.decision import Lane, LaneError

TEMPORARY: Final = "/run/tmp"
HOME: Final = "/run/tmp/home"
FOLDERS: Final = (TEMPORARY, HOME, "/run/netns", "/run/lock", "/dev/shm")
"""Folders that exist in every lane, and are empty."""

# Things of the caller's session that would be lies inside.
_DROPPED: Final = frozenset(
    {
        "PWD", "OLDPWD", "SHLVL", "_", "TMP", "TEMP", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS",
        "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "MAKEFLAGS", "MFLAGS",
        "MAKELEVEL",
    }
)  # fmt: skip
_SYSTEM_PATHS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")


def inner_environment(
    outer: Mapping[str, str], *, lane: Lane, scratch: Path, columns: int | None
) -> dict[str, str]:
    """Return the environment of the command; ``columns`` None means that nobody watches.

    A guest's output goes through a terminal of the guest, so without a watcher the programs are
    told not to colour it.
    """
    inner = {name: value for name, value in outer.items() if name not in _DROPPED}
    mine = outer.get("PYTEST_ADDOPTS", "")
    paths = [part for part in outer.get("PATH", "").split(":") if part]
    inner |= {
        "PATH": ":".join(paths + [path for path in _SYSTEM_PATHS if path not in paths]),
        "TMPDIR": TEMPORARY,
        "HOME": HOME,
        "USER": "root",
        "LOGNAME": "root",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The tree is read-only: pytest would warn that it cannot write its cache. Its report
        # carries the lane's name as proof of where the tests ran (tests.suite).
        "PYTEST_ADDOPTS": f"{mine} -p no:cacheprovider -o junit_suite_name={lane}".strip(),
        "SAD_LANE": lane.value,
        "SAD_LANE_SCRATCH": str(scratch),
    }
    if columns is None:
        inner |= {"NO_COLOR": "1", "PY_COLORS": "0", "TERM": "dumb"}
    else:
        inner["COLUMNS"] = str(columns)
    return inner


def hides(folder: Path) -> bool:
    """Whether a lane's own mounts hide this folder from the command."""
    return any(folder.is_relative_to(top) for top in ("/run", "/dev", "/proc", "/sys"))


def check_visible(folder: Path, what: str) -> None:
    """Refuse a folder that the command could not see."""
    if hides(folder):
        raise LaneError(f"{what} {folder} lies where the lane mounts its own: choose another")


def seconds_from(outer: Mapping[str, str], name: str, default: float) -> float:
    """Read a positive number of seconds from the environment."""
    text = outer.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise LaneError(f"{name}={text!r} is not a positive number of seconds")
    return seconds


def terminal_columns(descriptor: int) -> int | None:
    """Return the width of the terminal behind a descriptor, None when there is none."""
    try:
        return os.get_terminal_size(descriptor).columns or 80
    except OSError:
        return None
