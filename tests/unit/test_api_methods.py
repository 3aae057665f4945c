"""What calls do, without a socket: results, authorisation, streams."""

import json

import pytest

from sad.api.authorization import AccessPolicy
from sad.model import errors
from sad.model.requests import Caller
from sad.model.views import DaemonState
from tests.support import make
from tests.support.api import ASSOCIATIONS, CONTROL, SERVICE, install_parameters
from tests.support.desk import OPERATOR, SIP_SERVER, STRANGER, Desk


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_a_registration_from_install_to_release(desk: Desk) -> None:
    """Install, Find, Confirm, Get, List, Release: each answers with the same association."""
    installed = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Install", install_parameters())
    association = installed["parameters"]["association"]
    flow = {
        "peerAddress": make.UE_ADDRESS,
        "peerPort": 6301,
        "localAddress": make.EDGE_ADDRESS,
        "localPort": 5064,
    }
    by_id = {"id": association["id"]}

    found = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Find", {"flow": flow})
    confirmed = await desk.call(
        SIP_SERVER, f"{ASSOCIATIONS}.Confirm", {**by_id, "expiresSeconds": 600}
    )
    got = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Get", by_id)
    listed = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.List")
    released = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Release", by_id)
    empty = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.List")

    assert (association["state"], association["secondsLeft"]) == ("temporary", 240)
    assert found["parameters"]["association"] == association
    lengthened = confirmed["parameters"]["association"]
    assert (lengthened["state"], lengthened["secondsLeft"]) == ("established", 630)
    assert got["parameters"]["association"] == lengthened
    assert got["parameters"]["counters"] == [
        {
            "name": "ps",
            "direction": "in",
            "spi": 4097,
            "bytes": 1500,
            "packets": 3,
            "replayFailures": 0,
            "integrityFailures": 1,
            "lastUsedAt": 1_700_000_000_000_000,
        }
    ]
    assert listed["parameters"] == {"association": lengthened}
    (ended,) = released["parameters"]["associations"]
    assert (ended["state"], ended["endReason"]) == ("ended", "released")
    assert empty == {"parameters": {"association": None}}


async def test_keys_go_in_and_never_come_out(desk: Desk) -> None:
    """The backend has them; no reply of any method has."""
    replies = [
        await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Install", install_parameters()),
        await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Install", install_parameters()),
        await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.List"),
        await desk.call(SIP_SERVER, f"{CONTROL}.GetStatus"),
    ]

    assert desk.backend.requests[0].integrity_key.reveal() == make.IK
    text = json.dumps(replies).lower()
    assert make.IK.hex() not in text
    assert make.CK.hex() not in text


async def test_the_daemon_tells_how_it_stands(desk: Desk) -> None:
    """GetStatus and Reconcile, in the interface's shape."""
    desk.backend.fill(3)

    status = (await desk.call(OPERATOR, f"{CONTROL}.GetStatus"))["parameters"]
    report = (await desk.call(OPERATOR, f"{CONTROL}.Reconcile"))["parameters"]["reconcile"]

    assert (status["state"], status["startedAt"]) == ("ready", 1_700_000_000_000_000)
    assert status["endpoints"][0]["serverPort"] == 5064
    assert status["associations"] == [
        {"mechanism": "ipsec-3gpp", "state": "established", "count": 3}
    ]
    assert status["pools"] == [
        {"name": "associations", "endpoint": None, "used": 170_000, "size": 200_000}
    ]
    assert status["kernelCounters"] == [{"name": "XfrmInNoStates", "value": 2}]
    assert status["lastReconcile"] is None
    assert (report["adopted"], report["at"]) == (3, 1_700_000_000_000_000)
    assert "2000" in report["reason"]


@pytest.mark.parametrize(
    ("method", "allowed"),
    [
        (f"{ASSOCIATIONS}.Install", (SIP_SERVER,)),
        (f"{ASSOCIATIONS}.Confirm", (SIP_SERVER,)),
        (f"{ASSOCIATIONS}.Release", (SIP_SERVER,)),
        (f"{ASSOCIATIONS}.Find", (SIP_SERVER, OPERATOR)),
        (f"{ASSOCIATIONS}.Get", (SIP_SERVER, OPERATOR)),
        (f"{ASSOCIATIONS}.List", (SIP_SERVER, OPERATOR)),
        (f"{ASSOCIATIONS}.Monitor", (SIP_SERVER, OPERATOR)),
        (f"{CONTROL}.GetStatus", (SIP_SERVER, OPERATOR)),
        (f"{CONTROL}.Reconcile", (OPERATOR,)),
        (f"{CONTROL}.Explain", (SIP_SERVER, OPERATOR)),
        (f"{CONTROL}.Check", (OPERATOR,)),
        (f"{SERVICE}.GetInfo", (SIP_SERVER, OPERATOR, STRANGER)),
        (f"{SERVICE}.GetInterfaceDescription", (SIP_SERVER, OPERATOR, STRANGER)),
    ],
)
async def test_each_method_is_authorised(
    desk: Desk, method: str, allowed: tuple[Caller, ...]
) -> None:
    """Who may not gets NotPermitted of the method's interface; who may does not."""
    parameters = {
        "Install": install_parameters(),
        "Confirm": {"id": "000000000000", "expiresSeconds": 60},
        "Release": {"id": "000000000000"},
        "Get": {"id": "000000000000"},
        "Find": {
            "flow": {"peerAddress": "::1", "peerPort": 1, "localAddress": "::1", "localPort": 1}
        },
        "GetInterfaceDescription": {"interface": SERVICE},
    }.get(method.rpartition(".")[2], {})

    for caller in (SIP_SERVER, OPERATOR, STRANGER):
        desk.backend.fill(1)
        reply = await desk.call(caller, method, parameters)
        expected = None if caller in allowed else f"{method.rpartition('.')[0]}.NotPermitted"
        refused = reply.get("error") if "NotPermitted" in str(reply.get("error")) else None
        assert refused == expected


