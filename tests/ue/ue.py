"""A strict UE: registers, calls, sends messages, and notices what the network does wrong.

The counterpart of a real handset for tests and the demonstration. Layers, each its own file:
transport, transaction, agent (judges messages), sets (SAs), registration, calls, and this face.

Misbehaviour is asked for from outside: ``alter`` rewrites any outgoing request by purpose
("register", "re-register", "deregister", "register-answer", "invite", "re-invite", "ack", "bye",
"message", "subscribe", or the method in lower case), :class:`UeConfig` chooses ports, offers and
identities, :meth:`begin` and :meth:`finish` cut a registration in two.
"""

import asyncio
import secrets
from collections.abc import Callable

from tests.ue.agent import Alter, Trace
from tests.ue.calls import Call
from tests.ue.channel import Channel
from tests.ue.config import UeConfig
from tests.ue.dialog import Rows, make_response, new_tag
from tests.ue.flow import HostPort
from tests.ue.headers import SipError, parse_address, parse_uri
from tests.ue.reginfo import CONTENT_TYPE as REGINFO
from tests.ue.reginfo import all_terminated
from tests.ue.registration import RegisteringAgent
from tests.ue.sip import Request, Response
from tests.ue.transaction import ServerTransaction
from tests.ue.xfrm import Xfrm

ALLOW = "INVITE, ACK, BYE, MESSAGE, NOTIFY, OPTIONS"


class Ue(RegisteringAgent):
    """One UE. ``calls`` holds answered calls of others, ``messages`` what was received else."""

    def __init__(
        self,
        config: UeConfig,
        xfrm: Xfrm,
        *,
        alter: Alter | None = None,
        on_trace: Callable[[Trace], None] | None = None,
        answer: Callable[[Request], int] = lambda _: 200,
    ) -> None:
        super().__init__(config, xfrm, alter=alter, on_trace=on_trace)
        self.answer = answer
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.messages: asyncio.Queue[Request] = asyncio.Queue()
        self.deregistered = asyncio.Event()
        self._calls: dict[tuple[str, str | None, str | None], Call] = {}
        self._subscription: str | None = None

    # What it sends

    def channel(self) -> Channel:
        """The set in use; RuntimeError while unregistered."""
        if self.current is None:
            raise RuntimeError(f"{self.config.public_identity} is not registered")
        return self.current

    def contact_rows(self) -> list[tuple[str, str]]:
        return [("Contact", f"<{self.contact(self.channel())}>")]

    def check_route(self, request: Request) -> None:
        """T24-UE-3: whatever leaves the UE must first go to port_ps, or it leaves in clear."""
        routes = request.values("Route")
        first = parse_address(routes[0]).uri if routes else parse_uri(request.uri)
        expected = self.channel().remote_server
        if self.config.secure and not first.is_at(*expected):
            raise SipError(f"{request.start_line} would go to {first}, not to {expected}")

    def new_request(
        self, method: str, target: str, headers: Rows = (), body: bytes = b""
    ) -> Request:
        """Build a request outside dialogs: Route with port_ps and the Service-Route."""
        server = HostPort(*self.channel().remote_server)
        routes = [f"<sip:{server};lr>"] if self.config.secure else []
        rows = [
            ("Max-Forwards", "70"),
            *(("Route", route) for route in (*routes, *self.service_route)),
            ("From", f"<{self.config.public_identity}>;tag={new_tag()}"),
            ("To", f"<{target}>"),
            ("Call-ID", secrets.token_hex(12)),
            ("CSeq", f"1 {method}"),
            ("P-Preferred-Identity", f"<{self.config.public_identity}>"),
            *self.agreement_rows(),
        ]
        return Request((*rows, *headers), body, method, target)

    async def request(
        self, method: str, target: str, headers: Rows = (), body: bytes = b""
    ) -> Response:
        """Send any request outside dialogs; returns the final response."""
        request = self.new_request(method, target, headers, body)
        return await self.send_request(request, self.channel(), method.lower())

    async def message(self, target: str, text: str) -> Response:
        """Send a MESSAGE (RFC 3428)."""
        return await self.request(
            "MESSAGE", target, (("Content-Type", "text/plain"),), text.encode()
        )

    async def call(self, target: str) -> Call:
        """Call somebody; returns the answered call. Raises CallRefused."""
        return await Call.place(self, target)

    async def subscribe(self) -> Response:
        """Follow the own registration (TS 24.229 5.1.1.3), so that the network can end it."""
        rows = (*self.contact_rows(), ("Event", "reg"), ("Accept", REGINFO), ("Expires", "600"))
        request = self.new_request("SUBSCRIBE", self.config.public_identity, rows)
        self._subscription = request.call_id  # the NOTIFY may overtake the 200
        return await self.send_request(request, self.channel(), "subscribe")

    # What it receives

    def add_call(self, call: Call) -> None:
        self._calls[call.dialog.key] = call

    def drop_call(self, call: Call) -> None:
        self._calls.pop(call.dialog.key, None)

    def on_request(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        key = (request.call_id, request.to.tag, request.from_.tag)
        call = self._calls.get(key)
        if request.method == "NOTIFY":
            self._take_notify(transaction)
        elif call is not None:
            call.take(transaction)
        elif request.to.tag is not None:
            transaction.respond(make_response(request, 481))
        elif request.method == "INVITE":
            Call.ring(self, transaction)
        elif request.method == "MESSAGE":
            transaction.respond(make_response(request, 200))
            self.messages.put_nowait(request)
        elif request.method == "OPTIONS":
            transaction.respond(make_response(request, 200, headers=(("Allow", ALLOW),)))
        else:
            transaction.respond(make_response(request, 405, headers=(("Allow", ALLOW),)))

    def _take_notify(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if request.get("Event") != "reg" or request.call_id != self._subscription:
            transaction.respond(make_response(request, 481))
            return
        ended = bool(request.body) and all_terminated(request.body)
        transaction.respond(make_response(request, 200))
        self.messages.put_nowait(request)
        if ended:
            self.spawn(self._ended_by_network(transaction))

    async def _ended_by_network(self, transaction: ServerTransaction) -> None:
        """T24-D-3: the sets go when the transaction of the NOTIFY has ended."""
        await self.transactions.idle(transaction.owner)
        await self.forget()
        self.deregistered.set()
