"""A phone of profile ims that speaks TLS with SIP digest, in both ways of Annex O."""

import secrets
import socket
import ssl
from collections.abc import Sequence
from typing import Self

from tests.edge.digest_core import DOMAIN, digest_response
from tests.support.daemon import PATIENCE
from tests.support.namespaces import Namespace
from tests.ue.dialog import new_branch, new_tag
from tests.ue.headers import parse_digest, render_digest
from tests.ue.sip import Request, Response, StreamFramer, parse

Rows = Sequence[tuple[str, str]]


class ImsTlsUe:
    """``authority`` is whom it trusts (PEM); begins in clear, :meth:`connect` goes on by TLS."""

    def __init__(
        self,
        namespace: Namespace,
        user: str,
        address: str,
        server: str,
        authority: bytes,
    ) -> None:
        self.user, self._address, self._server = user, address, server
        self._namespace, self._authority = namespace, authority
        with namespace.enter():
            self._plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._plain.bind((address, 0))
        self._plain.settimeout(PATIENCE)
        self.tls: ssl.SSLSocket | None = None
        self._framer = StreamFramer()
        self._waiting: list[bytes] = []
        self._seq = 0
        self._call_id = secrets.token_hex(8)
        self._challenge: dict[str, str] = {}
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._plain.close()

    def close(self) -> None:
        """Close the connection."""
        if self.tls is not None:
            self.tls.close()
            self.tls = None

    def connect(self) -> None:
        """Open a connection with TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self._authority.decode())
        with self._namespace.enter():
            plain = socket.create_connection((self._server, 5061), PATIENCE)
        self.tls = context.wrap_socket(plain)

    @property
    def local(self) -> tuple[str, int]:
        """Its own end."""
        found: tuple[str, int] = (self.tls or self._plain).getsockname()[:2]
        return found

    def request(self, method: str, uri: str, rows: Rows = (), *, sender: str = "") -> Request:
        """Write one."""
        self._seq += 1
        by, (host, port) = ("UDP" if self.tls is None else "TLS"), self.local
        to = f"sip:{self.user}@{DOMAIN}" if method == "REGISTER" else uri
        fixed = (
            ("Via", f"SIP/2.0/{by} {host}:{port};branch={new_branch()}"),
            ("Max-Forwards", "70"),
            ("From", f"<{sender or f'sip:{self.user}@{DOMAIN}'}>;tag={new_tag()}"),
            ("To", f"<{to}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._seq} {method}"),
            ("Contact", f"<sip:{self.user}@{host}:{port};transport={by.lower()}>"),
        )
        return Request((*fixed, *rows), b"", method, uri)

    def register(
        self, rows: Rows = (), *, expires: int = 600, user: str = "", answer: bool = True
    ) -> Response:
        """Send a REGISTER, with the answer to the last challenge if there was one."""
        uri = f"sip:{DOMAIN}"
        given = {"username": f"{user or self.user}@{DOMAIN}", "realm": DOMAIN, "uri": uri}
        given |= {"nonce": "", "response": ""}
        if self._challenge and answer:
            self._count += 1
            given |= {"nonce": self._challenge["nonce"], "nc": f"{self._count:08x}"}
            given |= {"cnonce": secrets.token_hex(4), "qop": "auth", "algorithm": "MD5"}
            given["response"] = digest_response(given, "REGISTER")
        own = (("Authorization", render_digest(given)), ("Expires", str(expires)))
        response = self.ask(self.request("REGISTER", uri, (*own, *rows)))
        if response.status == 401:
            self._challenge = parse_digest(response.one("WWW-Authenticate"))
            self._count = 0
        return response

    def ask(self, request: Request) -> Response:
        """Send one and return its final answer."""
        self.send(request)
        while True:
            message = self.receive()
            if isinstance(message, Response) and message.status >= 200:
                return message

    def send(self, message: Request | Response) -> None:
        """Send without waiting."""
        if self.tls is None:
            self._plain.sendto(message.encode(), (self._server, 5060))
        else:
            self.tls.sendall(message.encode())

    def receive(self) -> Request | Response:
        """Return the next message."""
        if self.tls is None:
            return parse(self._plain.recv(65535), stream=False)
        while not self._waiting:
            data = self.tls.recv(65535)
            if not data:
                raise ConnectionResetError("the edge has closed the connection")
            self._waiting += self._framer.feed(data)
        return parse(self._waiting.pop(0), stream=True)
