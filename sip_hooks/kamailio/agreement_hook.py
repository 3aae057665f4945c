"""The entry point of profile rfc3329: one ``python_exec`` of ``sad-rfc3329.cfg``.

A method never raises on purpose, but may: Kamailio then goes on as if it had said no.
"""

from __future__ import annotations

from typing import Optional

from sip_hooks.kamailio import message
from sip_hooks.kamailio.agreeing import Agreeing, Challenged
from sip_hooks.kamailio.agreement import AgreementSource
from sip_hooks.kamailio.agreement_settings import read_agreement_settings
from sip_hooks.kamailio.daemon import DaemonCalls
from sip_hooks.kamailio.message import Dropped, Refused
from sip_hooks.kamailio.settings import SettingError

_YES, _NO = 1, -1


class AgreementHook:
    """One worker's hook."""

    def __init__(self) -> None:
        self._agreeing: Optional[Agreeing] = None

    def child_init(self, _rank: int) -> int:
        """Called in each process of Kamailio after its fork; the configuration is read later."""
        self._agreeing = None
        return 0

    def agree(self, _msg: object) -> int:
        """Judge a request; a refusal is in ``$var(sad_code)`` and beside it."""
        try:
            self._ready().judge()
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

    def _ready(self) -> Agreeing:
        if self._agreeing is None:
            try:
                settings = read_agreement_settings(message.parameter)
            except SettingError as error:
                raise Refused(503, "Service Unavailable", why=str(error)) from None
            source = AgreementSource(DaemonCalls(settings), settings)
            self._agreeing = Agreeing(settings, source)
        return self._agreeing
