"""``sad.*`` of the Kamailio configuration in profile rfc3329, read once in each worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Sequence

from sip_hooks.kamailio.settings import SettingError
from sip_hooks.secagree.digest import Reading
from sip_hooks.secagree.mechanism import DIGEST, TLS, SecMechanism
from sip_hooks.secagree.profiles import Use
from sip_hooks.secagree.server_role import ServerRules

#: ``sad.dver``: which reading of d-ver is taken first, and whether the other one is, too (GAP-3).
_READINGS = {
    "with-name": (Reading.WITH_NAME, False),
    "value-only": (Reading.VALUE_ONLY, False),
    "either": (Reading.WITH_NAME, True),
}


@dataclass(frozen=True)
class AgreementSettings:
    """What the hook must know without asking the daemon.

    ``realm`` is that of the digest challenge. ``accept_tls`` serves who came by TLS without an
    agreement (R3329-3-b). ``has_tls``: Kamailio listens with TLS, so the list may have tls.
    ``timeout`` bounds one call of the daemon, in seconds. ``tls_seconds`` is how long a TLS
    connection may live without a registration, ``linger`` how long after its end.
    """

    socket: str
    endpoint: str
    realm: str
    timeout: float
    accept_tls: bool
    has_tls: bool
    reading: Reading
    lenient: bool
    tls_seconds: int = 3600
    linger: int = 5

    def rules(self, *, required: bool) -> ServerRules:
        """Return the library's rules for an endpoint with that policy."""
        return ServerRules(
            use=Use.REQUIRED if required else Use.OPTIONAL,
            accept_tls=self.accept_tls,
            reading=self.reading,
            lenient=self.lenient,
        )

    def fault_of(self, mechanisms: Sequence[SecMechanism]) -> Optional[str]:
        """Return why this Kamailio cannot keep a list, with the way out; None if it can."""
        for mechanism in mechanisms:
            name, qop = mechanism.name.lower(), mechanism.get("d-qop")
            algorithm = mechanism.get("d-alg")
            if name == DIGEST and (qop is None or (qop[1] or "").lower() != "auth"):
                return "Kamailio checks digest with d-qop=auth only: correct the list in sad.toml"
            if name == DIGEST and algorithm and (algorithm[1] or "").lower() != "md5":
                return "Kamailio checks digest with d-alg=MD5 only: correct the list in sad.toml"
            if name == TLS and not self.has_tls:
                return "sad.has_tls is not 1: have Kamailio listen with TLS, or list no tls"
        return None


def read_agreement_settings(parameter: Callable[[str], str]) -> AgreementSettings:
    """Read them; ``parameter`` returns the text of ``sad.NAME``, empty if it is not set."""

    def text(name: str) -> str:
        value = parameter(name).strip()
        if not value:
            raise SettingError("sad.{} is not set in the Kamailio configuration".format(name))
        return value

    timeout = text("timeout_ms")
    if not timeout.isdigit() or not 1 <= int(timeout) <= 60_000:
        raise SettingError("sad.timeout_ms is not a number of 1 to 60000")
    reading = _READINGS.get(text("dver"))
    if reading is None:
        raise SettingError("sad.dver is none of {}".format(", ".join(_READINGS)))
    return AgreementSettings(
        socket=text("socket"),
        endpoint=text("endpoint"),
        realm=text("realm"),
        timeout=int(timeout) / 1000,
        accept_tls=parameter("accept_tls").strip() == "1",
        has_tls=parameter("has_tls").strip() == "1",
        reading=reading[0],
        lenient=reading[1],
        tls_seconds=_number(parameter, "tls_seconds", 3600, 604_800),
        linger=_number(parameter, "linger", 5, 128),
    )


def _number(parameter: Callable[[str], str], name: str, default: int, most: int) -> int:
    value = parameter(name).strip()
    if not value:
        return default
    if not value.isdigit() or not 1 <= int(value) <= most:
        raise SettingError("sad.{} is not a number of 1 to {}".format(name, most))
    return int(value)
