"""Calls of ``sad`` from a SIP worker: short, and refused in SIP's words when they fail.

What must not be forgotten although the daemon does not answer (Confirm, Release, TakeIntoUse)
waits in a shared table and is tried again by :meth:`DaemonCalls.retry`, which a timer runs.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

from sip_hooks.client import CallError, Client, ClientError
from sip_hooks.kamailio import message
from sip_hooks.kamailio.message import Refused
from sip_hooks.kamailio.settings import HookSettings

_INTERFACE = "org.sipsad.Associations."
_WAITING = "sad_waiting"
_WAIT_SECONDS = 3600
_RETRIES_PER_TURN = 64

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


class DaemonCalls:
    """One connection of one worker."""

    def __init__(self, settings: HookSettings) -> None:
        self._settings = settings
        self._client = Client(settings.socket, timeout=settings.timeout)

    def call(self, method: str, **parameters: Any) -> Dict[str, Any]:
        """Call; raise :class:`Refused` with the SIP status that fits the error."""
        try:
            return self._client.call(_INTERFACE + method, parameters)
        except CallError as error:
            raise _refusal(method, error) from None
        except ClientError as error:
            message.log("{}: {}".format(method, error))
            raise Refused(503, "Service Unavailable", why="sad does not answer") from None

    def find(self, flow: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Return the answer of Find, None for a flow that nothing protects."""
        try:
            return self._client.call(_INTERFACE + "Find", {"flow": flow})
        except CallError as error:
            if error.short_name == "UnknownFlow":
                return None
            raise _refusal("Find", error) from None
        except ClientError as error:
            message.log("Find: {}".format(error))
            raise Refused(503, "Service Unavailable", why="sad does not answer") from None

    def insist(self, method: str, parameters: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Call something harmless to repeat; what cannot be delivered now waits.

        Returns None then, and when the daemon has refused for good.
        """
        try:
            return self._client.call(_INTERFACE + method, parameters)
        except CallError as error:
            if error.short_name not in {"Busy", "KernelRefused", "JournalUnavailable"}:
                message.log("{}: {}".format(method, error))
                return None
            why: ClientError = error
        except ClientError as error:
            why = error
        message.log("{}: {}; it will be tried again".format(method, why))
        call = json.dumps({"method": method, "parameters": parameters}, separators=(",", ":"))
        key = "{}:{}".format(method, parameters["id"])
        message.table_set(_WAITING, key, call, _WAIT_SECONDS)
        return None

    def retry(self) -> List[Dict[str, Any]]:
        """Try again what waits; return the associations that were confirmed by it."""
        confirmed: List[Dict[str, Any]] = []
        for key in message.table_keys(_WAITING, _RETRIES_PER_TURN):
            text = message.table_get(_WAITING, key)
            if text is None:
                continue
            waiting = json.loads(text)
            try:
                answer = self._client.call(_INTERFACE + waiting["method"], waiting["parameters"])
            except CallError as error:
                if error.short_name in {"Busy", "KernelRefused", "JournalUnavailable"}:
                    continue
                message.log("{}: {}".format(waiting["method"], error))
            except ClientError:
                return confirmed  # not there yet: the next turn
            else:
                if waiting["method"] == "Confirm":
                    confirmed.append(answer["association"])
            message.table_remove(_WAITING, key)
        return confirmed


def _refusal(method: str, error: CallError) -> Refused:
    status, reason = _STATUS.get(error.short_name, (503, "Service Unavailable"))
    header = ""
    if error.short_name == "VerifyMismatch" and error.parameters.get("securityServer"):
        header = "Security-Server: {}".format(error.parameters["securityServer"])
    elif error.short_name == "Busy":
        milliseconds = int(error.parameters.get("retryAfterMilliseconds", 1000))
        header = "Retry-After: {}".format(max(1, -(-milliseconds // 1000)))
    return Refused(status, reason, header, why="{}: {}".format(method, error))
