"""What a request gets in profile rfc3329: the library decides, this carries it out.

The way: the routes of ``sad-rfc3329.cfg`` have Kamailio check the credentials, :meth:`judge` says
what follows. Nothing is remembered of agreements between requests (R3329-2.1-d), but to which
association a TLS connection is bound.
"""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from sip_hooks.kamailio import message, tls_table
from sip_hooks.kamailio.agreement import AgreementSource
from sip_hooks.kamailio.agreement_settings import AgreementSettings
from sip_hooks.kamailio.connections import Connections, is_over_tls
from sip_hooks.kamailio.credentials import Credentials, credentials_of, without
from sip_hooks.kamailio.ipsec_peers import IPSEC_MECHANISMS, IpsecPeers
from sip_hooks.kamailio.message import Dropped, Refused
from sip_hooks.secagree import strip_sec_agree
from sip_hooks.secagree.digest import DigestUse
from sip_hooks.secagree.mechanism import DIGEST, TLS, SecMechanism
from sip_hooks.secagree.prediction import Need
from sip_hooks.secagree.profiles import UNANSWERED_METHODS
from sip_hooks.secagree.requests import Protection, Request
from sip_hooks.secagree.server_role import ServerDecision, decide_request
from sip_hooks.secagree.transitions import ServerAction

_READ = ("Via", "Require", "Proxy-Require", "Supported", "Security-Client", "Security-Verify")
_TAGS = ("Require", "Proxy-Require")
_OF_THIS_HOP = ("Security-Client", "Security-Verify", "Security-Server")
_REASONS = {
    403: "Forbidden",
    420: "Bad Extension",
    421: "Extension Required",
    494: "Security Agreement Required",
    502: "Bad Gateway",
}
_PROVEN, _UNPROVEN = "1", "0"
#: qop and algorithm of every digest that can stand in the list here.
_LISTED = ("auth", "md5")


class Challenged(Refused):
    """The refusal carries a digest challenge."""


class Agreeing:
    """Decides about every request of one interface."""

    def __init__(
        self,
        settings: AgreementSettings,
        source: AgreementSource,
        connections: Connections,
        ipsec: IpsecPeers,
    ) -> None:
        self._settings = settings
        self._source = source
        self._connections = connections
        self._ipsec = ipsec

    def judge(self) -> None:
        """Let the request in hand go on, without what was of this hop; or Refused, Dropped."""
        agreement = self._source.get()
        headers = tuple((name, row) for name in _READ for row in message.rows(name))
        method = message.value("$rm")
        credentials = self._credentials(method)
        protection, mechanism = _protection(method, credentials, agreement.mechanisms)
        peer = None
        listed = any(_lists(agreement.mechanisms, name) for name in IPSEC_MECHANISMS)
        if listed and protection is Protection.NONE:
            peer = self._ipsec.peer()
            if peer is not None:
                protection, mechanism = Protection.AGREED, peer.mechanism
        decision = decide_request(
            Request(method, headers, protection, mechanism),
            self._settings.rules(required=agreement.required),
            agreement.mechanisms,
            _use(method, credentials) if credentials and mechanism == DIGEST else None,
        )
        if decision.difference is not None:
            # Maybe somebody in the middle: an operator wants to know (R3329-5-c).
            message.log("Security-Verify of {}: {}".format(method, decision.difference.text))
        if decision.action is ServerAction.DROP:
            raise Dropped
        if decision.status:
            if peer is None and _takes_ipsec(decision, agreement.mechanisms):
                self._ipsec.prepare()  # R3329-2.4-ipsec-b: the SAs stand before it is told
            raise _refusal(decision, agreement.mechanisms)
        if protection is Protection.TLS and _lists(agreement.mechanisms, TLS):
            self._attach(method, credentials)
        if peer is not None:
            self._ipsec.proven(peer, method)
        self._strip(method)

    def _attach(self, method: str, credentials: Optional[Credentials]) -> None:
        """Bind the connection (R3329-2.5); who the user is may show later (407)."""
        if method in UNANSWERED_METHODS:
            return  # of an INVITE that has bound it
        if credentials is None:
            name = "{}@{}".format(message.value("$fU"), message.value("$fd"))
        else:
            name = "{}@{}".format(credentials.username, self._settings.realm)
        self._connections.attach(name, proven=credentials is not None)

    def registered(self) -> None:
        """A REGISTER in hand was granted: the association lives as long as its contact.

        The contacts of a TLS connection count, or those that it made, in the table and under the
        address that ``$var(sad_location)`` and ``$var(sad_aor)`` name, else ``location`` and To.
        """
        location, aor = message.variable("sad_location"), message.variable("sad_aor")
        aor = aor or message.value("$tu")
        flow = message.flow()
        entry = tls_table.known(flow)
        if entry is None:
            peer = self._ipsec.peer() if message.variable("sad_peer") else None
            if peer is not None and message.rows("Contact"):  # one without only asks (RFC 3261 10)
                by_call = message.seconds_of_contacts(location or "location", aor, by="$ci")
                self._ipsec.registered(peer, by_call)
            return
        seconds = message.seconds_of_contacts(location or "location", aor)
        if seconds > 0:
            self._connections.confirm(flow, entry, seconds, public=(aor,))
        else:
            self._connections.release(entry)

    def _credentials(self, method: str) -> Optional[Credentials]:
        """Return the credentials that Kamailio has found good, if they are for this request.

        Else the user counts as unproven from here on, whatever protects the request.
        """
        if method in UNANSWERED_METHODS or message.value("$var(sad_proven)") != _PROVEN:
            return None
        rows = message.rows(_credentials_header(method))
        found = credentials_of(rows, self._settings.realm)
        # R3329-2.2-h: another qop or algorithm than was listed is bidding down. RFC 2617 3.2.2.5:
        # the first hop sees the Request-URI as the client wrote it.
        if (
            found is None
            or (found.qop.lower(), found.algorithm.lower()) != _LISTED
            or found.uri != message.value("$ou")
        ):
            message.set_value("$var(sad_proven)", _UNPROVEN)
            return None
        return found

    def _strip(self, method: str) -> None:
        """R3329-2.3.1-p, R3329-2.6-a, RFC 3261 22.3: what was of this hop does not go on."""
        for name in _TAGS:
            rows = message.rows(name)
            _put(name, rows, strip_sec_agree(rows))
        for name in _OF_THIS_HOP:
            _put(name, message.rows(name), ())
        name = _credentials_header(method)
        rows = message.rows(name)
        _put(name, rows, without(rows, self._settings.realm))


