"""Screen, Offer, Verify, TakeIntoUse on the wire: shapes, limits of text, typed refusals."""

import json
from typing import Any

import msgspec
import pytest

from sad.api.messages import OfferIn
from sad.model import errors
from sad.model.agreement import Refusal
from sad.model.endpoint import Profile
from tests.support import make
from tests.support.api import ASSOCIATIONS, SERVICE
from tests.support.desk import OPERATOR, SIP_SERVER, STRANGER, Desk

REGISTRATION = {"privateIdentity": "ue@ims.example", "publicIdentities": ["sip:ue@ims.example"]}
CLEAR = {
    "peerAddress": make.UE_ADDRESS,
    "peerPort": 5060,
    "localAddress": make.EDGE_ADDRESS,
    "localPort": 5060,
}
PROTECTED = CLEAR | {"peerPort": 6301, "localPort": 5064}


def screen(**changes: Any) -> dict[str, Any]:
    values = {
        "endpoint": "access",
        "registration": REGISTRATION,
        "flow": CLEAR,
        "securityClient": ["tls", make.security_client()],
    }
    return values | changes


def offer(**changes: Any) -> dict[str, Any]:
    values = {
        "transaction": {"callId": "a84b4c@ue", "cseq": 1, "branch": "z9hG4bKa"},
        "integrityKey": make.IK.hex(),
        "cipherKey": make.CK.hex(),
    }
    return screen() | values | changes


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_a_registration_from_screen_to_use(desk: Desk) -> None:
    """Every answer in the interface's shape; the same association goes through all of them."""

    async def call(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        reply = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.{method}", parameters)
        return dict(reply["parameters"])

    refusal = {
        "offerIndex": 0,
        "mechanism": "tls",
        "reason": "mechanism-not-listed",
        "text": "tls is not in the server's list",
        "rule": "R3329-2.3.1-h",
    }
    assert await call("Screen", screen()) == {"mechanism": "ipsec-3gpp", "refusals": [refusal]}

    offered = await call("Offer", offer())
    association = offered["association"]
    assert (association["state"], association["secondsLeft"]) == ("temporary", 240)
    assert offered["refusals"] == [refusal]
    assert offered["securityServer"].startswith("ipsec-3gpp;q=0.55;")

    verified = await call(
        "Verify",
        {
            "flow": PROTECTED,
            "securityVerify": [offered["securityServer"]],
            "securityClient": screen()["securityClient"],
        },
    )
    assert verified == {"association": association, "refusals": []}
    taken = await call("TakeIntoUse", {"id": association["id"]})
    assert taken["association"]["state"] == "inUse"
    found = await call("Find", {"flow": PROTECTED})
    assert found["association"] == found["outbound"] == taken["association"]
    await call("Release", {"id": association["id"], "wholeRegistration": True})
    assert desk.backend.releases[0].whole_registration


async def test_user_agents_of_an_endpoint_are_told_its_list(desk: Desk) -> None:
    """R3329-2.1-c, GAP-1: the static list of profile rfc3329, none of profile ims."""
    wanted = {"endpoint": "access"}
    ims = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.GetAgreement", wanted)
    assert ims["parameters"] == {"profile": "ims", "required": True, "securityServer": ""}

    listed = {"security_server": "digest;d-qop=auth", "security_required": False}
    desk.backend.endpoints["access"] = make.endpoint(profile=Profile.RFC3329, **listed)
    rfc = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.GetAgreement", wanted)
    assert rfc["parameters"] == {
        "profile": "rfc3329",
        "required": False,
        "securityServer": "digest;d-qop=auth",
    }
    stranger = await desk.call(STRANGER, f"{ASSOCIATIONS}.GetAgreement", wanted)
    assert stranger["error"] == f"{ASSOCIATIONS}.NotPermitted"
    # Nothing is chosen for one user agent where the list is static.
    for method, parameters in (("Screen", screen()), ("Offer", offer())):
        reply = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.{method}", parameters)
        assert reply["error"] == f"{ASSOCIATIONS}.MechanismUnavailable"
        assert "GetAgreement" in reply["parameters"]["hint"]


async def test_what_is_offered_arrives_word_for_word(desk: Desk) -> None:
    """Addresses canonical, rows as they came, keys as secrets, no association by default."""
    rows = [
        "\tipsec-3gpp ;\talg=hmac-sha-1-96\t",
        "é" * 10 + '"\\x01\x7f"',
        make.security_client(),
    ]
    await desk.call(
        SIP_SERVER,
        f"{ASSOCIATIONS}.Offer",
        offer(securityClient=[rows[2]], association="abc", flow=CLEAR | {"localPort": 7}),
    )
    bad = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Offer", offer(securityClient=rows))

    (request,) = desk.backend.offers
    assert (request.association_id, request.flow.local_port) == ("abc", 7)
    assert request.transaction.call_id == "a84b4c@ue"
    assert request.security_client == (rows[2],)
    assert request.integrity_key is not None
    assert request.integrity_key.reveal() == make.IK
    assert bad["error"] == f"{ASSOCIATIONS}.BadHeader"
    assert (bad["parameters"]["row"], bad["parameters"]["position"]) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"securityClient": ["a\x00b"]}, "securityClient[0]"),
        ({"securityClient": ["a" * 16_385]}, "securityClient[0]"),
        ({"securityClient": ["a"] * 33}, "securityClient"),
        ({"securityClient": "tls"}, "securityClient"),
        ({"securityClient": None}, "securityClient"),
        ({"transaction": {"callId": "c", "cseq": "1", "branch": "b"}}, "transaction.cseq"),
        ({"transaction": {"callId": "c", "cseq": 1}}, "transaction.branch"),
        ({"integrityKey": 7}, "integrityKey"),
        ({"association": 7}, "association"),
    ],
)
async def test_what_has_not_the_shape_is_named(
    desk: Desk, changes: dict[str, Any], parameter: str
) -> None:
    """Design 5: 32 rows of 16 KiB, any text but NUL."""
    reply = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Offer", offer(**changes))

    assert reply == {
        "error": f"{SERVICE}.InvalidParameter",
        "parameters": {"parameter": parameter},
    }


