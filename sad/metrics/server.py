"""The metrics page over HTTP, on an address or a Unix socket.

One page, one method, one request for each connection: Prometheus and ``curl`` need no more, and
the daemon's loop serves it, so that what it shows is of one instant.
"""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Final, NamedTuple

from sad.metrics.page import Page

log = logging.getLogger(__name__)

_REQUEST_BYTES: Final = 8192
_REQUEST_SECONDS: Final = 5.0
_CONNECTIONS: Final = 16
_SOCKET_MODE: Final = 0o660


class Place(NamedTuple):
    """Where to listen: a path, or a host and a port."""

    path: str
    host: str
    port: int


def place_of(text: str) -> Place:
    """Return the place from ``unix:/run/sad/metrics.sock``, ``127.0.0.1:9750``, ``[::1]:9750``."""
    if text.startswith("unix:"):
        return Place(text.removeprefix("unix:"), "", 0)
    host, _, port = text.rpartition(":")
    return Place("", host.removeprefix("[").removesuffix("]"), int(port))


class MetricsServer:
    """Serves a page until closed."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._server: asyncio.Server | None = None
        self._path = ""
        self._open = 0

    async def start(self, place: Place) -> None:
        """Listen. Raises OSError."""
        if place.path:
            self._server = await self._at_path(place.path)
        else:
            self._server = await asyncio.start_server(
                self._serve, place.host, place.port, limit=_REQUEST_BYTES
            )
        where = place.path or f"{place.host} port {place.port}"
        log.info("metrics are served at %s", where)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _at_path(self, path: str) -> asyncio.Server:
        sock = _socket_at(Path(path))
        try:
            server = await asyncio.start_unix_server(self._serve, sock=sock, limit=_REQUEST_BYTES)
        except BaseException:
            sock.close()
            raise
        self._path = path
        return server

    async def close(self) -> None:
        """Stop."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._path:
            _remove(Path(self._path))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > _CONNECTIONS:
                writer.write(_answer("503 Service Unavailable", "text/plain", b"too many\n"))
            else:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer_to(head.decode("latin-1")))
            async with asyncio.timeout(_REQUEST_SECONDS):
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it knows best why it left
        finally:
            self._open -= 1
            writer.close()

    def _answer_to(self, head: str) -> bytes:
        request, *rows = head.split("\r\n")
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _answer("405 Method Not Allowed", "text/plain", b"GET /metrics\n")
        if path != "/metrics":
            return _answer("404 Not Found", "text/plain", b"the page is /metrics\n")
        accept = ""
        for row in rows:
            name, _, value = row.partition(":")
            if name.strip().lower() == "accept":
                accept = value.strip()
        content_type, text = self._page.in_format(accept)
        return _answer("200 OK", content_type, text, has_body=method == "GET")


def _answer(status: str, content_type: str, body: bytes, *, has_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (body if has_body else b"")


def _socket_at(path: Path) -> socket.socket:
    """Return a bound socket. Raises OSError."""
    if path.is_socket():  # of a daemon that was killed: this one is the only one
        path.unlink()
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(str(path))
        path.chmod(_SOCKET_MODE)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
