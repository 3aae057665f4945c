"""A small stateless P-CSCF with sec-agree: proves the UE and the S-CSCF without Kamailio.

The counterpart of the UE's protected ports, and a reference of what the real edge must show
them: two Record-Routes, replies from port_pc to port_us, ck and ik kept. It is no model of the
product: no limits, no retries, a set lives until it is replaced or the UE leaves.
"""

import asyncio
from dataclasses import dataclass, replace

from tests.ue.aka import Challenge
from tests.ue.dialog import make_response, response_target, stamp_received
from tests.ue.edge_set import EdgeSet, choose_offer, new_edge_set
from tests.ue.flow import Flow, Hop, HostPort
from tests.ue.headers import SipError, Uri, parse_digest, parse_uri, render_digest
from tests.ue.node import Node, OnTrace
from tests.ue.routing import fewer_hops, next_hop, pop_own_routes, pop_via, push_via
from tests.ue.security import esp_transforms
from tests.ue.sip import Request, Response
from tests.ue.xfrm import Xfrm

_AGREEMENT = ("Security-Client", "Security-Verify")
_RECORDED = frozenset({"INVITE", "SUBSCRIBE"})


@dataclass(frozen=True, slots=True)
class _Context:
    """Where a request came from, so that its response goes back the same way (T24-P-10)."""

    request: Request
    hop: Hop
    edge_set: EdgeSet | None


