"""A user agent that knows ``ipsec-man``: then it goes on between the ports of its key set."""

import socket
from typing import Any

from sip_hooks.secagree.client_role import headers_for, started
from sip_hooks.secagree.starting import StartManual
from tests.edge.agreeing_ue import AgreeingUe
from tests.support.namespaces import Namespace
from tests.ue.sip import Request


class ManualUe(AgreeingUe):
    """Begins in clear; from the list on it sends from ``port`` to ``at`` (R3329-2.4-man-a)."""

    def __init__(
        self, namespace: Namespace, *, at: tuple[str, int], port: int, **settings: Any
    ) -> None:
        super().__init__(namespace, **settings)
        self._namespace = namespace
        self._at, self._port = at, port

    def _start(self) -> None:
        assert isinstance(self.agreement.start, StartManual)
        address = self.local[0]
        self._socket.close()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self._namespace.enter():
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((address, self._port))
        self.local = self._socket.getsockname()[:2]
        self.server = self._at
        self.is_protected = True
        self.agreement = started(self.agreement)

    def with_proof(self, request: Request) -> Request:
        """Add what the agreement wants; nobody asks for credentials."""
        wanted = headers_for(self.agreement, request.method)
        rows = (*request.headers, *wanted)
        return Request(rows, request.body, request.method, request.uri)
