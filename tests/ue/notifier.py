"""The reg event notifier of an S-CSCF (RFC 3680, TS 24.229 5.4.2.1): subscriptions as values.

Pure: builds responses and NOTIFY requests, :mod:`tests.ue.scscf` sends them. The counterpart of
the SUBSCRIBE of a UE or of a P-CSCF.
"""

from dataclasses import dataclass, replace

from tests.ue import reginfo
from tests.ue.dialog import Dialog, make_response, new_tag
from tests.ue.headers import parse_uri
from tests.ue.registrar import Binding, Registrar
from tests.ue.sip import Request, Response


@dataclass(frozen=True, slots=True)
class _Subscription:
    private_identity: str
    dialog: Dialog
    version: int = 0


class Notifier:
    """Who follows whose registration."""

    def __init__(self, contact: str, registrar: Registrar) -> None:
        self._contact = contact
        self._registrar = registrar
        self._subscriptions: dict[str, _Subscription] = {}

    def followers(self, private_identity: str) -> list[str]:
        """Contacts of those who follow a registration."""
        known = self._subscriptions.values()
        return [s.dialog.target for s in known if s.private_identity == private_identity]

    def subscribe(self, request: Request, now: float) -> tuple[Response, Request | None]:
        """Answer a SUBSCRIBE; the NOTIFY that follows at once, if any."""
        if request.to.tag is not None:
            return self._again(request)
        name = self._registrar.owner(request.uri)
        if name is None:
            return make_response(request, 404), None
        tag = new_tag()
        subscription = _Subscription(name, Dialog.of_callee(request, tag))
        binding = self._registrar.binding(request.uri, now)
        response = make_response(
            request,
            200,
            tag=tag,
            headers=(
                ("Contact", f"<{self._contact}>"),
                ("Expires", str(request.number("Expires") or 0)),
            ),
        )
        if binding is None:
            return response, self._notify(subscription, (), "expired")
        return response, self._notify(subscription, (binding.contact,), None)

    def _again(self, request: Request) -> tuple[Response, Request | None]:
        """Take a SUBSCRIBE inside a subscription: a refresh, or its end with Expires 0."""
        subscription = self._subscriptions.get(request.call_id)
        if subscription is None:
            return make_response(request, 481), None
        expires = request.number("Expires") or 0
        if expires == 0:
            del self._subscriptions[request.call_id]
        else:
            dialog = subscription.dialog.received(request)
            self._subscriptions[request.call_id] = replace(subscription, dialog=dialog)
        headers = (("Contact", f"<{self._contact}>"), ("Expires", str(expires)))
        return make_response(request, 200, headers=headers), None

    def ended(self, binding: Binding, event: str, *, but: str | None = None) -> list[Request]:
        """NOTIFYs for everybody who follows a registration that ended, ``but`` one contact."""
        name = binding.private_identity
        concerned = [s for s in self._subscriptions.values() if s.private_identity == name]
        for subscription in concerned:
            del self._subscriptions[subscription.dialog.call_id]
        return [
            self._notify(subscription, (binding.contact,), event)
            for subscription in concerned
            if but is None or parse_uri(subscription.dialog.target) != parse_uri(but)
        ]

    def _notify(
        self, subscription: _Subscription, contacts: tuple[str, ...], event: str | None
    ) -> Request:
        """Build the next NOTIFY; ``event`` says why the registration ended, None: it lives."""
        dialog = subscription.dialog.advanced()
        if event is None:
            self._subscriptions[dialog.call_id] = replace(
                subscription, dialog=dialog, version=subscription.version + 1
            )
        identities = self._registrar.identities(subscription.private_identity)
        document = reginfo.render(
            dict.fromkeys(identities, contacts), version=subscription.version, event=event
        )
        state = "active" if event is None else "terminated;reason=noresource"
        headers = (
            ("Contact", f"<{self._contact}>"),
            ("Event", "reg"),
            ("Subscription-State", state),
            ("Content-Type", reginfo.CONTENT_TYPE),
        )
        return dialog.request("NOTIFY", headers, document.encode())
