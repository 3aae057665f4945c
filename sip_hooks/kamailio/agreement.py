"""An endpoint's static list as the daemon tells it, kept in the worker.

Mechanisms without kernel state need the daemon for nothing else: while it is away the list that is
known holds, and requests are served.
"""

from __future__ import annotations

import time
from typing import Any, Dict, NamedTuple, Optional, Tuple

from sip_hooks.kamailio.agreement_settings import AgreementSettings
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.message import Refused
from sip_hooks.secagree import SecMechanism, parse_header

_REFRESH_SECONDS = 1.0


class Agreement(NamedTuple):
    """What user agents are told; ``required``: who does not agree is refused (R3329-3-a)."""

    mechanisms: Tuple[SecMechanism, ...]
    required: bool


class AgreementSource:
    """Asks the daemon now and then; what was sent meanwhile is told apart by Security-Verify."""

    def __init__(self, calls: DaemonCalls, settings: AgreementSettings) -> None:
        self._calls = calls
        self._settings = settings
        self._known: Optional[Agreement] = None
        self._asked_at = 0.0

    def get(self) -> Agreement:
        """Return the agreement; Refused while it has never been told, or cannot be kept."""
        now = time.monotonic()
        if self._known is None or now - self._asked_at >= _REFRESH_SECONDS:
            self._asked_at = now
            try:
                answer = self._calls.call("GetAgreement", endpoint=self._settings.endpoint)
            except Refused:
                if self._known is None:
                    raise
            else:
                self._known = None  # should it be of no use, the one before is none either
                self._known = _usable(answer, self._settings)
        return self._known


def _usable(answer: Dict[str, Any], settings: AgreementSettings) -> Agreement:
    if answer["profile"] != "rfc3329":
        raise Refused(503, "Service Unavailable", why="sad.endpoint is not of profile rfc3329")
    mechanisms = parse_header(answer["securityServer"])
    fault = settings.fault_of(mechanisms)
    if fault is not None:
        raise Refused(503, "Service Unavailable", why=fault)
    return Agreement(mechanisms, answer["required"])