def _protection(
    method: str, credentials: Optional[Credentials], listed: Sequence[SecMechanism]
) -> Tuple[Protection, Optional[str]]:
    """Return what protects a request, and the name of the mechanism if it is an agreed one.

    By a connection with TLS it is tls where that is listed: credentials then say who the user is,
    and need no d-ver (RFC 3329 2.4).
    """
    over_tls = is_over_tls()
    if over_tls and _lists(listed, TLS):
        return Protection.TLS, None
    if credentials is not None and _lists(listed, DIGEST):
        return Protection.AGREED, DIGEST
    if method in UNANSWERED_METHODS and message.value("$var(sad_proven)") == _PROVEN:
        return Protection.AGREED, DIGEST  # of an INVITE that was let pass (GAP-2)
    return (Protection.TLS if over_tls else Protection.NONE), None


def _lists(mechanisms: Sequence[SecMechanism], name: str) -> bool:
    return any(m.name.lower() == name for m in mechanisms)


def _put(name: str, before: Sequence[str], after: Sequence[str]) -> None:
    if tuple(before) != tuple(after):
        message.replace(name, tuple(after))


def _credentials_header(method: str) -> str:
    return "Authorization" if method == "REGISTER" else "Proxy-Authorization"


def _use(method: str, credentials: Credentials) -> DigestUse:
    return DigestUse(
        ha1=message.value("$var(sad_ha1)"),
        method=method,
        uri=credentials.uri,
        nonce=credentials.nonce,
        qop=credentials.qop,
        nc=credentials.nc,
        cnonce=credentials.cnonce,
    )


def _takes_ipsec(decision: ServerDecision, listed: Sequence[SecMechanism]) -> bool:
    """Whether a client is to take IPsec of the list; who offers nothing may know it."""
    prediction = decision.prediction
    if prediction is None:
        return False
    if prediction.own_index is None:
        return not prediction.refusals and any(_lists(listed, n) for n in IPSEC_MECHANISMS)
    return listed[prediction.own_index].name.lower() in IPSEC_MECHANISMS


def _refusal(decision: ServerDecision, listed: Sequence[SecMechanism]) -> Refused:
    """Return the answer; who takes digest, or may take it, is challenged (R3329-2.3.2-f)."""
    rows = "\r\n".join("{}: {}".format(name, text) for name, text in decision.headers)
    unforeseen = decision.prediction is not None and decision.prediction.own_index is None
    challenges = decision.need is Need.CHALLENGE or (unforeseen and _lists(listed, DIGEST))
    kind = Challenged if challenges else Refused
    return kind(decision.status, _REASONS[decision.status], rows)
