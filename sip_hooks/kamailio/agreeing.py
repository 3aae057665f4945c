"""What a request gets in profile rfc3329: the library decides, this carries it out.

The way: the routes of ``sad-rfc3329.cfg`` have Kamailio check the credentials, :meth:`judge` says
what follows. Nothing is remembered between requests (R3329-2.1-d).
"""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from sip_hooks.kamailio import message
from sip_hooks.kamailio.agreement import Agreement, AgreementSource
from sip_hooks.kamailio.agreement_settings import AgreementSettings
from sip_hooks.kamailio.credentials import Credentials, credentials_of, without
from sip_hooks.kamailio.message import Dropped, Refused
from sip_hooks.secagree import strip_sec_agree
from sip_hooks.secagree.digest import DigestUse
from sip_hooks.secagree.mechanism import DIGEST
from sip_hooks.secagree.prediction import Need
from sip_hooks.secagree.profiles import UNANSWERED_METHODS
from sip_hooks.secagree.requests import Protection, Request
from sip_hooks.secagree.server_role import ServerDecision, decide_request
from sip_hooks.secagree.transitions import ServerAction

_READ = ("Via", "Require", "Proxy-Require", "Supported", "Security-Client", "Security-Verify")
_TAGS = ("Require", "Proxy-Require")
_OF_THIS_HOP = ("Security-Client", "Security-Verify")
_REASONS = {
    403: "Forbidden",
    420: "Bad Extension",
    421: "Extension Required",
    494: "Security Agreement Required",
    502: "Bad Gateway",
}
_PROVEN = "1"
#: qop and algorithm of every digest that can stand in the list here.
_LISTED = ("auth", "md5")


class Challenged(Refused):
    """The refusal carries a digest challenge."""


class Agreeing:
    """Decides about every request of one interface."""

    def __init__(self, settings: AgreementSettings, source: AgreementSource) -> None:
        self._settings = settings
        self._source = source

    def judge(self) -> None:
        """Let the request in hand go on, without what was of this hop; or Refused, Dropped."""
        agreement = self._source.get()
        headers = tuple((name, row) for name in _READ for row in message.rows(name))
        method = message.value("$rm")
        credentials = self._credentials(method, agreement)
        protection, mechanism = self._protection(method, credentials)
        decision = decide_request(
            Request(method, headers, protection, mechanism),
            self._settings.rules(required=agreement.required),
            agreement.mechanisms,
            None if credentials is None else _use(method, credentials),
        )
        if decision.difference is not None:
            # Maybe somebody in the middle: an operator wants to know (R3329-5-c).
            message.log("Security-Verify of {}: {}".format(method, decision.difference.text))
        if decision.action is ServerAction.DROP:
            raise Dropped
        if decision.status:
            raise _refusal(decision)
        if decision.action is ServerAction.ACCEPT or method in {"ACK", "PRACK"}:
            self._strip(method)

    def _credentials(self, method: str, agreement: Agreement) -> Optional[Credentials]:
        """Return the credentials that Kamailio has found good, if they are what was agreed."""
        if method in UNANSWERED_METHODS or message.value("$var(sad_proven)") != _PROVEN:
            return None
        rows = message.rows(_credentials_header(method))
        found = credentials_of(rows, self._settings.realm)
        listed = any(m.name.lower() == DIGEST for m in agreement.mechanisms)
        if found is None or not listed:
            return None
        if (found.qop.lower(), found.algorithm.lower()) != _LISTED:
            return None  # R3329-2.2-h: another one than was listed is bidding down
        # RFC 2617 3.2.2.5: the first hop sees the Request-URI as the client wrote it.
        return found if found.uri == message.value("$ou") else None

    def _protection(
        self, method: str, credentials: Optional[Credentials]
    ) -> Tuple[Protection, Optional[str]]:
        if credentials is not None:
            return Protection.AGREED, DIGEST
        if method in UNANSWERED_METHODS and message.value("$var(sad_proven)") == _PROVEN:
            return Protection.AGREED, DIGEST  # of an INVITE that was let pass (GAP-2)
        if message.value("$pr") in {"tls", "wss"}:
            return Protection.TLS, None
        return Protection.NONE, None

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


def _refusal(decision: ServerDecision) -> Refused:
    rows = "\r\n".join("{}: {}".format(name, text) for name, text in decision.headers)
    kind = Challenged if decision.need is Need.CHALLENGE else Refused
    return kind(decision.status, _REASONS[decision.status], rows)
