"""Calls of ``sad`` from a SIP worker: short, and refused in SIP's words when they fail.

What must not be forgotten although the daemon does not answer (Confirm, Release, TakeIntoUse)
waits in a shared table and is tried again by :meth:`DaemonCalls.retry`, which a timer runs.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any, Dict, Optional, Protocol

from sip_hooks.client import CallError, Client, ClientError, TimedOut, Unreachable
from sip_hooks.kamailio import message, tables
from sip_hooks.kamailio.message import Refused
from sip_hooks.kamailio.tables import Association

_INTERFACE = "org.sipsad.Associations."
_WAITING = "sad_waiting"
_AWAY = "sad_away"
_WAIT_SECONDS = 3600
_RETRIES_PER_TURN = 64
_AWAY_SECONDS = 2
_MOST_WAITING = 4096
_LATER = frozenset({"Busy", "KernelRefused", "JournalUnavailable"})
#: A registration is confirmed before it is used, and both before it ends.
_ORDER = ("Confirm", "TakeIntoUse", "Release")

#: What the user agent did wrong, by the daemon's error; everything else is ours: 503.
_STATUS: Dict[str, tuple[int, str]] = {
    "BadHeader": (400, "Bad Request"),
    "NoCommonMechanism": (488, "Not Acceptable Here"),
    "VerifyMismatch": (494, "Security Agreement Required"),
    "UnknownFlow": (403, "Forbidden"),
    "NoSuchAssociation": (403, "Forbidden"),
    "FlowInUse": (403, "Forbidden"),
    "InvalidParameter": (400, "Bad Request"),
}


class CallSettings(Protocol):
    """Where the daemon is; ``timeout`` bounds one call, in seconds."""

    @property
    def socket(self) -> str:
        """Path of its socket."""

    @property
    def timeout(self) -> float:
        """Seconds."""


class DaemonCalls:
    """One connection of one worker."""

    def __init__(self, settings: CallSettings) -> None:
        self._client = Client(settings.socket, timeout=settings.timeout)

    def call(self, method: str, **parameters: Any) -> Dict[str, Any]:
        """Call; raise :class:`Refused` with the SIP status that fits the error."""
        try:
            return self._ask(method, parameters)
        except CallError as error:
            raise _refusal(method, error) from None
        except ClientError as error:
            message.log("{}: {}".format(method, error))
            raise Refused(503, "Service Unavailable", why="sad does not answer") from None

    def _ask(self, method: str, parameters: Dict[str, Any]) -> Dict[str, Any]:
        """Call, unless a worker has just waited in vain: a daemon that hangs must not hold all."""
        if message.table_get(_AWAY, _AWAY) is not None:
            raise Unreachable(self._client.path, "it has just let a call wait", may_have_run=False)
        try:
            return self._client.call(_INTERFACE + method, parameters)
        except TimedOut:
            message.table_set(_AWAY, _AWAY, "1", _AWAY_SECONDS)
            raise

    def find(self, flow: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Return the answer of Find, None for a flow that nothing protects."""
        try:
            return self._ask("Find", {"flow": flow})
        except CallError as error:
            if error.short_name == "UnknownFlow":
                return None
            raise _refusal("Find", error) from None
        except ClientError as error:
            message.log("Find: {}".format(error))
            raise Refused(503, "Service Unavailable", why="sad does not answer") from None

    def tell(self, method: str, parameters: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """As :meth:`insist`, but None also when the daemon has refused for good."""
        with contextlib.suppress(CallError):
            return self.insist(method, parameters)
        return None

    def insist(
        self,
        method: str,
        parameters: Dict[str, Any],
        confirming: Optional[Association] = None,
    ) -> Optional[Dict[str, Any]]:
        """Call something harmless to repeat; what cannot be delivered now waits: None then.

        Raises CallError if the daemon refuses for good. What is known of the set ``confirming``
        is then forgotten: it is not confirmed, or is no more, and nothing shall pass on it.
        """
        try:
            return self._ask(method, parameters)
        except CallError as error:
            if error.short_name not in _LATER:
                _give_up(method, error, confirming)
                raise
            why: ClientError = error
        except ClientError as error:
            why = error
        message.log("{}: {}; it will be tried again".format(method, why))
        waiting = {
            "method": method,
            "parameters": parameters,
            "at": time.monotonic(),
            "confirming": confirming and tables.ends_of(confirming),
        }
        call = json.dumps(waiting, separators=(",", ":"))
        key = "{}:{}".format(method, parameters["id"])
        message.table_set(_WAITING, key, call, _WAIT_SECONDS)
        return None

    def retry(self) -> None:
        """Try again what waits; stop when the daemon is not there."""
        keys = message.table_keys(_WAITING, _MOST_WAITING)
        keys.sort(key=lambda key: _ORDER.index(key.partition(":")[0]))
        for key in keys[:_RETRIES_PER_TURN]:
            text = message.table_get(_WAITING, key)
            if text is None:
                continue
            waiting = json.loads(text)
            parameters = waiting["parameters"]
            if "expiresSeconds" in parameters:
                # The registration has not waited: what is left of it is granted.
                parameters["expiresSeconds"] -= int(time.monotonic() - waiting["at"])
            try:
                if parameters.get("expiresSeconds", 1) > 0:
                    self._ask(waiting["method"], parameters)
            except CallError as error:
                if error.short_name in _LATER:
                    continue
                _give_up(waiting["method"], error, waiting["confirming"])
            except ClientError:
                return  # not there yet: the next turn
            message.table_remove(_WAITING, key)


def _give_up(method: str, error: CallError, confirming: Optional[Association]) -> None:
    message.log("{}: {}".format(method, error))
    if confirming is not None:
        tables.forget_set(confirming)


def _refusal(method: str, error: CallError) -> Refused:
    status, reason = _STATUS.get(error.short_name, (503, "Service Unavailable"))
    if error.parameters.get("rule") == "T33-M-c":  # nobody behind a NAT has such an address
        status, reason = 403, "Forbidden"
    header = ""
    if error.short_name == "VerifyMismatch" and error.parameters.get("securityServer"):
        header = "Security-Server: {}".format(error.parameters["securityServer"])
    elif error.short_name == "Busy":
        milliseconds = int(error.parameters.get("retryAfterMilliseconds", 1000))
        header = "Retry-After: {}".format(max(1, -(-milliseconds // 1000)))
    return Refused(status, reason, header, why="{}: {}".format(method, error))
