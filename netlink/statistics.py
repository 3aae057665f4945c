"""The kernel's own counters of IPsec errors in this network namespace."""

from pathlib import Path
from typing import Final

_XFRM_STAT: Final = Path("/proc/net/xfrm_stat")


def read_statistics() -> dict[str, int]:
    """Return the counters that are not zero, e.g. ``XfrmInPolBlock``; empty if there are none."""
    try:
        lines = _XFRM_STAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {name: int(value) for name, value in pairs if value != "0"}
