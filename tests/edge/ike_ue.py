"""A user agent that knows ``ipsec-ike``: its host's charon sets up a child for its port."""

from collections.abc import Callable
from typing import Any

from sip_hooks.secagree.client_role import headers_for, start_failed, started
from sip_hooks.secagree.starting import StartIke
from tests.edge.agreeing_ue import AgreeingUe
from tests.support.namespaces import Network
from tests.ue.sip import Request


class IkeUe(AgreeingUe):
    """Begins in clear; from the list on it sends to ``at``, from the same port, in ESP.

    ``run_ike`` is given that port, and says whether the child is up (R3329-2.4-ike-a).
    """

    def __init__(
        self,
        namespace: Network,
        *,
        at: tuple[str, int],
        run_ike: Callable[[int], bool],
        **settings: Any,
    ) -> None:
        super().__init__(namespace, **settings)
        self._at, self._run_ike = at, run_ike

    def _start(self) -> None:
        if not isinstance(self.agreement.start, StartIke):
            super()._start()
            return
        if not self._run_ike(self.local[1]):
            self.agreement = start_failed(self.agreement, "IKE has failed")
            return
        self.server, self.is_protected = self._at, True
        self.agreement = started(self.agreement)

    def with_proof(self, request: Request) -> Request:
        """Add what the agreement wants; IKE has shown who the user is."""
        if not isinstance(self.agreement.start, StartIke):
            return super().with_proof(request)
        wanted = headers_for(self.agreement, request.method)
        rows = (*request.headers, *wanted)
        return Request(rows, request.body, request.method, request.uri)
