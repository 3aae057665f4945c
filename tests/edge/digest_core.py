"""A core that challenges with SIP digest: what TLS goes with (TS 33.203 Annex O, RFC 2617)."""

import hashlib
import secrets
import socket
import threading
from typing import Self

from tests.support.namespaces import Namespace
from tests.ue.dialog import new_branch, new_tag
from tests.ue.headers import parse_digest
from tests.ue.sip import Request, Response, parse

DOMAIN = "ims.example"
PASSWORD = "secret"


def md5(*parts: str) -> str:
    """Hash as digest does."""
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()


def digest_response(given: dict[str, str], method: str) -> str:
    """Return the right response to a challenge (RFC 2617 3.2.2.1, qop auth)."""
    return md5(
        md5(given["username"], DOMAIN, PASSWORD),
        given["nonce"],
        given["nc"],
        given["cnonce"],
        "auth",
        md5(method, given["uri"]),
    )


class DigestCore(threading.Thread):
    """One S-CSCF at an address, UDP. ``seen`` are the requests that came, in order."""

    def __init__(self, namespace: Namespace, local: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        with namespace.enter():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(local)
        self._local = local
        self._nonces: set[str] = set()
        self.seen: list[Request] = []
        self.answers: list[Response] = []
        self.paths: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", self._local)
        self.join()
        self._socket.close()

    def run(self) -> None:
        while data := self._socket.recvfrom(65535):
            text, source = data
            if not text:
                return
            message = parse(text, stream=False)
            if isinstance(message, Response):
                self.answers.append(message)
                continue
            self.seen.append(message)
            if message.method != "ACK":
                self._socket.sendto(self._answer(message).encode(), source)

    def message_to(self, user: str, at: tuple[str, int]) -> None:
        """Send a MESSAGE to a user by the Path of his registration."""
        rows = (
            ("Via", f"SIP/2.0/UDP {self._local[0]}:{self._local[1]};branch={new_branch()}"),
            ("Route", self.paths[user]),
            ("Max-Forwards", "70"),
            ("From", f"<sip:core@{DOMAIN}>;tag={new_tag()}"),
            ("To", f"<sip:{user}@{DOMAIN}>"),
            ("Call-ID", secrets.token_hex(8)),
            ("CSeq", "1 MESSAGE"),
            ("P-Asserted-Identity", f"<sip:core@{DOMAIN}>"),
        )
        request = Request(rows, b"", "MESSAGE", f"sip:{user}@{DOMAIN}")
        self._socket.sendto(request.encode(), at)

    def _answer(self, request: Request) -> Response:
        kept = [(n, v) for n, v in request.headers if n in {"Via", "From", "Call-ID", "CSeq"}]
        to = request.one("To")
        head = (*kept, ("To", to if "tag=" in to else f"{to};tag={new_tag()}"))
        if request.method != "REGISTER":
            return Response(head, b"", 200, "OK")
        rows = request.rows("Authorization")
        given = parse_digest(rows[0]) if rows else {}
        if not self._is_good(given):
            nonce = secrets.token_hex(8)
            self._nonces.add(nonce)
            challenge = f'Digest realm="{DOMAIN}", nonce="{nonce}", algorithm=MD5, qop="auth"'
            return Response((*head, ("WWW-Authenticate", challenge)), b"", 401, "Unauthorized")
        user = request.to.uri.user or ""
        expires = request.one("Expires")
        self.paths[user] = request.one("Path")
        granted = (
            ("Contact", f"{request.one('Contact')};expires={expires}"),
            ("Path", request.one("Path")),
            ("Service-Route", f"<sip:orig@{self._local[0]}:{self._local[1]};lr>"),
            ("P-Associated-URI", f"<sip:{user}@{DOMAIN}>"),
        )
        return Response((*head, *(granted if expires != "0" else ())), b"", 200, "OK")

    def _is_good(self, given: dict[str, str]) -> bool:
        # T33-O-b: without TLS a response proves nothing to this S-CSCF.
        if not given.get("integrity-protected", "").startswith("tls-"):
            return False
        if given.get("nonce") not in self._nonces or "nc" not in given:
            return False
        return given["response"] == digest_response(given, "REGISTER")
