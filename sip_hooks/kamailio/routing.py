"""Every request but REGISTER: is its flow protected, may it say what it says, and where to.

From a user agent: the flow decides (T33-7.1-p4), identities must be the registration's. From the
core: the token of Path, else the Request-URI, names the registration.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from sip_hooks import ims
from sip_hooks.ims import FlowEntry, RegistrationEntry
from sip_hooks.kamailio import message, tables
from sip_hooks.kamailio.connections import is_over_tls
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.message import Refused
from sip_hooks.kamailio.settings import HookSettings
from sip_hooks.secagree import strip_sec_agree

_HOP_BY_HOP = frozenset({"ACK", "CANCEL"})
_FORBIDDEN = (403, "Forbidden")


class Routing:
    """Decides about requests other than REGISTER."""

    def __init__(self, settings: HookSettings, calls: DaemonCalls) -> None:
        self._settings = settings
        self._calls = calls

    # --- from a user agent -----------------------------------------------------------------------

    def from_user(self) -> str:
        """Judge a request that came on a protected port and make it ready for the core."""
        flow = message.flow()
        entry = self.find_flow(flow)
        if message.value("$pr") == "udp":
            # T33-7.1-d, T24-P-10: answers go from port_pc to port_us, on the set of the request.
            message.answer_from(flow["localAddress"], entry.port_pc)
        if entry.state == "temporary":
            raise Refused(*_FORBIDDEN, why="only REGISTER on a temporary set (T24-P-5)")
        initial = self._is_initial()
        registration = self._registration(entry.token, flow, initial=initial)
        message.leave_from(*self._settings.core_sockets[0])
        method = message.value("$rm")
        if method != "CANCEL":
            self._make_ready(registration, initial=initial, port=self._settings.server_port)
        if method not in _HOP_BY_HOP and not entry.used:
            self._take_into_use(entry)
        return "core"

    def from_tls(self) -> str:
        """Judge a request that came over TLS, and make it ready for the core (T33-O-a)."""
        if not is_over_tls():
            raise Refused(*_FORBIDDEN, why="no TLS 1.2 or later (UPD-8996)")
        flow = message.flow()
        initial = self._is_initial()
        token = ims.registration_token(
            flow["peerAddress"], flow["peerPort"], flow["localAddress"], flow["localPort"]
        )
        registration = self._registration(token, flow, initial=initial)
        message.leave_from(*self._settings.core_sockets[0])
        if message.value("$rm") != "CANCEL":
            self._make_ready(registration, initial=initial, port=flow["localPort"])
        return "core"

    @staticmethod
    def _is_initial() -> bool:
        return not message.value("$tt") and message.value("$rm") not in _HOP_BY_HOP

    def find_flow(self, flow: Dict[str, Any]) -> FlowEntry:
        """Return whose a protected flow is; Refused if it is nobody's."""
        entry = tables.flow_entry(flow)
        if entry is not None:
            return entry
        found = self._calls.find(flow)
        if found is None:
            raise Refused(*_FORBIDDEN, why="no SA set protects this flow")
        association = found["association"]
        state = association["state"]
        return tables.put_flows(association, used=state not in {"temporary", "established"})

    def _registration(
        self, token: str, flow: Dict[str, Any], *, initial: bool
    ) -> RegistrationEntry:
        entry = tables.registration_entry(token)
        if entry is not None:
            return entry
        found = self._calls.find(flow)
        if found is None:
            raise Refused(*_FORBIDDEN, why="no SA set protects this flow")
        outbound = found["outbound"]
        if outbound.get("tls") and not outbound["confirmedAt"]:
            raise Refused(*_FORBIDDEN, why="only REGISTER before the registration is complete")
        if outbound["state"] == "retiring":
            # T24-D-1: it lingers for what was begun, and nothing new may begin.
            if initial:
                raise Refused(*_FORBIDDEN, why="the registration has ended")
            return RegistrationEntry.of_note(outbound)
        return self._remember(token, outbound)

    def _remember(self, token: str, outbound: Dict[str, Any]) -> RegistrationEntry:
        entry = RegistrationEntry.of_note(outbound)
        tables.put_registration(token, entry, int(outbound["secondsLeft"]))
        return entry

    def _make_ready(self, registration: RegistrationEntry, *, initial: bool, port: int) -> None:
        asserted: object = None
        if initial:
            self._check_route(registration, port)
            senders = message.rows("From")
            asserted = len(senders) == 1 and ims.asserted(
                message.rows("P-Preferred-Identity"), senders[0], registration.identities
            )
            if not asserted:
                raise Refused(*_FORBIDDEN, why="an identity that is not the registration's")
        message.remove("P-Preferred-Identity", "Path", *message.OF_THE_NETWORK)
        message.remove_network_provided()
        for name in ("Require", "Proxy-Require"):  # R3329-2.3.1-p
            before = message.rows(name)
            after = strip_sec_agree(before)
            if tuple(before) != after:
                message.replace(name, after)
        if asserted:
            message.append("P-Asserted-Identity", "<{}>".format(asserted))

    def _check_route(self, registration: RegistrationEntry, port: int) -> None:
        """TS 24.229 5.2.6.3.3: a request begins its way where the registrar said."""
        try:
            routes = ims.values_of(message.rows("Route"))
        except ims.ImsError as error:
            raise Refused(400, "Bad Request", why=str(error)) from None
        # Exactly ";lr": with ";r2=on" Kamailio would take the next value for its own as well.
        if routes and ims.is_own_route(routes[0], self._settings.addresses, port):
            routes = routes[1:]
        if not ims.same_routes(routes, registration.service_route):
            raise Refused(*_FORBIDDEN, why="Route is not the Service-Route of the registration")

    def check_next_hop(self) -> None:
        """Refuse a request that would leave for anybody but the core, whatever its Route says.

        Called when Kamailio has taken its own Route values off. Also inside dialogs, of which the
        hook knows nothing: the core then judges the rest.
        """
        uri = message.value("$du") or message.value("$ru")
        host = ims.host_of(uri)
        if not self._settings.is_core(host):
            raise Refused(*_FORBIDDEN, why="the next hop is none of sad.core_hosts")

    def _take_into_use(self, entry: FlowEntry) -> None:
        """T24-P-9: the first request moves what is sent to this set and retires the older."""
        answer = self._calls.tell("TakeIntoUse", {"id": entry.association})
        if answer is None:
            return  # told again with the next request, or by the timer; or the set has ended
        association = answer["association"]
        tables.put_flows(association, used=True)
        before = tables.registration_entry(entry.token)
        if before is not None:
            entry_now = before.moved_to(association)
            tables.put_registration(entry.token, entry_now, int(association["secondsLeft"]))

    # --- from the core ---------------------------------------------------------------------------

    def from_core(self) -> str:
        """Find the registration that a request of the core is for, and the set to send it on."""
        if message.value("$rm") == "REGISTER":
            raise Refused(*_FORBIDDEN, why="REGISTER from the core")
        where = self._named_registration()
        if where is None:
            raise Refused(480, "Temporarily Unavailable", why="it names no registration")
        peer, port_us, local, port_ps = where
        token = ims.registration_token(peer, port_us, local, port_ps)
        entry = tables.registration_entry(token)
        if entry is None:
            flow = {
                "peerAddress": peer,
                "peerPort": port_us,
                "localAddress": local,
                "localPort": port_ps,
            }
            entry = self._found_for_core(token, flow)
        protocol = "tcp" if ims.transport_of(message.value("$ru")) == "tcp" else "udp"
        if port_ps == self._settings.tls_port:
            protocol = "tls"  # over the connection that the user agent keeps (T33-O.4)
        # T33-7.1-d: SA3, from port_pc to port_us, for requests of the P-CSCF.
        message.send_to(protocol, (local, entry.port_pc), (peer, port_us))
        self._watch_for_the_end(token, entry)
        return "user"

    def _found_for_core(self, token: str, flow: Dict[str, Any]) -> RegistrationEntry:
        found = self._calls.find(flow)
        outbound = None if found is None else found["outbound"]
        # T24-P-5: nobody has registered on a temporary set yet.
        if outbound is None or outbound["state"] == "temporary" or not outbound["confirmedAt"]:
            raise Refused(480, "Temporarily Unavailable", why="no such registration")
        if outbound["state"] != "retiring":
            return self._remember(token, outbound)
        if self._is_initial():  # T24-D-1, as for what the user agent begins
            raise Refused(480, "Temporarily Unavailable", why="the registration has ended")
        return RegistrationEntry.of_note(outbound)

    def _named_registration(self) -> Optional[Tuple[str, int, str, int]]:
        routes = message.rows("Route")
        if routes:
            named = ims.read_token(ims.route_user(routes[0]))
            if named is not None and named[1]:
                return named
        host = message.address(message.value("$rd"))
        port = message.value("$rp")
        local = self._settings.address_like(host)
        if local is None or not port.isdigit() or not ims.is_address(host):
            return None
        if not 0 < int(port) < 65536:
            return None
        return host, int(port), local, self._settings.server_port

    def _watch_for_the_end(self, token: str, entry: RegistrationEntry) -> None:
        """T24-D-3: a NOTIFY of the reg event may end the registration.

        Only the S-CSCF's own word: what a user agent sends through it bears an asserted identity,
        and what is outside a dialog answers no subscription.
        """
        if message.value("$rm") != "NOTIFY" or not message.value("$tt"):
            return
        if message.rows("P-Asserted-Identity"):
            return
        event = message.rows("Event")
        if not event or event[0].partition(";")[0].strip().lower() != "reg":
            return
        content = message.rows("Content-Type")
        try:
            ended = ims.ended_aors(
                content[0] if content else "", message.value("$rb").encode("utf-8")
            )
        except ims.ImsError as error:
            message.log("a NOTIFY of the reg event: {}".format(error))
            return
        if entry.aors and set(entry.aors) <= set(ended):
            message.set_value("$avp(sad_ends)", entry.association)
            message.set_value("$avp(sad_token)", token)
