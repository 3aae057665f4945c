"""Requests as an attacker writes them: text over UDP from any address of the UEs' side."""

import contextlib
import secrets
import socket
from collections.abc import Sequence
from typing import Self

from tests.support.namespaces import Namespace
from tests.ue import home
from tests.ue.sip import Request, Response, parse

OFFER = (
    "ipsec-3gpp;alg=hmac-sha-1-96;ealg=null;prot=esp;mod=trans;"
    "spi-c={spi};spi-s={spi_s};port-c={port};port-s={port_s}"
)


def offer(*, port: int = 21000, port_s: int = 22000) -> str:
    """Return a usable Security-Client value with fresh SPIs."""
    spi = 0x10000 + secrets.randbelow(1 << 30)
    return OFFER.format(spi=spi, spi_s=spi + 1, port=port, port_s=port_s)


def register(
    number: int,
    local: tuple[str, int],
    *,
    client: Sequence[str] | None = None,
    vias: int = 1,
    authorization: str | None = None,
    extra: Sequence[tuple[str, str]] = (),
    contact: tuple[str, int] | None = None,
) -> Request:
    """Build an unprotected REGISTER of a subscriber; ``client`` are rows of Security-Client."""
    host, port = local
    identity, domain = home.public_identity(number), home.DOMAIN
    if authorization is None:
        authorization = (
            f'Digest username="{home.private_identity(number)}", realm="{domain}", nonce="", '
            f'uri="sip:{domain}", response=""'
        )
    branch = f"z9hG4bK{secrets.token_hex(8)}"
    rows = [("Via", f"SIP/2.0/UDP {host}:{port};branch={branch}")]
    rows += [("Via", f"SIP/2.0/UDP 10.9.9.{n}:5060;branch=z9hG4bKb{n}") for n in range(1, vias)]
    at = contact or local
    rows += [
        ("Max-Forwards", "70"),
        ("From", f"<{identity}>;tag={secrets.token_hex(4)}"),
        ("To", f"<{identity}>"),
        ("Call-ID", secrets.token_hex(8)),
        ("CSeq", "1 REGISTER"),
        ("Contact", f"<sip:{at[0]}:{at[1]}>;expires=600"),
        ("Require", "sec-agree"),
        ("Proxy-Require", "sec-agree"),
        ("Supported", "path"),
        *(() if not authorization else (("Authorization", authorization),)),
        *(("Security-Client", row) for row in ([offer()] if client is None else client)),
        *extra,
    ]
    return Request(tuple(rows), b"", "REGISTER", f"sip:{domain}")


class RawClient:
    """A UDP socket of the UEs' side."""

    def __init__(
        self, namespace: Namespace, local: tuple[str, int], server: tuple[str, int]
    ) -> None:
        family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
        with namespace.enter():
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(local)
        self._server = server
        self.local: tuple[str, int] = self._socket.getsockname()[:2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: Request | bytes) -> None:
        """Send without waiting."""
        self._socket.sendto(data if isinstance(data, bytes) else data.encode(), self._server)

    def receive(self, patience: float = 20.0) -> Response:
        """Return the next final response."""
        self._socket.settimeout(patience)
        while True:
            message = parse(self._socket.recv(65535), stream=False)
            assert isinstance(message, Response)
            if message.status >= 200:
                return message

    def receive_all(self, seconds: float = 2.0) -> list[Response]:
        """Return every final response until nothing more comes for a while."""
        found = []
        with contextlib.suppress(TimeoutError):
            while True:
                found.append(self.receive(seconds))
        return found

    def silence(self, seconds: float) -> bool:
        """Whether nothing comes for a while."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(65535)
        except TimeoutError:
            return True
        return False

    def ask(self, request: Request) -> Response:
        """Send and return the final response."""
        self.send(request)
        return self.receive()
