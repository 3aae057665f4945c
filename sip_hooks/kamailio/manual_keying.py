"""``ipsec-man`` in profile rfc3329: whose SAs a request came on, and SAs for who comes in clear.

Nothing reaches a protected port but by SAs, whatever becomes of the daemon (its block policies and
the guard): a flow that had an association once is therefore protected as long as anything comes on
it, also while the daemon is away.
"""

from __future__ import annotations

import time
from typing import Dict, NamedTuple, Optional, Tuple

from sip_hooks import ims
from sip_hooks.kamailio import message
from sip_hooks.kamailio.agreement_settings import AgreementSettings
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.message import Refused
from sip_hooks.secagree.mechanism import IPSEC_MAN

#: How long what Find has said of a flow is not asked for again.
_KNOWN_SECONDS = 10.0
_MOST_KNOWN = 4096
#: What a peer without a registration is granted: the daemon bounds it by the key's validity.
_LONGEST_SECONDS = 604_800
#: RFC 3261 10.2: what a REGISTER without Expires suggests.
_DEFAULT_EXPIRES = 3600
#: 64*T1 inside the core (RFC 3261): the answer to the last REGISTER, and its retransmissions.
_LINGER_SECONDS = 32
_TEMPORARY = "temporary"

_Flow = Tuple[str, int, str, int]


class Peer(NamedTuple):
    """Whose SAs a request came on; ``identity`` is that of its key set.

    ``registers``: they end with its registration, too, not with the keys alone.
    """

    id: str
    identity: str
    state: str
    registers: bool


class ManualKeying:
    """Asks the daemon about flows of one worker."""

    def __init__(self, calls: DaemonCalls, settings: AgreementSettings) -> None:
        self._calls = calls
        self._settings = settings
        self._known: Dict[_Flow, Tuple[float, Peer]] = {}

    def peer(self) -> Optional[Peer]:
        """Return the peer of the flow that the request came on; None if nothing protects it."""
        flow = message.flow()
        key: _Flow = tuple(flow.values())
        now = time.monotonic()
        known = self._known.get(key)
        if known is not None and now - known[0] < _KNOWN_SECONDS:
            return known[1]
        try:
            found = self._calls.find(flow)
        except Refused:  # it may be protected otherwise, or challenged
            return known[1] if known is not None else None
        self._known.pop(key, None)
        if found is None or found["association"]["mechanism"] != IPSEC_MAN:
            return None
        association = found["association"]
        identity = association["registration"]["privateIdentity"]
        registers = association["ipsecMan"]["activation"] == "agreement"
        peer = Peer(association["id"], identity, association["state"], registers)
        if peer.state != _TEMPORARY:  # which it remains until it is confirmed
            while len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = (now, peer)
        return peer

    def proven(self, peer: Peer, method: str) -> None:
        """The peer has mirrored the list under its SAs: they stay, as long as it registers.

        A registration that ends takes them with it, once its answer has left.
        """
        message.set_value("$var(sad_peer)", peer.identity)
        if not peer.registers:
            return
        expires = _expires() if method == "REGISTER" else None
        if expires == 0:
            self._known.clear()
            self._calls.call("Release", id=peer.id, lingerSeconds=_LINGER_SECONDS)
        elif peer.state == _TEMPORARY or expires is not None:
            granted = _LONGEST_SECONDS if expires is None else expires
            self._calls.call("Confirm", id=peer.id, expiresSeconds=granted)

    def prepare(self) -> None:
        """Have the SAs of a peer in clear stand, if it has a key set."""
        vias = message.rows("Via")
        try:
            self._calls.call(
                "Offer",
                endpoint=self._settings.endpoint,
                registration={
                    "privateIdentity": ims.aor_of(message.value("$fu")).partition(":")[2],
                    "publicIdentities": [],
                },
                flow=message.flow(),
                transaction={
                    "callId": message.value("$ci"),
                    "cseq": int(message.value("$cs")),
                    "branch": ims.via_branch(vias[0]) if vias else "",
                },
                securityClient=message.rows("Security-Client"),
            )
        except ims.ImsError:
            return  # nobody whom a key set could name
        except Refused as refused:  # the list is static: it goes out all the same
            message.log("no SAs of ipsec-man: {}".format(refused.why))


def _expires() -> int:
    """Return for how long a REGISTER asks, in whole seconds; the registrar may grant less."""
    rows = message.rows("Expires")
    text = rows[0].strip() if rows else ""
    if not text.isdigit():
        return _DEFAULT_EXPIRES
    return min(int(text[:9]), _LONGEST_SECONDS)
