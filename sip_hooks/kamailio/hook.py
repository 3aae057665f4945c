"""The entry points: one method for each ``python_exec`` of ``sad-ims.cfg``.

A method never raises on purpose, but may: Kamailio then goes on as if it had said no.
"""

from __future__ import annotations

from typing import Optional

from sip_hooks.kamailio import message, tables
from sip_hooks.kamailio.connections import Connections
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.following import Follower
from sip_hooks.kamailio.message import Dropped, Refused
from sip_hooks.kamailio.registering import Registering
from sip_hooks.kamailio.routing import Routing
from sip_hooks.kamailio.settings import HookSettings, SettingError, read_settings
from sip_hooks.kamailio.tls_registering import TlsRegistering

_YES, _NO = 1, -1


class _Worker:
    """What a worker needs once its configuration is read."""

    def __init__(self, settings: HookSettings) -> None:
        self.settings = settings
        self.calls = DaemonCalls(settings)
        self.routing = Routing(settings, self.calls)
        self.registering = Registering(settings, self.calls, self.routing.find_flow)
        self.follower = Follower(settings, connections=settings.tls_port is not None)
        connections = Connections(self.calls, settings.endpoint, settings.linger)
        self.tls = TlsRegistering(settings, self.calls, connections)


class Hook:
    """One worker's hook."""

    def __init__(self) -> None:
        self._worker: Optional[_Worker] = None

    def child_init(self, _rank: int) -> int:
        """Called in each process of Kamailio after its fork.

        The configuration cannot be read here: Kamailio 5.6 crashes on ``$sel`` without a message.
        """
        self._worker = None
        return 0

    def _ready(self) -> _Worker:
        if self._worker is None:
            try:
                settings = read_settings(message.parameter)
            except SettingError as error:
                raise Refused(503, "Service Unavailable", why=str(error)) from None
            self._worker = _Worker(settings)
        return self._worker

    def request(self, _msg: object) -> int:
        """Judge a request; the answer is in ``$var(sad_action)`` or ``sad_code``."""
        try:
            action = self._judge()
        except Refused as refused:
            return self._refuse(refused)
        except Dropped:
            action = "drop"
        message.set_value("$var(sad_action)", action)
        return _YES

    def _refuse(self, refused: Refused) -> int:
        message.set_number("$var(sad_code)", refused.status)
        message.set_value("$var(sad_reason)", refused.reason)
        if refused.header:
            message.set_value("$var(sad_header)", refused.header)
        if refused.why:
            message.log("{} {}".format(refused.status, refused.why))
        return _NO

    def _judge(self) -> str:
        worker = self._ready()
        settings = worker.settings
        address, port = message.address(message.value("$Ri")), message.local_port()
        if message.from_own_address():
            raise Refused(403, "Forbidden", why="the source is an own address")
        if (address, port) in settings.core_sockets:
            if not settings.is_core(message.address(message.value("$si"))):
                # Whoever is connected to the access network can address this socket.
                raise Refused(403, "Forbidden", why="the source is none of sad.core_hosts")
            return worker.routing.from_core()
        method = message.value("$rm")
        if port == settings.tls_port:
            return worker.tls.request() if method == "REGISTER" else worker.routing.from_tls()
        protected = settings.is_protected(port)
        if method == "REGISTER":
            return worker.registering.request(protected=protected)
        if protected:
            return worker.routing.from_user()
        if method in {"ACK", "CANCEL"}:
            raise Dropped
        if settings.emergency and message.value("$ru").lower().startswith("urn:service:sos"):
            return "emergency"
        # T33-7.1-p5: only REGISTER and emergency on unprotected ports.
        raise Refused(403, "Forbidden", why="{} on an unprotected port".format(method))

    def next_hop(self, _msg: object) -> int:
        """Whether a user agent's request goes to the core, and to nobody else."""
        try:
            self._ready().routing.check_next_hop()
        except Refused as refused:
            return self._refuse(refused)
        return _YES

    def reply(self, _msg: object) -> int:
        """Whether a reply comes from where its request went. The transaction is found."""
        settings = self._ready().settings
        asked_of_core = not self._is_core_socket("$T_req($Ri)", "$T_req($sel(dst.port))")
        here_is_core = self._is_core_socket("$Ri", "$sel(dst.port)")
        if not asked_of_core:
            protected = settings.carries_users(message.local_port())
            return _YES if protected and not here_is_core else _NO
        if not here_is_core or not settings.is_core(message.address(message.value("$si"))):
            message.log("a reply of {} for the core: dropped".format(message.value("$si")))
            return _NO
        if message.value("$rm") == "REGISTER" and message.value("$rs").startswith("2"):
            # Nobody is registered without protection, whatever the core grants (T33-7.1-p5).
            port = int(message.value("$T_req($sel(dst.port))"))
            return _YES if settings.carries_users(port) else _NO
        return _YES

    def _is_core_socket(self, address: str, port: str) -> bool:
        where = (message.address(message.value(address)), int(message.value(port)))
        return where in self._ready().settings.core_sockets

    def challenge(self, _msg: object) -> int:
        """A 401 of the core to REGISTER."""
        if message.kept().get("tls"):
            self._ready().tls.challenge()
        else:
            self._ready().registering.challenge()
        return _YES

    def registered(self, _msg: object) -> int:
        """Any other final answer of the core to REGISTER."""
        state = message.kept()
        if state.get("tls"):
            self._ready().tls.answered(state)
        else:
            self._ready().registering.answered()
        return _YES

    def notified(self, _msg: object) -> int:
        """The user agent has answered the NOTIFY that ended its registration (T24-D-3)."""
        self._ready().registering.release_registration(message.value("$avp(sad_ends)"))
        tables.forget(message.value("$avp(sad_token)"))
        return _YES

    def retry(self, _msg: object) -> int:
        """Try again what the daemon could not be told. Run by a timer."""
        self._ready().calls.retry()
        return _YES

    def follow(self, _msg: object) -> int:
        """Forget the sets that the daemon has ended. Run by a timer."""
        self._ready().follower.turn()
        return _YES
