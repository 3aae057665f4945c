"""What a proxy does to a message on its way (RFC 3261 section 16), as functions.

Pure. The counterpart of :mod:`tests.ue.dialog`, which builds what is routed here. A branch is
computed from the incoming one, so that a stateless proxy treats a retransmission, and the ACK
and CANCEL of an INVITE, like the request itself (16.11).
"""

import hashlib
from collections.abc import Callable

from tests.ue.flow import HostPort
from tests.ue.headers import SipError, Uri, Via, param, parse_address, parse_uri
from tests.ue.sip import Request, Response

_CONNECTION = "conn"


def next_hop(request: Request) -> Uri:
    """The first Route, else the Request-URI (RFC 3261 16.6 step 6 without strict routers)."""
    routes = request.addresses("Route")
    if routes and param(routes[0].uri.params, "lr") is None:
        raise SipError(f"strict routing is not done here: {routes[0]}")
    return routes[0].uri if routes else parse_uri(request.uri)


def pop_own_routes(request: Request, own: Callable[[Uri], bool]) -> Request:
    """Remove the leading Route values that name this node (16.4)."""
    routes = request.values("Route")
    while routes and own(parse_address(routes[0]).uri):
        routes = routes[1:]
    return request.with_rows("Route", *routes)


def fewer_hops(request: Request) -> Request | None:
    """Count Max-Forwards down (16.6 step 3); None if the request may go no further (483)."""
    left = request.number("Max-Forwards")
    if left == 0:
        return None
    return request.with_rows("Max-Forwards", str(70 if left is None else left - 1))


def push_via(
    request: Request, sent_by: HostPort, transport: str, *, secret: str, connection: str | None
) -> Request:
    """Put the proxy's Via on top; ``connection`` names the TCP connection it came on."""
    top = request.vias[0]
    seed = f"{secret} {top.branch} {top.host} {top.port} {request.call_id} {request.cseq.number}"
    branch = "z9hG4bK" + hashlib.sha256(seed.encode()).hexdigest()[:24]
    via = Via(transport, *sent_by, (("branch", branch),))
    if connection is not None:
        via = via.with_param(_CONNECTION, connection)
    return request.prepend("Via", str(via))


def pop_via(response: Response) -> tuple[Response, Via, str | None]:
    """Remove the proxy's Via: the rest, the next Via, and the connection it remembered."""
    own, *rest = response.vias
    if not rest:
        raise SipError(f"{response.start_line} has no Via left to go to")
    return response.with_rows("Via", *map(str, rest)), rest[0], param(own.params, _CONNECTION)
