"""A user agent of RFC 3329: the client role of ``sip_hooks`` over one UDP socket, and strict.

:mod:`tests.edge.tls_ue` goes on over TLS.

What a first hop must not do is noted in :attr:`AgreeingUe.violations`.
"""

import hashlib
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Self

from sip_hooks.secagree import parse_header
from sip_hooks.secagree.client_role import (
    Answer,
    ClientAgreement,
    ClientRules,
    ask,
    begin,
    headers_for,
    receive,
    started,
)
from sip_hooks.secagree.digest import DigestUse, hash_a1
from sip_hooks.secagree.profiles import Use
from sip_hooks.secagree.starting import Challenge, Circumstances, StartDigest
from sip_hooks.secagree.transitions import ClientAction
from tests.support.daemon import PATIENCE
from tests.support.namespaces import Network
from tests.ue.dialog import Dialog, ack_of_failure, make_response, new_branch, new_tag
from tests.ue.headers import host_text, parse_digest, render_digest
from tests.ue.sip import Request, Response, parse

Rows = Sequence[tuple[str, str]]
_AGREEMENT = ("Security-Client", "Security-Server", "Security-Verify")


class AgreeingUe:
    """One user of ``domain`` at ``address``, whose first hop is at ``server``."""

    transport = "UDP"
    #: Whether what comes is protected by what was agreed; digest protects no answers.
    is_protected = False

    def __init__(
        self,
        namespace: Network,
        address: str,
        server: tuple[str, int],
        *,
        user: str,
        domain: str,
        password: str = "secret",
        offers: str = "digest",
        rules: ClientRules | None = None,
    ) -> None:
        self.user, self.domain = user, domain
        self.server = server
        self.ha1 = hash_a1(user, domain, password)
        self.violations: list[str] = []
        self.requests: list[Request] = []
        self._rules = rules or ClientRules(use=Use.REQUIRED)
        self._offers = parse_header(offers)
        self.agreement: ClientAgreement = begin(self._rules, self._offers)
        self.nonce, self._realm, self.count = "", "", 0
        self._seq = 0
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with namespace.enter():
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self.local: tuple[str, int] = self._socket.getsockname()[:2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def aor(self) -> str:
        return f"sip:{self.user}@{self.domain}"

    @property
    def contact(self) -> str:
        return f"<sip:{self.user}@{self.hostport}>"

    @property
    def hostport(self) -> str:
        """Where it listens, as it stands in a URI or Via."""
        return f"{host_text(self.local[0])}:{self.local[1]}"

    # --- requests --------------------------------------------------------------------------------

    def build(
        self, method: str, uri: str, rows: Rows = (), *, to: str = "", body: bytes = b""
    ) -> Request:
        """Write a request as anybody would, without a word of the agreement."""
        self._seq += 1
        if body:
            rows = (*rows, ("Content-Type", "text/plain"))
        if method in {"INVITE", "REGISTER", "SUBSCRIBE"}:
            rows = (*rows, ("Contact", self.contact))
        fixed = [
            ("Via", f"SIP/2.0/{self.transport} {self.hostport};branch={new_branch()}"),
            ("Max-Forwards", "70"),
            ("From", f"<{self.aor}>;tag={new_tag()}"),
            ("To", f"<{to or (self.aor if method == 'REGISTER' else uri)}>"),
            ("Call-ID", secrets.token_hex(8)),
            ("CSeq", f"{self._seq} {method}"),
        ]
        return Request((*fixed, *rows), body, method, uri)

    def first(self, method: str = "OPTIONS", rows: Rows = ()) -> Request:
        """Write the first request of an agreement (R3329-2.3.1-b, R3329-2.3.1-d)."""
        uri = f"sip:{self.domain}"
        self.agreement, wanted = ask(begin(self._rules, self._offers), uri, uri)
        return self.build(method, uri, (*wanted, *rows))

    def secured(
        self, method: str, uri: str, rows: Rows = (), *, to: str = "", body: bytes = b""
    ) -> Request:
        """Write a request under the agreement: credentials and Security-Verify."""
        request = self.build(method, uri, rows, to=to, body=body)
        return self.with_proof(request)

    def in_dialog(self, dialog: Dialog, method: str, number: int) -> Request:
        """Write a request of a dialog, with Via, and with what the agreement wants."""
        via = f"SIP/2.0/{self.transport} {self.hostport};branch={new_branch()}"
        return self.with_proof(dialog.request(method, seq=number).prepend("Via", via))

    def with_proof(self, request: Request) -> Request:
        """Add credentials of the next count, and what the agreement wants."""
        start = self.agreement.start
        assert isinstance(start, StartDigest)
        use, proof = self.credentials(request, start.algorithm, start.qop or "")
        wanted = headers_for(self.agreement, request.method, use)
        rows = (*request.headers, proof, *wanted)
        return Request(rows, request.body, request.method, request.uri)

    def credentials(
        self, request: Request, algorithm: str, qop: str
    ) -> tuple[DigestUse, tuple[str, str]]:
        """Return credentials of the next count for a request, and their header row."""
        self.count += 1
        method, uri = request.method, request.uri
        nc, cnonce = f"{self.count:08x}", secrets.token_hex(4)
        use = DigestUse(self.ha1, method, uri, self.nonce, qop, nc, cnonce, request.body)
        given = {"username": self.user, "realm": self._realm, "nonce": self.nonce, "uri": uri}
        given |= {"response": _response(use), "algorithm": algorithm, "cnonce": cnonce}
        given |= {"qop": qop, "nc": nc}
        name = "Authorization" if method == "REGISTER" else "Proxy-Authorization"
        return use, (name, render_digest(given))

    # --- the wire --------------------------------------------------------------------------------

    def send(self, message: Request | Response) -> None:
        """Send without waiting."""
        self._socket.sendto(message.encode(), self.server)

    def exchange(self, request: Request) -> Response:
        """Send and return the final response, as the agreement judges it."""
        self.send(request)
        response = self.final(request)
        if request.method == "INVITE" and response.status >= 300:
            self.send(ack_of_failure(request, response))
        self._take(request, response)
        return response

    def final(self, request: Request, patience: float = PATIENCE) -> Response:
        """Return the final response to a request; what else comes is kept."""
        end = time.monotonic() + patience
        while True:
            message = self.receive(end - time.monotonic())
            if isinstance(message, Request):
                self.requests.append(message)
            elif message.vias[0].branch == request.vias[0].branch and message.status >= 200:
                return message

    def receive(self, patience: float = PATIENCE) -> Request | Response:
        """Return the next message."""
        self._socket.settimeout(max(0.001, patience))
        message = parse(self._socket.recv(65535), stream=False)
        if isinstance(message, Request):
            self._check(message)
        return message

    def next_request(self) -> Request:
        """Return the next request of somebody else."""
        while not self.requests:
            message = self.receive()
            if isinstance(message, Request):
                self.requests.append(message)
        return self.requests.pop(0)

    def silence(self, seconds: float) -> bool:
        """Whether nothing comes for a while."""
        try:
            self.receive(seconds)
        except TimeoutError:
            return True
        return False

    def answer(self, request: Request, status: int = 200) -> Response:
        """Answer somebody else's request."""
        rows = (("Contact", self.contact),) if request.method == "INVITE" else ()
        response = make_response(request, status, tag=new_tag(), headers=rows)
        self.send(response)
        return response

    # --- judgement -------------------------------------------------------------------------------

    def _check(self, request: Request) -> None:
        """R3329-2.3.1-p: nothing of another hop's agreement arrives here."""
        options = [*request.options("Require"), *request.options("Proxy-Require")]
        self.violations += [name for name in _AGREEMENT if request.rows(name)]
        if "sec-agree" in options:
            self.violations.append("sec-agree was not removed")
        if request.rows("Proxy-Authorization"):
            self.violations.append("credentials of another hop")

    def _take(self, request: Request, response: Response) -> None:
        if response.status in {421, 494}:
            if "sec-agree" not in response.options("Require"):
                self.violations.append(f"{response.status} without Require: sec-agree")
            if not response.rows("Security-Server"):
                self.violations.append(f"{response.status} without Security-Server")
        name = "WWW-Authenticate" if request.method == "REGISTER" else "Proxy-Authenticate"
        challenge: Challenge | None = None
        if response.rows(name):
            given = parse_digest(response.one(name))
            self.nonce, self._realm, self.count = given["nonce"], given["realm"], 0
            qop = tuple(given.get("qop", "").split(","))
            stale = given.get("stale", "").lower() == "true"
            challenge = Challenge(given.get("algorithm"), qop, stale)
        circumstances = Circumstances(request.uri, challenge)
        answer = Answer(response.status, response.headers, self.is_protected)
        self.agreement = receive(self.agreement, answer, circumstances)
        outcome = self.agreement.outcome
        if outcome is not None and outcome.action is ClientAction.START:
            self._start()

    def _start(self) -> None:
        self.agreement = started(self.agreement)  # digest has nothing else to start

    def register(self) -> None:
        """Agree, and register for ten minutes."""
        self.agree("REGISTER")
        answer = self.exchange(
            self.secured("REGISTER", f"sip:{self.domain}", [("Expires", "600")])
        )
        assert answer.status == 200, answer

    def agree(self, method: str = "OPTIONS", rows: Rows = ()) -> Response:
        """Ask, and take the list; return the first answer."""
        return self.exchange(self.first(method, rows))


def _md5(text: bytes) -> str:
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def _response(use: DigestUse) -> str:
    """The request-digest of RFC 2617 3.2.2, computed by nobody's library."""
    body = f":{_md5(use.body)}" if use.qop == "auth-int" else ""
    ha2 = _md5(f"{use.method}:{use.uri}{body}".encode())
    return _md5(f"{use.ha1}:{use.nonce}:{use.nc}:{use.cnonce}:{use.qop}:{ha2}".encode())
