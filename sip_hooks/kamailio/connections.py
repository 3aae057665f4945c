"""TLS connections of user agents: each gets its association at ``sad``, which ends with it.

The first request over a connection attaches it, the 200 of a REGISTER over it confirms, a
de-registration releases it. What is known of a connection stands in a shared table, so that later
requests ask nobody.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

from sip_hooks.client import CallError
from sip_hooks.kamailio import message, tls_table
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.tls_table import TlsEntry

#: UPD-8996: what Kamailio's tls module calls the versions that ``tls`` may mean.
TLS_VERSIONS = frozenset({"TLSv1.2", "TLSv1.3"})


def is_over_tls() -> bool:
    """Whether the message in hand came over TLS 1.2 or later."""
    over_tls = message.value("$pr") in {"tls", "wss"}
    return over_tls and message.value("$tls_version") in TLS_VERSIONS


class Connections:
    """What one worker does about them. ``seconds``: how long one may live unregistered."""

    def __init__(
        self, calls: DaemonCalls, endpoint: str, linger: int, seconds: Optional[int] = None
    ) -> None:
        self._calls = calls
        self._endpoint = endpoint
        self._linger = linger
        self._seconds = seconds

    def attach(
        self,
        identity: str,
        *,
        proven: bool,
        public: Sequence[str] = (),
        verify: Sequence[str] = (),
        client: Sequence[str] = (),
    ) -> TlsEntry:
        """Return the association of the connection in hand; ask for it once.

        Who sends an identity that is not ``proven`` may be anybody whom the connection serves
        already: a callee's requests bear the name that was called. Raises Refused.
        """
        flow = message.flow()
        entry = tls_table.known(flow)
        if entry is None and not proven:
            found = self._calls.find(flow)
            if found is not None and found["association"].get("tls"):
                entry = tls_table.note(flow, found["association"])
        if entry is not None and (entry.identity == identity or not proven):
            return entry
        parameters: Dict[str, Any] = {
            "endpoint": self._endpoint,
            "registration": {"privateIdentity": identity, "publicIdentities": list(public)},
            "flow": flow,
            "tls": session(),
        }
        if verify or client:
            parameters["securityVerify"] = list(verify)
            parameters["securityClient"] = list(client)
        if self._seconds is not None:
            parameters["lifetimeSeconds"] = self._seconds
        return tls_table.note(flow, self._calls.call("Attach", **parameters)["association"])

    def confirm(
        self,
        flow: Dict[str, Any],
        entry: TlsEntry,
        seconds: int,
        *,
        public: Sequence[str] = (),
        note: Optional[str] = None,
    ) -> Optional[Dict[str, Any]]:
        """A registration was granted over a connection; the daemon hears of it now or later.

        Return the association, empty while the daemon is away; None if it has ended.
        """
        parameters: Dict[str, Any] = {
            "id": entry.association,
            "expiresSeconds": seconds,
            "privateIdentity": entry.identity,  # another may have been named since (T24-P-4)
        }
        if public:
            parameters["publicIdentities"] = list(public)
        if note is not None:
            parameters["note"] = note
        try:
            reply = self._calls.insist("Confirm", parameters)
        except CallError:
            return None  # it has ended meanwhile, and its connection with it
        if reply is None:
            return {}
        association: Dict[str, Any] = reply["association"]
        tls_table.note(flow, association, entry.connection)
        return association

    def release(self, entry: TlsEntry) -> None:
        """The registration over a connection has ended: so does the connection, after a while."""
        parameters = {"id": entry.association, "lingerSeconds": self._linger}
        self._calls.tell("Release", parameters)


def session() -> Dict[str, Any]:
    """Return what the handshake of the connection in hand showed, without what it did not."""
    found = {
        "identity": _identity(),
        "version": message.value("$tls_version"),
        "cipher": message.value("$tls_cipher_info"),
    }
    return {name: text for name, text in found.items() if text}


def _identity() -> str:
    """Return whom a verified client certificate names (RFC 5922 7.1): URI, then DNS, then CN."""
    if message.value("$tls_peer_verified") != "1":
        return ""
    uri = message.value("$tls_peer_san_uri")
    if uri.lower().startswith("sip:"):
        return uri
    return message.value("$tls_peer_san_hostname") or message.value("$tls_peer_subject_cn")
