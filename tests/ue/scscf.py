"""A small S-CSCF: registrar, stateless proxy between its users, notifier of the reg event.

The counterpart of the P-CSCF's core side. It judges as the UE does: what a P-CSCF must not pass
on (security headers, sec-agree) is noted in :attr:`Scscf.violations`.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace

from tests.ue.dialog import (
    Rows,
    make_response,
    new_branch,
    new_tag,
    response_target,
    stamp_received,
)
from tests.ue.flow import Flow, Hop, HostPort
from tests.ue.headers import SipError, Uri, Via, parse_uri
from tests.ue.node import Node, OnTrace
from tests.ue.notifier import Notifier
from tests.ue.registrar import Registrar, RegistrarSettings, Subscriber
from tests.ue.routing import fewer_hops, next_hop, pop_own_routes, pop_via, push_via
from tests.ue.sip import Request, Response
from tests.ue.transaction import ServerTransaction, Timers, Transactions
from tests.ue.transport import TcpConnection

_AGREEMENT = ("Security-Client", "Security-Server", "Security-Verify")
_RECORDED = frozenset({"INVITE", "SUBSCRIBE"})


class Scscf(Node):
    """One S-CSCF at one address and port, UDP and TCP."""

    def __init__(
        self,
        domain: str,
        local: HostPort,
        *,
        settings: RegistrarSettings | None = None,
        timers: Timers | None = None,
        namespace: str | None = None,
        on_trace: OnTrace | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        super().__init__(namespace=namespace, on_trace=on_trace)
        self.local = local
        self.registrar = Registrar(
            domain, f"<sip:orig@{local};lr>", random=random, settings=settings
        )
        self.notifier = Notifier(f"sip:{local}", self.registrar)
        self._transactions = Transactions(
            timers or Timers(), send=self.send, on_request=self._serve, complain=self.complain
        )

    async def start(self) -> None:
        await self.open(self.local)

    async def close(self) -> None:
        self._transactions.close()
        await super().close()

    def add(self, subscriber: Subscriber, *, sqn: int = 0) -> None:
        """Admit a subscriber; ``sqn`` is the last sequence number given out."""
        self.registrar.add(subscriber, sqn=sqn)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    # What it sends by itself

    async def send_request(self, request: Request) -> Response:
        """Send a request along its Route; TransactionTimeout without a final response."""
        uri = next_hop(request)
        hop = await self._hop(uri)
        via = Via(uri.transport, *self.local, (("branch", new_branch()),))
        ready = request.prepend("Via", str(via))
        return await self._transactions.start(ready, hop, self).final

    async def request_to(
        self, identity: str, method: str, headers: Rows = (), body: bytes = b""
    ) -> Response:
        """Send a request of the network to a registered user, along its Path."""
        binding = self.registrar.binding(identity, self.now())
        if binding is None:
            raise LookupError(f"{identity} is not registered")
        rows = [
            ("Max-Forwards", "70"),
            *(("Route", value) for value in binding.path),
            ("From", f"<sip:{self.registrar.domain}>;tag={new_tag()}"),
            ("To", f"<{identity}>"),
            ("Call-ID", secrets.token_hex(12)),
            ("CSeq", f"1 {method}"),
        ]
        return await self.send_request(Request((*rows, *headers), body, method, binding.contact))

    async def deregister(self, private_identity: str) -> list[Response]:
        """End a registration from the network (T24-D-3).

        Returns the answers to the NOTIFYs that say so, one per subscriber to the reg event.
        """
        binding = self.registrar.remove(private_identity)
        if binding is None:
            raise LookupError(f"{private_identity} is not registered")
        requests = self.notifier.ended(binding, "deactivated")
        return list(await asyncio.gather(*map(self.send_request, requests)))

    async def _hop(self, uri: Uri) -> Hop:
        remote = HostPort(uri.host, uri.port or 5060)
        if uri.transport == "UDP":
            return self.datagrams(self.local, remote)
        return await self.connection(HostPort(self.local.host, 0), remote)

    # Requests

    def on_request(self, request: Request, flow: Flow, hop: Hop) -> None:
        self._judge(request)
        request = stamp_received(request, flow, rport=True)
        if flow.transport == "UDP":
            hop = self.datagrams(self.local, response_target(request.vias[0], rport=True))
        plan = self._plan(request)
        if isinstance(plan, Request) and not self._transactions.serves(request):
            self.spawn(self._forward(plan, flow))
        elif request.method != "ACK" or self._transactions.serves(request):
            self._transactions.request(request, hop, self, flow)

    def _judge(self, request: Request) -> None:
        """What a P-CSCF must have removed (T24-P-1 to T24-P-3, R3329-2.3.1-p)."""
        found = [name for name in _AGREEMENT if request.rows(name)]
        if found:
            self.complain(f"{request.start_line} with {', '.join(found)}")
        for name in ("Require", "Proxy-Require"):
            if "sec-agree" in request.options(name):
                self.complain(f"{request.start_line} with {name}: sec-agree")

    def _own(self, uri: Uri) -> bool:
        return uri.is_at(*self.local)

    def _plan(self, request: Request) -> Request | int:
        """What to do with a request: pass the result on, or answer it here (status, 0: serve)."""
        if request.method == "REGISTER":
            return 0
        onward = fewer_hops(pop_own_routes(request, self._own))
        if onward is None:
            return 483
        if request.to.tag is not None and self._own(next_hop(onward)):
            return 0  # inside a subscription to us
        if request.to.tag is not None:
            return onward
        if request.method == "SUBSCRIBE" and _event(request) == "reg":
            return 0
        identity = parse_uri(request.uri).aor
        if self.registrar.owner(identity) is None:
            return 404
        binding = self.registrar.binding(identity, self.now())
        if binding is None:
            return 480
        onward = replace(onward.with_rows("Route", *binding.path), uri=binding.contact)
        if request.method in _RECORDED:
            onward = onward.prepend("Record-Route", f"<sip:{self.local};lr>")
        return onward

    async def _forward(self, request: Request, flow: Flow) -> None:
        uri = next_hop(request)
        hop = await self._hop(uri)
        ready = push_via(
            request,
            self.local,
            uri.transport,
            secret=self.secret,
            connection=self.name_of(flow),
        )
        self.send(hop, ready.encode())

    def _serve(self, transaction: ServerTransaction) -> None:
        request, now = transaction.request, self.now()
        plan = self._plan(request)
        try:
            if isinstance(plan, int) and plan:
                transaction.respond(make_response(request, plan))
            elif request.method == "REGISTER":
                self._register(transaction, now)
            elif request.method == "SUBSCRIBE":
                response, notify = self.notifier.subscribe(request, now)
                transaction.respond(response)
                if notify is not None:
                    self.spawn(self._notify(notify))
            else:
                transaction.respond(make_response(request, 481))
        except SipError as error:
            self.complain(f"{request.start_line}: {error}")
            transaction.respond(make_response(request, 400))

    def _register(self, transaction: ServerTransaction, now: float) -> None:
        request = transaction.request
        identity = str(request.to.uri)
        before = self.registrar.binding(identity, now)
        transaction.respond(self.registrar.register(request, now))
        if before is not None and self.registrar.binding(identity, now) is None:
            # T24-D-1: the network's followers hear of it, the UE itself does not.
            for notify in self.notifier.ended(before, "unregistered", but=before.contact):
                self.spawn(self._notify(notify))

    async def _notify(self, request: Request) -> None:
        response = await self.send_request(request)
        if response.status != 200:
            self.complain(f"{response.start_line} to NOTIFY")

    # Responses

    def on_response(self, response: Response, flow: Flow) -> None:
        if self._transactions.owns(response):
            self._transactions.response(response, flow)
            return
        via = response.vias[0]
        if not (via.host == self.local.host and via.port == self.local.port):
            raise SipError("the top Via is not ours")
        onward, next_via, name = pop_via(response)
        if next_via.transport == "UDP":
            target = response_target(next_via, rport=True)
            self.send(self.datagrams(self.local, target), onward.encode())
        else:
            self.spawn(self._back(onward, next_via, name))

    async def _back(self, response: Response, via: Via, name: str | None) -> None:
        """RFC 3261 18.2.2: the connection of the request, else a new one to sent-by."""
        connection = self.named(name)
        if connection is None:
            target = response_target(via, rport=False)
            connection = await self.connection(HostPort(self.local.host, 0), target)
        self.send(connection, response.encode())

    def on_closed(self, connection: TcpConnection) -> None:
        self._transactions.broken(connection)


def _event(request: Request) -> str:
    """The event package, without its parameters."""
    return (request.get("Event") or "").partition(";")[0].strip()