async def test_keys_that_are_none_are_refused_without_their_text(desk: Desk) -> None:
    """T33-I: the parameter's name is the call's own."""
    wrong = "0x" + make.IK.hex()
    for name in ("integrityKey", "cipherKey"):
        reply = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Offer", offer(**{name: wrong}))
        assert reply["parameters"]["parameter"] == name
        assert make.IK.hex() not in json.dumps(reply)


def test_an_offer_does_not_print_its_keys() -> None:
    """Logs and tracebacks print what they hold."""
    message = msgspec.json.decode(json.dumps(offer()), type=OfferIn)

    for printed in (repr(message), str(message), repr(make.offer_request())):
        assert make.IK.hex() not in printed
        assert make.CK.hex() not in printed
        assert repr(make.IK) not in printed


async def test_refusals_of_offers_travel_inside_errors(desk: Desk) -> None:
    """NoCommonMechanism: each offer's refusal by its names on the wire, keys masked."""
    reply = await desk.call(
        SIP_SERVER, f"{ASSOCIATIONS}.Screen", screen(securityClient=["tls", "digest"])
    )
    assert reply["error"] == f"{ASSOCIATIONS}.NoCommonMechanism"
    assert [r["offerIndex"] for r in reply["parameters"]["refusals"]] == [0, 1]
    assert reply["parameters"]["hint"]

    key = make.IK.hex()
    told = Refusal(offer_index=0, mechanism=key, reason="r", text=f"about {key}", rule="R")
    desk.backend.failure = errors.NoCommonMechanism(refusals=(told,))
    masked = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Find", {"flow": PROTECTED})
    assert masked["parameters"]["refusals"] == [
        {
            "offerIndex": 0,
            "mechanism": "(hidden)",
            "reason": "r",
            "text": "about (hidden)",
            "rule": "R",
        }
    ]


async def test_who_may(desk: Desk) -> None:
    """Design 5: the users of the endpoint alone; operators neither grant nor verify."""
    offered = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Offer", offer())
    identifier = offered["parameters"]["association"]["id"]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("Screen", screen()),
        ("Offer", offer()),
        ("Verify", {"flow": PROTECTED, "securityVerify": [], "securityClient": []}),
        ("TakeIntoUse", {"id": identifier}),
    ]
    for caller in (OPERATOR, STRANGER):
        for method, parameters in calls:
            reply = await desk.call(caller, f"{ASSOCIATIONS}.{method}", parameters)
            assert reply["error"] == f"{ASSOCIATIONS}.NotPermitted", method
