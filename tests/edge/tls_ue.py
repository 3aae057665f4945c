"""A user agent that goes on over TLS once tls is agreed (R3329-2.4-tls-a)."""

import socket
import ssl
from typing import Any

from sip_hooks.secagree.certificate import find_domain_fault
from sip_hooks.secagree.client_role import headers_for, start_failed, started
from sip_hooks.secagree.starting import StartTls, host_of
from tests.edge.agreeing_ue import AgreeingUe
from tests.edge.certificates import Files
from tests.support.daemon import PATIENCE
from tests.support.namespaces import Network
from tests.ue.sip import Request, Response, StreamFramer, parse

_VERSIONS = {(1, 2): ssl.TLSVersion.TLSv1_2, (1, 3): ssl.TLSVersion.TLSv1_3}


class TlsUe(AgreeingUe):
    """As :class:`AgreeingUe`; trusts ``authority`` (PEM) and finds sips of its domain at ``at``.

    Once a connection stands nothing is sent or taken any other way. ``shows`` is its own
    certificate.
    """

    def __init__(
        self,
        namespace: Network,
        *,
        authority: bytes,
        at: tuple[str, int],
        shows: Files | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(namespace, **settings)
        self._namespace, self._authority, self._at = namespace, authority, at
        self._shows = shows
        self._framer = StreamFramer()
        self._waiting: list[bytes] = []
        self.connection: ssl.SSLSocket | None = None

    def __exit__(self, *details: object) -> None:
        self.disconnect()
        super().__exit__(*details)

    def disconnect(self) -> None:
        """Close the connection: the next request goes by UDP again."""
        if self.connection is not None:
            self.connection.close()
            self._set_connection(None)

    @property
    def contact(self) -> str:
        return f"<sip:{self.user}@{self.hostport};transport={self.transport.lower()}>"

    def with_proof(self, request: Request) -> Request:
        """Add what the agreement wants; with tls credentials only where they were asked for."""
        if not isinstance(self.agreement.start, StartTls):
            return super().with_proof(request)
        proof = [self.credentials(request, "MD5", "auth")[1]] if self.nonce else []
        rows = (*request.headers, *proof, *headers_for(self.agreement, request.method))
        return Request(rows, request.body, request.method, request.uri)

    def send(self, message: Request | Response) -> None:
        """Send without waiting."""
        if self.connection is None:
            super().send(message)
        else:
            self.connection.sendall(message.encode())

    def receive(self, patience: float = PATIENCE) -> Request | Response:
        """Return the next message."""
        if self.connection is None:
            return super().receive(patience)
        self.connection.settimeout(max(0.001, patience))
        while not self._waiting:
            data = self.connection.recv(65535)
            if not data:
                raise ConnectionResetError("the first hop has closed the connection")
            self._waiting += self._framer.feed(data)
        message = parse(self._waiting.pop(0), stream=True)
        if isinstance(message, Request):
            self._check(message)
        return message

    def _start(self) -> None:
        start = self.agreement.start
        if not isinstance(start, StartTls):
            super()._start()
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = _VERSIONS[start.minimum_version]
        context.check_hostname = False  # its rules are those of HTTPS
        context.load_verify_locations(cadata=self._authority.decode())
        if self._shows is not None:
            context.load_cert_chain(*self._shows)
        domain = host_of(start.uri)
        with self._namespace.enter():
            plain = socket.create_connection(self._at, PATIENCE)
        try:
            connection = context.wrap_socket(plain, server_hostname=domain)
        except (ssl.SSLError, ConnectionError) as error:
            plain.close()
            self.agreement = start_failed(self.agreement, str(error))
            return
        fault = find_domain_fault(connection.getpeercert() or {}, domain)
        if fault is not None:
            connection.close()
            self.agreement = start_failed(self.agreement, fault)
            return
        self._set_connection(connection)
        self.agreement = started(self.agreement)

    def _set_connection(self, connection: ssl.SSLSocket | None) -> None:
        self.connection, self.is_protected = connection, connection is not None
        self.transport = "UDP" if connection is None else "TLS"
        self.local = (connection or self._socket).getsockname()[:2]
        self._framer, self._waiting = StreamFramer(), []
