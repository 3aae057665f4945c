"""The entry points of profile rfc3329: one for each ``python_exec`` of ``sad-rfc3329.cfg``.

A method never raises on purpose, but may: Kamailio then goes on as if it had said no.
"""

from __future__ import annotations

from typing import Optional

from sip_hooks.kamailio import message
from sip_hooks.kamailio.agreeing import Agreeing, Challenged
from sip_hooks.kamailio.agreement import AgreementSource
from sip_hooks.kamailio.agreement_settings import AgreementSettings, read_agreement_settings
from sip_hooks.kamailio.connections import Connections
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.following import Follower
from sip_hooks.kamailio.ipsec_peers import IpsecPeers
from sip_hooks.kamailio.message import Dropped, Refused
from sip_hooks.kamailio.settings import SettingError

_YES, _NO = 1, -1


class _Worker:
    """What a worker needs once its configuration is read."""

    def __init__(self, settings: AgreementSettings) -> None:
        self.calls = DaemonCalls(settings)
        self.follower = Follower(settings, sets=False, connections=settings.has_tls)
        connections = Connections(
            self.calls, settings.endpoint, settings.linger, settings.tls_seconds
        )
        self.agreeing = Agreeing(
            settings,
            AgreementSource(self.calls, settings),
            connections,
            IpsecPeers(self.calls, settings),
        )


class AgreementHook:
    """One worker's hook."""

    def __init__(self) -> None:
        self._worker: Optional[_Worker] = None

    def child_init(self, _rank: int) -> int:
        """Called in each process of Kamailio after its fork; the configuration is read later."""
        self._worker = None
        return 0

    def agree(self, _msg: object) -> int:
        """Judge a request; a refusal is in ``$var(sad_code)`` and beside it."""
        try:
            self._ready().agreeing.judge()
        except Dropped:
            message.set_number("$var(sad_code)", 0)
            return _NO
        except Refused as refused:
            message.set_number("$var(sad_code)", refused.status)
            message.set_value("$var(sad_reason)", refused.reason)
            message.set_value("$var(sad_header)", refused.header)
            if isinstance(refused, Challenged):
                message.set_number("$var(sad_challenges)", 1)
            if refused.why:
                message.log("{} {}".format(refused.status, refused.why))
            return _NO
        return _YES

    def registered(self, _msg: object) -> int:
        """A REGISTER over TLS or IPsec was granted, or its contacts were removed."""
        self._ready().agreeing.registered()
        return _YES

    def retry(self, _msg: object) -> int:
        """Try again what the daemon could not be told. Run by a timer."""
        self._ready().calls.retry()
        return _YES

    def follow(self, _msg: object) -> int:
        """Forget the connections whose associations the daemon has ended. Run by a timer."""
        self._ready().follower.turn()
        return _YES

    def _ready(self) -> _Worker:
        if self._worker is None:
            try:
                settings = read_agreement_settings(message.parameter)
            except SettingError as error:
                raise Refused(503, "Service Unavailable", why=str(error)) from None
            self._worker = _Worker(settings)
        return self._worker
