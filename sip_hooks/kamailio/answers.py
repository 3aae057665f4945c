"""What REGISTER and its 200 have in common, whatever protects them: profile ims."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from sip_hooks import ims
from sip_hooks.kamailio import message
from sip_hooks.kamailio.settings import HookSettings
from sip_hooks.secagree import strip_sec_agree


def make_ready(settings: HookSettings, token: str) -> None:
    """Make a REGISTER ready for the core: what was of this hop does not go on, Path is ours."""
    message.remove("Route", *message.OF_THE_NETWORK)
    message.remove_network_provided()
    for name in ("Require", "Proxy-Require"):
        before = message.rows(name)
        after = strip_sec_agree(before)
        if tuple(before) != after:
            message.replace(name, after)
    message.remove("Path")
    message.leave_from(*settings.core_sockets[0])
    message.append("Path", "<sip:{}@{};lr>".format(token, settings.path_uri))


def granted_in(state: Dict[str, Any]) -> Optional[int]:
    """Return the seconds granted; None if the answer does not tell, e.g. to a query."""
    expires = message.rows("Expires")
    try:
        return ims.granted_seconds(
            ue_contact=state["contact"],
            contact_rows=message.rows("Contact"),
            expires_row=expires[0] if expires else None,
        )
    except ims.ImsError as error:
        message.log("a 200 to REGISTER: {}".format(error))
        return None


def identities_in(registered: str) -> Tuple[str, ...]:
    """Return the identities of a 200, at least the one that was registered."""
    try:
        return ims.public_identities(message.rows("P-Associated-URI"), registered)
    except ims.ImsError as error:
        message.log("P-Associated-URI of a 200 to REGISTER: {}".format(error))
        return (registered,)


def service_route_in() -> Tuple[str, ...]:
    """Return the Service-Route of a 200."""
    try:
        return ims.service_route(message.rows("Service-Route"))
    except ims.ImsError as error:
        message.log("Service-Route of a 200 to REGISTER: {}".format(error))
        return ()
