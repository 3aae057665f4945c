"""The registrar inside the S-CSCF: subscribers, challenges, bindings (TS 24.229 5.4.1).

Pure: time and randomness are arguments. The counterpart of :mod:`tests.ue.registration`;
:mod:`tests.ue.scscf` gives it a network.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.ue.aka import Challenge, challenge_of, check_credentials, decode_nonce
from tests.ue.dialog import make_response
from tests.ue.headers import SipError, parse_address, parse_digest, parse_uri, render_digest
from tests.ue.milenage import MacFailure, Milenage, Vector
from tests.ue.sip import Request, Response

SQN_STEP = 32  # TS 33.102 C.3.2: SEQ with 5 bits of IND behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """One subscription: an IMPI, its IMPUs, and the key it shares with its USIM."""

    private_identity: str
    public_identities: tuple[str, ...]
    k: bytes = field(repr=False)
    opc: bytes = field(repr=False)
    amf: bytes = b"\x80\x00"


@dataclass(slots=True, kw_only=True)
class RegistrarSettings:
    """May be changed while the registrar runs.

    ``granted``: longest expiry in seconds. ``challenge_refresh``: challenge also a REGISTER that
    came integrity-protected from a registered user. ``require_protection``: behind a P-CSCF a
    challenge's answer needs integrity-protected="yes" (T33-6.1-a).
    """

    granted: int = 600_000
    challenge_refresh: bool = True
    require_protection: bool = False
    await_auth: float = 240.0


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a registered user is: ``path`` first, then ``contact``."""

    private_identity: str
    contact: str
    path: tuple[str, ...]
    expires_at: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One REGISTER as it reached the core, for tests to judge the P-CSCF by."""

    private_identity: str
    integrity_protected: str | None
    expires: int
    path: tuple[str, ...]
    status: int


@dataclass(frozen=True, slots=True)
class _Pending:
    vector: Vector = field(repr=False)
    challenge: Challenge
    call_id: str
    until: float


class Registrar:
    """All subscribers of one home domain."""

    def __init__(
        self,
        domain: str,
        service_route: str,
        *,
        random: Callable[[int], bytes],
        settings: RegistrarSettings | None = None,
    ) -> None:
        self.domain = domain
        self.settings = settings or RegistrarSettings()
        self.seen: list[Seen] = []
        self._service_route = service_route
        self._random = random
        self._subscribers: dict[str, Subscriber] = {}
        self._owners: dict[str, str] = {}
        self._sqn: dict[str, int] = {}
        self._pending: dict[str, _Pending] = {}
        self._bindings: dict[str, Binding] = {}

    def add(self, subscriber: Subscriber, *, sqn: int = 0) -> None:
        name = subscriber.private_identity
        self._subscribers[name] = subscriber
        self._sqn[name] = sqn
        for identity in subscriber.public_identities:
            self._owners[parse_uri(identity).aor] = name

    def owner(self, identity: str) -> str | None:
        """The private identity that owns a public one."""
        return self._owners.get(parse_uri(identity).aor)

    def binding(self, identity: str, now: float) -> Binding | None:
        """The living binding of a public identity."""
        binding = self._bindings.get(self.owner(identity) or "")
        return binding if binding is not None and binding.expires_at > now else None

    def bindings(self, now: float) -> list[Binding]:
        return [b for b in self._bindings.values() if b.expires_at > now]

    def remove(self, private_identity: str) -> Binding | None:
        """End a registration from the network's side."""
        self._pending.pop(private_identity, None)
        return self._bindings.pop(private_identity, None)

    def identities(self, private_identity: str) -> tuple[str, ...]:
        return self._subscribers[private_identity].public_identities

    def register(self, request: Request, now: float) -> Response:
        """Answer a REGISTER."""
        rows = request.values("Authorization")
        given = parse_digest(rows[0]) if len(rows) == 1 else {}
        name = given.get("username", "")
        response = self._judge(request, name, given, now)
        path = tuple(map(str, request.addresses("Path")))
        protected = given.get("integrity-protected")
        self.seen.append(Seen(name, protected, _expires(request), path, response.status))
        return response

    def _judge(self, request: Request, name: str, given: dict[str, str], now: float) -> Response:
        identity = str(request.to.uri)
        subscriber = self._subscribers.get(name)
        if self.owner(identity) is None:
            return make_response(request, 404)
        if subscriber is None or self.owner(identity) != name:
            return make_response(request, 403)
        protected = given.get("integrity-protected") == "yes"
        pending = self._pending.get(name)
        if pending is not None and (pending.until <= now or pending.call_id != request.call_id):
            del self._pending[name]  # T33-7.3.1.4
            pending = None
        if pending is not None and given.get("nonce") == pending.challenge.nonce:
            if "auts" in given:
                return self._resynchronise(request, subscriber, given, now)
            return self._check(request, subscriber, given, pending, now)
        registered = self.binding(identity, now) is not None
        if registered and protected and not self.settings.challenge_refresh:
            return self._grant(request, subscriber, now)
        return self._challenge(request, subscriber, now)

    def _challenge(self, request: Request, subscriber: Subscriber, now: float) -> Response:
        name = subscriber.private_identity
        self._sqn[name] += SQN_STEP
        milenage = Milenage(subscriber.k, subscriber.opc)
        vector = milenage.vector(self._random(16), self._sqn[name], subscriber.amf)
        challenge = challenge_of(vector, self.domain)
        until = now + self.settings.await_auth
        self._pending[name] = _Pending(vector, challenge, request.call_id, until)
        value = render_digest(challenge.params(), challenge=True)
        return make_response(request, 401, headers=(("WWW-Authenticate", value),))

    def _check(
        self,
        request: Request,
        subscriber: Subscriber,
        given: dict[str, str],
        pending: _Pending,
        now: float,
    ) -> Response:
        del self._pending[subscriber.private_identity]
        unprotected = given.get("integrity-protected") != "yes"
        right = check_credentials(
            given, realm=self.domain, res=pending.vector.xres, method="REGISTER"
        )
        if not right or given.get("uri") != request.uri:
            return make_response(request, 403)  # a registered user stays registered
        if unprotected and self.settings.require_protection:
            return make_response(request, 403)
        return self._grant(request, subscriber, now)

    def _resynchronise(
        self, request: Request, subscriber: Subscriber, given: dict[str, str], now: float
    ) -> Response:
        milenage = Milenage(subscriber.k, subscriber.opc)
        rand, _ = decode_nonce(given["nonce"])
        try:
            auts = base64.b64decode(given["auts"], validate=True)
            self._sqn[subscriber.private_identity] = milenage.resynchronise(rand, auts)
        except (MacFailure, binascii.Error):
            return make_response(request, 403)
        return self._challenge(request, subscriber, now)

    def _grant(self, request: Request, subscriber: Subscriber, now: float) -> Response:
        name = subscriber.private_identity
        asked = _expires(request)
        path = tuple(map(str, request.addresses("Path")))
        headers = [("Path", value) for value in path]
        if asked == 0:
            self._bindings.pop(name, None)
            return make_response(request, 200, headers=tuple(headers))
        contact = str(request.addresses("Contact")[0].uri)
        granted = min(asked, self.settings.granted)
        self._bindings[name] = Binding(name, contact, path, now + granted)
        headers += [
            ("Contact", f"<{contact}>;expires={granted}"),
            ("Service-Route", self._service_route),
            ("P-Associated-URI", ", ".join(f"<{i}>" for i in subscriber.public_identities)),
        ]
        return make_response(request, 200, headers=tuple(headers))


def _expires(request: Request) -> int:
    """Seconds asked for: Contact's parameter, else Expires, else 600000 (TS 24.229 5.1.1.2)."""
    contacts = request.rows("Contact")
    default = request.number("Expires")
    if contacts == ["*"]:
        if default != 0:
            raise SipError("Contact * needs Expires 0")
        return 0
    values = request.values("Contact")
    if len(values) != 1:
        raise SipError(f"REGISTER with {len(values)} Contact")
    own = dict(parse_address(values[0]).params).get("expires")
    if own is not None and not own.isdigit():
        raise SipError(f"bad expires {own!r}")
    return int(own) if own is not None else 600_000 if default is None else default
