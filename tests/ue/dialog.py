"""Dialogs and responses (RFC 3261 sections 8.2.6 and 12), as values.

Pure. The counterpart of :mod:`tests.ue.transaction`, which knows single requests only; both the
UE and the S-CSCF build their messages from here.
"""

import secrets
from dataclasses import dataclass, replace

from tests.ue.flow import Flow, HostPort
from tests.ue.headers import Address, SipError, Via, parse_address, parse_uri
from tests.ue.sip import Request, Response

_REASONS = {
    100: "Trying",
    180: "Ringing",
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    420: "Bad Extension",
    423: "Interval Too Brief",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    483: "Too Many Hops",
    486: "Busy Here",
    489: "Bad Event",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}
_DIALOG_METHODS = frozenset({"INVITE", "SUBSCRIBE"})
Rows = tuple[tuple[str, str], ...]


def new_tag() -> str:
    return secrets.token_hex(8)


def new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(10)


def stamp_received(request: Request, flow: Flow, *, rport: bool) -> Request:
    """Note in the top Via where a request really came from (RFC 3261 18.2.1, RFC 3581)."""
    first, *rest = request.vias
    if first.host != flow.remote.host:
        first = first.with_param("received", flow.remote.host)
    if rport and any(name == "rport" for name, _ in first.params):
        first = first.with_param("received", flow.remote.host)
        first = first.with_param("rport", str(flow.remote.port))
    return request.with_rows("Via", str(first), *map(str, rest))


def response_target(via: Via, *, rport: bool) -> HostPort:
    """Where a UDP response goes: RFC 3261 18.2.2; ``rport`` as well by RFC 3581."""
    params = dict(via.params)
    host = params.get("received") or via.host
    port = params.get("rport") if rport else None
    return HostPort(host.strip("[]"), int(port) if port else via.port or 5060)


def make_response(
    request: Request,
    status: int,
    *,
    tag: str | None = None,
    headers: Rows = (),
    body: bytes = b"",
    reason: str | None = None,
) -> Response:
    """Answer a request (RFC 3261 8.2.6.2). ``tag`` completes To if it has none."""
    to = request.one("To")
    if request.to.tag is None and status > 100:
        to = f"{to};tag={tag or new_tag()}"
    rows = [("Via", value) for value in request.rows("Via")]
    if request.method in _DIALOG_METHODS and 100 < status < 300:
        rows += [("Record-Route", value) for value in request.rows("Record-Route")]
    rows += [("From", request.one("From")), ("To", to), ("Call-ID", request.call_id)]
    rows += [("CSeq", request.one("CSeq")), *headers]
    return Response(tuple(rows), body, status, reason or _REASONS.get(status, "Unknown"))


def ack_of_failure(invite: Request, response: Response) -> Request:
    """Build the ACK to a final response other than 2xx (RFC 3261 17.1.1.3)."""
    headers = [
        ("Via", str(invite.vias[0])),
        ("Max-Forwards", "70"),
        *(("Route", value) for value in invite.rows("Route")),
        ("From", invite.one("From")),
        ("To", response.one("To")),
        ("Call-ID", invite.call_id),
        ("CSeq", f"{invite.cseq.number} ACK"),
    ]
    return Request(tuple(headers), b"", "ACK", invite.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """One side's view of a dialog; ``route_set`` in the order of Route rows to send."""

    call_id: str
    local: Address
    remote: Address
    target: str
    route_set: tuple[str, ...]
    local_seq: int
    remote_seq: int

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        """Call-ID, own tag, the other's tag."""
        return (self.call_id, self.local.tag, self.remote.tag)

    @classmethod
    def of_caller(cls, request: Request, response: Response) -> "Dialog":
        """Build the side that sent the request, from a 2xx (RFC 3261 12.1.2)."""
        route_set = [str(route) for route in reversed(response.addresses("Record-Route"))]
        return cls(
            call_id=request.call_id,
            local=request.from_,
            remote=response.to,
            target=_contact(response),
            route_set=tuple(route_set),
            local_seq=request.cseq.number,
            remote_seq=0,
        )

    @classmethod
    def of_callee(cls, request: Request, tag: str) -> "Dialog":
        """Build the side that received the request and answers with ``tag`` (12.1.1)."""
        to = request.to
        return cls(
            call_id=request.call_id,
            local=replace(to, params=(*to.params, ("tag", tag))),
            remote=request.from_,
            target=_contact(request),
            route_set=tuple(str(route) for route in request.addresses("Record-Route")),
            local_seq=0,
            remote_seq=request.cseq.number,
        )

    def advanced(self) -> "Dialog":
        return replace(self, local_seq=self.local_seq + 1)

    def received(self, request: Request) -> "Dialog":
        """Take note of the other side's request: its CSeq, and its Contact if it has one."""
        return replace(self.refreshed(request), remote_seq=request.cseq.number)

    def refreshed(self, message: Request | Response) -> "Dialog":
        """Take the target of a re-INVITE or of its 2xx (RFC 3261 12.2)."""
        target = _contact(message) if message.rows("Contact") else self.target
        return replace(self, target=target)

    def request(
        self, method: str, headers: Rows = (), body: bytes = b"", *, seq: int | None = None
    ) -> Request:
        """Build a request inside the dialog, without Via (RFC 3261 12.2.1.1)."""
        for route in self.route_set:
            if not any(name == "lr" for name, _ in parse_address(route).uri.params):
                raise SipError(f"strict routing is not done here: {route}")
        number = self.local_seq if seq is None else seq
        rows = [
            ("Max-Forwards", "70"),
            *(("Route", route) for route in self.route_set),
            ("From", str(self.local)),
            ("To", str(self.remote)),
            ("Call-ID", self.call_id),
            ("CSeq", f"{number} {method}"),
        ]
        return Request((*rows, *headers), body, method, self.target)


def _contact(message: Request | Response) -> str:
    contacts = message.addresses("Contact")
    if len(contacts) != 1:
        raise SipError(f"{message.start_line} with {len(contacts)} Contact")
    return str(parse_uri(str(contacts[0].uri)))
