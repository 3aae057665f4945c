"""Requests of a SIP hook over the shell: Screen, Offer on a set, Verify."""

from typing import Any

from sad.model.association import Association
from sad.model.requests import Flow, OfferRequest, ScreenRequest, VerifyRequest
from sad.model.views import Offered
from tests.support.make import clear_flow, offer_request, security_client
from tests.support.shell import USER, Shell, grant_of


def flow_of(association: Association, *, server: bool = False) -> Flow:
    """The flow of a REGISTER on a set; ``server``: of the pair of both server ports."""
    s = association.sa_set
    return Flow(
        peer_address=s.ue_address,
        peer_port=s.port_us if server else s.port_uc,
        local_address=s.pcscf_address,
        local_port=s.port_ps,
    )


def re_offer(on: Association, number: int = 1, **changes: Any) -> OfferRequest:
    """An Offer for a REGISTER on a set, with new SPIs and client port."""
    ue = {"spi_c": 30_000 + 2 * number, "spi_s": 30_001 + 2 * number, "port_c": 6310 + number}
    values: dict[str, Any] = {
        "ue": ue | changes.pop("ue", {}),
        "association_id": on.id,
        "flow": flow_of(on),
        "call_id": f"re{number}",
    }
    return offer_request(**(values | changes))


def verify_request(offered: Offered, **changes: Any) -> VerifyRequest:
    assert offered.association.offer is not None
    values: dict[str, Any] = {
        "flow": flow_of(offered.association),
        "security_verify": (offered.security_server,),
        "security_client": (offered.association.offer.security_client,),
    }
    return VerifyRequest(**(values | changes))


async def registered(shell: Shell, **changes: Any) -> Association:
    offered = await shell.service.offer(USER, offer_request(**changes))
    return await shell.service.confirm(USER, grant_of(offered.association.id, 600))


def screen_request(**changes: Any) -> ScreenRequest:
    values: dict[str, Any] = {
        "endpoint": "access",
        "private_identity": "001010000000001@ims.example",
        "public_identities": (),
        "flow": clear_flow(),
        "security_client": (security_client(),),
    }
    return ScreenRequest(**(values | changes))