async def test_a_stranger_learns_nothing_about_parameters(desk: Desk) -> None:
    """Permission comes before the parameters are looked at."""
    reply = await desk.call(STRANGER, f"{ASSOCIATIONS}.Get", {"wrong": 1})

    assert reply["error"] == f"{ASSOCIATIONS}.NotPermitted"


async def test_a_new_policy_holds_from_the_next_call(desk: Desk) -> None:
    """Settings can be read again without a new socket."""
    desk.methods.policy = AccessPolicy(endpoint_uids=frozenset({3000}))

    assert "parameters" in await desk.call(STRANGER, f"{ASSOCIATIONS}.List")
    refused = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.List")
    assert refused["error"] == f"{ASSOCIATIONS}.NotPermitted"


async def test_a_starting_daemon_answers_only_for_itself(desk: Desk) -> None:
    """All but GetStatus and introspection are Busy with a time to come back after."""
    desk.backend.daemon_state = DaemonState.STARTING
    served = desk.methods.names
    open_methods = {
        f"{CONTROL}.GetStatus": {},
        f"{SERVICE}.GetInfo": {},
        f"{SERVICE}.GetInterfaceDescription": {"interface": CONTROL},
    }
    for method in served - set(open_methods):
        reply = await desk.call(OPERATOR, method, {})
        assert reply["error"] == f"{method.rpartition('.')[0]}.Busy"
        assert 0 < reply["parameters"]["retryAfterMilliseconds"] <= 1000
    for method, parameters in open_methods.items():
        assert "error" not in await desk.call(OPERATOR, method, parameters)

    desk.backend.daemon_state = DaemonState.READY
    assert "error" not in await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.List")


async def test_starting_is_left_once_and_for_ever(desk: Desk) -> None:
    """So a busy daemon is not asked for its whole status with each call."""
    await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.List")
    desk.backend.daemon_state = DaemonState.STARTING

    assert "error" not in await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.List")


@pytest.mark.parametrize("count", [0, 1, 2, 500])
async def test_a_list_says_each_association_once(desk: Desk, count: int) -> None:
    """One a reply, all but the last one continuing; null if there is none."""
    desk.backend.fill(count)

    replies = [r async for r in desk.replies(OPERATOR, f"{ASSOCIATIONS}.List", more=True)]

    ids = [a["id"] for r in replies if (a := r["parameters"]["association"]) is not None]
    assert ids == [f"{n:012}" for n in range(count)]
    assert len(replies) == max(1, count)
    assert [r.get("continues", False) for r in replies] == [True] * (len(replies) - 1) + [False]


async def test_many_answers_need_more(desk: Desk) -> None:
    """Without it List answers up to one, and Monitor not at all."""
    desk.backend.fill(1)
    one = await desk.call(OPERATOR, f"{ASSOCIATIONS}.List")
    desk.backend.fill(2)
    two = await desk.call(OPERATOR, f"{ASSOCIATIONS}.List")
    monitor = await desk.call(OPERATOR, f"{ASSOCIATIONS}.Monitor")

    assert one["parameters"]["association"]["id"] == "000000000000"
    expected = {"error": f"{SERVICE}.ExpectedMore", "parameters": {}}
    assert [two, monitor] == [expected, expected]


async def test_a_list_filters(desk: Desk) -> None:
    """Each filter reaches the backend, addresses in canonical form."""
    desk.backend.put(make.association(id="v4"))
    v6 = make.sa_set(ue_address="2001:db8::2", pcscf_address="2001:db8:1::1")
    desk.backend.put(make.association(id="v6", sa_set=v6, private_identity="other"))

    for wanted, expected in (
        ({"peerAddress": "2001:DB8:0::2"}, "v6"),
        ({"privateIdentity": "other", "endpoint": "access"}, "v6"),
        ({"peerAddress": make.UE_ADDRESS, "state": "established"}, "v4"),
    ):
        reply = await desk.call(OPERATOR, f"{ASSOCIATIONS}.List", wanted)
        assert reply["parameters"]["association"]["id"] == expected


async def test_a_monitor_that_fails_ends_with_the_refusal(desk: Desk) -> None:
    """An error in mid-stream is its last reply, and the subscription is gone."""
    replies = desk.replies(OPERATOR, f"{ASSOCIATIONS}.Monitor", more=True)
    ready = await anext(replies)
    desk.backend.failure = errors.Busy(retry_after_milliseconds=5, reason="r")
    desk.backend.fill(1)

    refused = await anext(replies)

    assert ready["parameters"] == {"event": "ready", "association": None}
    assert (refused["error"], refused.get("continues")) == (f"{ASSOCIATIONS}.Busy", None)
    assert [r async for r in replies] == []
    assert (desk.backend.queues, desk.backend.finalised) == ([], 1)