class Pcscf(Node):
    """One P-CSCF: ``clear`` faces unregistered UEs and the core, ``port_ps`` registered UEs."""

    def __init__(
        self,
        clear: HostPort,
        core: HostPort,
        xfrm: Xfrm,
        *,
        port_ps: int,
        client_ports: tuple[int, ...],
        algorithms: tuple[tuple[str, str], ...] = (("hmac-sha-1-96", "null"),),
        linger: float = 0.2,
        namespace: str | None = None,
        on_trace: OnTrace | None = None,
    ) -> None:
        super().__init__(namespace=namespace, on_trace=on_trace)
        self.clear = clear
        self.core = core
        self.xfrm = xfrm
        self.protected = HostPort(clear.host, port_ps)
        self.client_ports = client_ports
        self.algorithms = algorithms
        self.linger = linger
        self.sets: list[EdgeSet] = []
        self._contexts: dict[str, _Context] = {}
        self._challenged: dict[str, Response | None] = {}  # None: the set is being made

    async def start(self) -> None:
        await self.open(self.clear)
        await self.open(self.protected)
        for port in self.client_ports:
            # Nobody connects to port_pc, and a listening port cannot be connected from.
            await self.open(HostPort(self.clear.host, port), listening=False)

    def _own(self, uri: Uri) -> bool:
        return uri.is_at(*self.clear) or uri.is_at(*self.protected)

    # Requests

    def on_request(self, request: Request, flow: Flow, hop: Hop) -> None:
        request = stamp_received(request, flow, rport=False)
        if flow.local == self.clear:
            if flow.remote == self.core:
                self._to_ue(request, hop)
            elif request.method == "REGISTER":
                self._to_registrar(request, hop, None)
            else:
                self._answer(_Context(request, hop, None), make_response(request, 403))
            return
        edge_set = self._set_of(flow)
        if edge_set is None:
            raise SipError("no SA set explains this flow")
        if request.method == "REGISTER":
            self._to_registrar(request, hop, edge_set)
            return
        if edge_set.state == "temporary":
            raise SipError("only REGISTER on a temporary set")  # T24-P-5
        self._in_use(edge_set)
        self._to_core(request, hop, edge_set)

    def _set_of(self, flow: Flow) -> EdgeSet | None:
        """SA1 carries UDP and the UE's connections, SA4 answers on ours (norms 11)."""
        for edge_set in self.sets:
            s = edge_set.sa_set
            sa1 = (s.port_uc, s.port_ps)
            sa4 = (s.port_us, s.port_pc)
            ports = (flow.remote.port, flow.local.port)
            if flow.remote.host == s.ue_address and (
                ports == sa1 or (ports == sa4 and flow.transport == "TCP")
            ):
                return edge_set
        return None

    def _in_use(self, edge_set: EdgeSet) -> None:
        """T24-P-9: the first request on a new set moves the outbound and retires the others."""
        if edge_set.state != "established":
            return
        edge_set.state = "in use"
        for other in self.sets:
            if other is not edge_set and other.registration == edge_set.registration:
                other.state = "old"
                asyncio.get_running_loop().call_later(self.linger, self._retire, other)

    def _retire(self, edge_set: EdgeSet) -> None:
        self.spawn(self._remove(edge_set))

    async def _remove(self, edge_set: EdgeSet) -> None:
        if edge_set in self.sets:
            self.sets.remove(edge_set)
            others = [s for s in self.sets if s.registration == edge_set.registration]
            await self.xfrm.remove(edge_set.sa_set, last=not others)

    def _to_registrar(self, request: Request, hop: Hop, edge_set: EdgeSet | None) -> None:
        context = _Context(request, hop, edge_set)
        given = parse_digest(request.one("Authorization"))
        if "sec-agree" not in request.options("Require") or not request.rows("Security-Client"):
            self._answer(context, make_response(request, 421, reason="Extension Required"))
            return
        if edge_set is not None and (refusal := self._refusal(request, given, edge_set)):
            self._answer(context, make_response(request, *refusal[:1], reason=refusal[1]))
            return
        given["integrity-protected"] = "no" if edge_set is None else "yes"
        onward = request.with_rows("Authorization", render_digest(given))
        onward = onward.with_rows("Path", f"<sip:term@{self.clear};lr>")
        self._to_core(onward, hop, edge_set, came=request)

    def _refusal(
        self, request: Request, given: dict[str, str], edge_set: EdgeSet
    ) -> tuple[int, str] | None:
        """T24-P-2 to T24-P-4."""
        if given.get("username") != edge_set.private_identity:
            return 403, "Forbidden"
        if ", ".join(request.values("Security-Verify")) != edge_set.security_server:
            return 494, "Security Agreement Required"
        same = ", ".join(request.values("Security-Client")) == edge_set.security_client
        if edge_set.state == "temporary" and not same:
            return 494, "Security Agreement Required"
        return None

    def _to_core(
        self, request: Request, hop: Hop, edge_set: EdgeSet | None, came: Request | None = None
    ) -> None:
        """Strip what belongs to the first hop and pass on."""
        onward = fewer_hops(pop_own_routes(request, self._own))
        if onward is None:
            raise SipError("no hops left")
        onward = onward.without(*_AGREEMENT)
        for name in ("Require", "Proxy-Require"):  # R3329-2.3.1-p
            onward = onward.with_rows(name, *set(onward.options(name)) - {"sec-agree"})
        if request.method in _RECORDED and request.to.tag is None:
            onward = onward.prepend("Record-Route", f"<sip:{self.protected};lr>")
            onward = onward.prepend("Record-Route", f"<sip:{self.clear};lr>")
        uri = next_hop(onward)
        at_core = onward.method == "REGISTER"
        remote = self.core if at_core else HostPort(uri.host, uri.port or 5060)
        self._pass_on(onward, self.clear, self.datagrams(self.clear, remote), came, hop, edge_set)

    def _to_ue(self, request: Request, hop: Hop) -> None:
        onward = fewer_hops(pop_own_routes(request, self._own))
        if onward is None:
            raise SipError("no hops left")
        if request.method in _RECORDED and request.to.tag is None:
            onward = onward.prepend("Record-Route", f"<sip:{self.clear};lr>")
            onward = onward.prepend("Record-Route", f"<sip:{self.protected};lr>")
        uri = parse_uri(onward.uri)
        usable = [
            s
            for s in self.sets
            if s.registration == (uri.host, uri.port) and s.state in {"in use", "old"}
        ]
        usable.sort(key=lambda s: s.state != "in use")
        if not usable:
            self._answer(_Context(request, hop, None), make_response(request, 480))
            return
        s = usable[0].sa_set
        local = HostPort(s.pcscf_address, s.port_pc)
        remote = HostPort(s.ue_address, s.port_us)
        if uri.transport == "UDP":
            way = self.datagrams(local, remote)
            self._pass_on(onward, self.protected, way, request, hop, usable[0])
        else:
            self.spawn(self._by_connection(onward, local, remote, request, hop, usable[0]))

    async def _by_connection(
        self,
        onward: Request,
        local: HostPort,
        remote: HostPort,
        came: Request,
        hop: Hop,
        edge_set: EdgeSet,
    ) -> None:
        way = await self.connection(local, remote, reuse=False)
        self._pass_on(onward, self.protected, way, came, hop, edge_set)

    def _pass_on(
        self,
        onward: Request,
        sent_by: HostPort,
        way: Hop,
        came: Request | None,
        hop: Hop,
        edge_set: EdgeSet | None,
    ) -> None:
        transport = way.flow.transport
        ready = push_via(onward, sent_by, transport, secret=self.secret, connection=None)
        if ready.method != "ACK":
            context = _Context(came or onward, hop, edge_set)
            self._contexts[ready.vias[0].branch] = context
        self.send(way, ready.encode())

    # Responses

    def on_response(self, response: Response, flow: Flow) -> None:
        context = self._contexts.get(response.vias[0].branch)
        if context is None:
            raise SipError("the top Via is not ours")
        onward, _, _ = pop_via(response)
        if flow.local != self.clear and self._set_of(flow) is not context.edge_set:
            raise SipError("response on another set than its request")  # T24-P-10
        if response.cseq.method != "REGISTER":
            self._answer(context, onward)
        elif response.status == 401:
            branch = response.vias[0].branch
            if branch not in self._challenged:
                self._challenged[branch] = None
                self.spawn(self._challenge(context, onward, branch))
            elif (again := self._challenged[branch]) is not None:
                self._answer(context, again)
        else:
            self.spawn(self._registered(context, onward))

    def _answer(self, context: _Context, response: Response) -> None:
        """Send a response where its request came from (T33-7.1-d for UDP)."""
        hop = context.hop
        if hop.flow.transport == "UDP":
            target = response_target(context.request.vias[0], rport=False)
            local = self.clear
            from_ue = hop.flow.local != self.clear
            if context.edge_set is not None and from_ue:
                local = HostPort(self.clear.host, context.edge_set.sa_set.port_pc)
            hop = self.datagrams(local, target)
        self.send(hop, response.encode())

    async def _challenge(self, context: _Context, response: Response, branch: str) -> None:
        """T24-P-6: keys out, Security-Server in, the SAs stand before the 401 leaves."""
        request = context.request
        given = parse_digest(response.one("WWW-Authenticate"))
        challenge = Challenge.of(given)
        assert challenge.ck is not None
        assert challenge.ik is not None
        clean = replace(challenge, ck=None, ik=None)
        client = request.values("Security-Client")
        pair, offer = choose_offer(client, self.algorithms)
        if offer is None:
            self._answer(context, make_response(request, 503))
            return
        ue = context.hop.flow.remote.host
        living = [s for s in self.sets if s.registration == (ue, offer.port_s)]
        for old in [s for s in living if s.state == "temporary"]:
            await self._remove(old)
            living.remove(old)
        taken = {s.sa_set.port_pc for s in living}
        edge_set = new_edge_set(
            offer,
            ue_address=ue,
            pcscf=self.protected,
            port_pc=next(port for port in self.client_ports if port not in taken),
            transforms=esp_transforms(*pair, ck=challenge.ck, ik=challenge.ik),
            private_identity=parse_digest(request.one("Authorization"))["username"],
            security_client=", ".join(client),
        )
        await self.xfrm.add(edge_set.sa_set)
        self.sets.append(edge_set)
        value = render_digest(clean.params(), challenge=True)
        response = response.with_rows("WWW-Authenticate", value)
        rows = (*response.headers, ("Security-Server", edge_set.security_server))
        response = replace(response, headers=rows)
        self._challenged[branch] = response
        self._answer(context, response)

    async def _registered(self, context: _Context, response: Response) -> None:
        edge_set = context.edge_set
        self._answer(context, response)
        if response.status != 200 or edge_set is None:
            return
        if not response.rows("Contact"):  # T24-D-1
            await asyncio.sleep(self.linger)
            for gone in [s for s in self.sets if s.registration == edge_set.registration]:
                await self._remove(gone)
        elif edge_set.state == "temporary":
            edge_set.state = "established"
            others = [s for s in self.sets if s.registration == edge_set.registration]
            if len(others) == 1:  # T24-P-8: nothing older, so in use at once
                edge_set.state = "in use"
