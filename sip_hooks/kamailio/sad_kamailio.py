"""What ``app_python3`` loads: ``modparam("app_python3", "load", ".../sad_kamailio.py")``.

Kamailio puts this file's own folder on the path; the package lies two folders above it.
"""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)

from sip_hooks.kamailio.hook import Hook  # noqa: E402 - the path comes first


def mod_init() -> Hook:
    """Called once, before Kamailio forks its workers."""
    return Hook()
