"""What ``app_python3`` loads in profile rfc3329: ``.../sip_hooks/kamailio/sad_rfc3329.py``.

Kamailio puts this file's own folder on the path; the package lies two folders above it.
"""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)

from sip_hooks.kamailio.agreement_hook import AgreementHook  # noqa: E402 - the path comes first


def mod_init() -> AgreementHook:
    """Called once, before Kamailio forks its workers."""
    return AgreementHook()
