"""REGISTER over TLS, profile ims: TS 33.203 Annex O, both of its ways.

With the lists: a REGISTER in clear was challenged with ``Security-Server: tls``, and this one
brings Security-Verify and Security-Client back over TLS; the daemon compares them when it binds
the connection. Without: the user agent came by TLS from the start, and there are no such headers.
The S-CSCF challenges with SIP digest and is told by ``integrity-protected`` how far the connection
is proven (T33-O-b).
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from sip_hooks import ims
from sip_hooks.ims import RegistrationEntry
from sip_hooks.kamailio import message, tables
from sip_hooks.kamailio.answers import granted_in, identities_in, make_ready, service_route_in
from sip_hooks.kamailio.connections import Connections, is_over_tls
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.message import Refused
from sip_hooks.kamailio.settings import HookSettings
from sip_hooks.kamailio.tls_table import TlsEntry

_PENDING, _PROVEN = "tls-pending", "tls-yes"


class TlsRegistering:
    """Decides about REGISTER over TLS."""

    def __init__(
        self, settings: HookSettings, calls: DaemonCalls, connections: Connections
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._connections = connections

    def request(self) -> str:
        """Judge a REGISTER over TLS, bind its connection, and make it ready for the core."""
        if not is_over_tls():
            raise Refused(403, "Forbidden", why="no TLS 1.2 or later (UPD-8996)")
        vias = message.rows("Via")
        if not ims.has_one_via(vias):
            raise Refused(502, "Bad Gateway", why="more than one Via")  # R3329-2.3.2-b
        authorization = message.rows("Authorization")
        try:
            identity_to = ims.aor_of(message.value("$tu"))
            # TS 24.229 5.2.2.1: without credentials the public identity tells the private one.
            identity = (
                ims.private_identity(authorization)
                if authorization
                else identity_to.partition(":")[2]
            )
        except ims.ImsError as error:
            raise Refused(400, "Bad Request", why=str(error)) from None
        flow = message.flow()
        bound = self._connections.attach(
            identity,
            proven=True,
            public=(identity_to,),
            verify=message.rows("Security-Verify"),
            client=message.rows("Security-Client"),
        )
        token = token_of(flow)
        word = _PROVEN if self._is_registered(identity, flow) else _PENDING
        if authorization:
            marked = ims.mark_integrity_as(authorization[0], word)
            message.replace("Authorization", (marked,))
        message.keep(
            {
                "identity": identity,
                "to": identity_to,
                "contact": message.rows("Contact"),
                "flow": flow,
                "set": None,
                "tls": list(bound),
            }
        )
        make_ready(self._settings, token)
        return "registrar"

    def _is_registered(self, identity: str, flow: Dict[str, Any]) -> bool:
        """Whether this very identity has registered over the connection (T33-O-b).

        Only the daemon knows: what the workers share is written by several, and another identity
        may be named while the 200 of the first is on its way. Without its word all are challenged.
        """
        try:
            found = self._calls.find(flow)
        except Refused:
            return False
        if found is None or found["association"]["confirmedAt"] <= 0:
            return False
        registered: str = found["association"]["registration"]["privateIdentity"]
        return registered == identity

    # --- answers ---------------------------------------------------------------------------------

    def challenge(self) -> None:
        """A 401: SIP digest. There is nothing to agree on any more; keys leave in no case."""
        append_challenges()
        message.set_value("$avp(sad_offered)", "1")

    def answered(self, state: Dict[str, Any]) -> None:
        """A final answer other than a challenge; a refusal leaves reg-await-auth running."""
        if int(message.value("$rs")) >= 300:
            return
        granted = granted_in(state)
        flow, bound = state["flow"], TlsEntry(*state["tls"])
        token = token_of(flow)
        before = tables.registration_entry(token)
        if granted:
            self._confirm(state, token, before, granted)
        elif granted == 0:
            left = () if before is None else tuple(a for a in before.aors if a != state["to"])
            if before is not None and left:
                tables.put_registration(token, before.with_aors(left), 3600)
                return
            self._connections.release(bound)
            tables.forget(token)

    def _confirm(
        self,
        state: Dict[str, Any],
        token: str,
        before: Optional[RegistrationEntry],
        granted: int,
    ) -> None:
        flow, bound = state["flow"], TlsEntry(*state["tls"])
        aors = {state["to"], *(() if before is None else before.aors)}
        entry = RegistrationEntry(
            bound.association,
            flow["localPort"],
            identities_in(state["to"]),
            service_route_in(),
            tuple(sorted(aors)),
        )
        confirmed = self._connections.confirm(
            flow, bound, granted, public=entry.identities, note=entry.note()
        )
        if confirmed is not None:
            seconds = int(confirmed.get("secondsLeft", granted))
            tables.put_registration(token, entry, max(granted, seconds))


def token_of(flow: Dict[str, Any]) -> str:
    """Return the token of the registration over a connection."""
    return ims.registration_token(
        flow["peerAddress"], flow["peerPort"], flow["localAddress"], flow["localPort"]
    )


def append_challenges() -> Tuple[str, ...]:
    """Put the challenges of a 401 back without keys; return their nonces."""
    nonces = []
    for row in message.rows("WWW-Authenticate"):
        keys = ims.take_keys((row,))
        message.append("WWW-Authenticate", keys.clean)
        nonces.append(keys.nonce)
    return tuple(nonces)
