"""IPsec in profile rfc3329 (``ipsec-man``, ``ipsec-ike``): whose SAs a request came on.

And SAs, or the way to them by IKE, for who comes in clear.

Nothing reaches a protected port but by SAs, whatever becomes of the daemon (its block policies and
the guard): a flow that had an association once is therefore protected as long as anything comes on
it, also while the daemon is away.
"""

from __future__ import annotations

import time
from typing import Any, Dict, NamedTuple, Optional, Tuple

from sip_hooks import ims
from sip_hooks.kamailio import message
from sip_hooks.kamailio.agreement_settings import AgreementSettings
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.message import Refused
from sip_hooks.secagree.mechanism import IPSEC_IKE, IPSEC_MAN

#: How long what Find has said of a flow is not asked for again.
_KNOWN_SECONDS = 10.0
_MOST_KNOWN = 4096
#: What a peer without a registration is granted: the daemon bounds it by the key's validity.
_LONGEST_SECONDS = 604_800
#: 64*T1 inside the core (RFC 3261): the answer to the last REGISTER, and its retransmissions.
_LINGER_SECONDS = 32
_TEMPORARY = "temporary"
#: A request may overtake the news that its CHILD_SA is up: Find is asked again after these.
_OVERTAKEN_SECONDS = (0.02, 0.05, 0.1)

#: Those whose SAs lie in the kernel, and that need something before the list is told.
IPSEC_MECHANISMS = frozenset({IPSEC_IKE, IPSEC_MAN})

_Flow = Tuple[str, int, str, int]


class Peer(NamedTuple):
    """Whose SAs a request came on; ``identity`` is that of its key set or its IKE peer.

    ``registers``: they end with its registration, too, not with the keys alone.
    """

    id: str
    mechanism: str
    identity: str
    state: str
    registers: bool


class IpsecPeers:
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
            association = self._find(flow)
        except Refused:  # it may be protected otherwise, or challenged
            return known[1] if known is not None else None
        self._known.pop(key, None)
        if association is None:
            return None
        peer = _peer_of(association)
        if peer.state != _TEMPORARY:  # which it remains until it is confirmed
            while len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = (now, peer)
        return peer

    def _find(self, flow: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Return the association of a flow that IPsec protects."""
        for pause in (*_OVERTAKEN_SECONDS, None):
            found = self._calls.find(flow)
            association: Optional[Dict[str, Any]] = found and found["association"]
            if association is None or association["mechanism"] not in IPSEC_MECHANISMS:
                return None
            if association["mechanism"] == IPSEC_MAN or association["state"] != _TEMPORARY:
                return association
            if pause is not None:
                time.sleep(pause)
        return None  # its IKE has not succeeded

    def proven(self, peer: Peer, method: str) -> None:
        """The peer has mirrored the list under its SAs; a REGISTER is granted first."""
        message.set_value("$var(sad_peer)", peer.identity)
        # The child of IKE is proof enough; manual SAs stand for a while until somebody uses them.
        manual = peer.mechanism == IPSEC_MAN and peer.registers
        if manual and peer.state == _TEMPORARY and method != "REGISTER":
            self._calls.call("Confirm", id=peer.id, expiresSeconds=_LONGEST_SECONDS)

    def registered(self, peer: Peer, seconds: int) -> None:
        """Its registration was granted for so long; one that ends takes the SAs with it.

        They linger for its answer, and its retransmissions.
        """
        if not peer.registers:
            return
        if seconds > 0:
            self._calls.tell("Confirm", {"id": peer.id, "expiresSeconds": seconds})
        else:
            self._known.clear()
            self._calls.tell("Release", {"id": peer.id, "lingerSeconds": _LINGER_SECONDS})

    def prepare(self) -> None:
        """Have the SAs of a peer in clear stand, or IKE ready for it, if it has keys."""
        vias = message.rows("Via")
        try:
            offered = self._calls.call(
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
            message.log("nothing prepared: {}".format(refused.why))
        else:
            for refusal in offered["refusals"]:  # R3329-2.4-ike-a: why the one before failed
                message.log("{mechanism}: {reason}: {text}".format(**refusal))


def _peer_of(association: Dict[str, Any]) -> Peer:
    mechanism = association["mechanism"]
    manual = association["ipsecMan"] if mechanism == IPSEC_MAN else None
    return Peer(
        id=association["id"],
        mechanism=mechanism,
        identity=association["registration"]["privateIdentity"],
        state=association["state"],
        registers=manual is None or manual["activation"] == "agreement",
    )
