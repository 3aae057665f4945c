"""What calls do, and what refusals look like, without a socket."""

import inspect
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from sad.api.authorization import AccessPolicy
from sad.api.framing import Call
from sad.api.methods import Methods
from sad.api.streams import Stream
from sad.model import errors
from sad.model.requests import Caller
from sad.model.views import DaemonState
from tests.support import make
from tests.support.api import ASSOCIATIONS, CONTROL, SERVICE, install_parameters
from tests.support.memory_backend import MemoryBackend

SIP_SERVER = Caller(uid=1000, gid=1000, pid=1)
OPERATOR = Caller(uid=2000, gid=2000, pid=1)
STRANGER = Caller(uid=3000, gid=3000, pid=1)
POLICY = AccessPolicy(endpoint_uids=frozenset({1000}), control_uids=frozenset({2000}))


class Desk:
    """Calls methods of one memory backend and decodes the replies."""

    def __init__(self) -> None:
        self.backend = MemoryBackend()
        self.methods = Methods(self.backend, POLICY)

    async def replies(
        self, caller: Caller, method: str, parameters: object = None, *, more: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        raw = msgspec.Raw(json.dumps(parameters or {}).encode())
        begun = self.methods.begin(caller, Call(method=method, parameters=raw, more=more))
        if isinstance(begun, Stream):
            async for part in begun.replies:
                for message in part.split(b"\0")[:-1]:
                    yield json.loads(message)
        else:
            data = await begun if inspect.iscoroutine(begun) else begun
            assert isinstance(data, bytes)
            yield json.loads(data[:-1])

    async def call(self, caller: Caller, method: str, parameters: object = None) -> dict[str, Any]:
        (reply,) = [r async for r in self.replies(caller, method, parameters)]
        return reply


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
    assert status["associations"] == [{"state": "established", "count": 3}]
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


@pytest.mark.parametrize(
    ("method", "error", "field", "value"),
    [
        ("org.example.Other.Get", "InterfaceNotFound", "interface", "org.example.Other"),
        ("Get", "InterfaceNotFound", "interface", ""),
        ("", "InterfaceNotFound", "interface", ""),
        (f"{ASSOCIATIONS}.Offer", "MethodNotFound", "method", f"{ASSOCIATIONS}.Offer"),
        (f"{ASSOCIATIONS}.get", "MethodNotFound", "method", f"{ASSOCIATIONS}.get"),
        (f"{CONTROL}.", "MethodNotFound", "method", f"{CONTROL}."),
    ],
)
async def test_what_is_not_served_is_named(
    desk: Desk, method: str, error: str, field: str, value: str
) -> None:
    """By interface if that is unknown, else by method."""
    reply = await desk.call(SIP_SERVER, method)

    assert reply == {"error": f"{SERVICE}.{error}", "parameters": {field: value}}


async def test_a_long_wrong_name_is_not_repeated_in_full(desk: Desk) -> None:
    """A reply is not 64 KiB because the call was."""
    for method in ("x" * 60_000 + ".Get", f"{CONTROL}." + "x" * 60_000):
        reply = await desk.call(SIP_SERVER, method)
        assert len(json.dumps(reply)) < 300


async def test_an_unknown_interface_has_no_description(desk: Desk) -> None:
    """InterfaceNotFound, as for a call."""
    reply = await desk.call(
        SIP_SERVER, f"{SERVICE}.GetInterfaceDescription", {"interface": "org.example.Other"}
    )

    assert reply == {
        "error": f"{SERVICE}.InterfaceNotFound",
        "parameters": {"interface": "org.example.Other"},
    }


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"spiUc": "25656"}, "ipsec3gpp.spiUc"),
        ({"spiUc": 1.5}, "ipsec3gpp.spiUc"),
        ({"portUs": True}, "ipsec3gpp.portUs"),
        ({"spi_uc": 1}, "ipsec3gpp.spi_uc"),
        ({"integrityKey": 7}, "ipsec3gpp.integrityKey"),
        ({"integrityKey": "f" * 129}, "ipsec3gpp.integrityKey"),
        ({"ueAddress": None}, "ipsec3gpp.ueAddress"),
        ({"ueAddress": "1" * 65}, "ipsec3gpp.ueAddress"),
    ],
)
async def test_a_wrong_field_is_named_by_its_path(
    desk: Desk, change: dict[str, Any], parameter: str
) -> None:
    """Missing, unknown or ill-typed: InvalidParameter with the name, nothing of the value."""
    reply = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.Install", install_parameters(**change))

    assert reply == {
        "error": f"{SERVICE}.InvalidParameter",
        "parameters": {"parameter": parameter},
    }
    assert desk.backend.begun == []


async def test_a_wrong_word_of_an_enumeration_is_not_repeated(desk: Desk) -> None:
    """The sender may have mixed up a field with a key."""
    secret = make.IK.hex()
    reply = await desk.call(
        SIP_SERVER, f"{ASSOCIATIONS}.Install", {**install_parameters(), "role": secret}
    )

    assert reply["parameters"] == {"parameter": "role"}
    assert secret not in json.dumps(reply)


async def test_upgrade_is_refused(desk: Desk) -> None:
    """No method turns the connection into something else."""
    begun = desk.methods.begin(SIP_SERVER, Call(method=f"{SERVICE}.GetInfo", upgrade=True))

    assert isinstance(begun, bytes)
    assert json.loads(begun[:-1])["parameters"] == {"parameter": "upgrade"}


REFUSALS: list[errors.SadError] = [
    errors.NoSuchEndpoint(endpoint="e"),
    errors.NoSuchAssociation(),
    errors.UnknownFlow(),
    errors.NotPermitted(reason="r", hint="h"),
    errors.BadParameter(parameter="p", reason="r", rule=None, hint="h"),
    errors.AlgorithmUnavailable(algorithm="a", reason="r", hint="h"),
    errors.MechanismUnavailable(mechanism="m", reason="r", hint="h"),
    errors.FlowInUse(reason="r", id="i", hint="h"),
    errors.LimitExceeded(limit="l", maximum=3, hint="h"),
    errors.PoolExhausted(pool="p", size=4, hint="h"),
    errors.KernelRefused(errno=17, name="EEXIST", message="m", object="SA1", hint="h"),
    errors.JournalUnavailable(reason="r", hint="h"),
    errors.Busy(retry_after_milliseconds=5, reason="r"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("method", ["Get", "List", "Find"])
async def test_every_refusal_of_the_backend_is_answered_in_full(
    desk: Desk, error: errors.SadError, method: str
) -> None:
    """Whichever way the method is answered: the error's name and all its fields."""
    desk.backend.failure = error
    flow = {"peerAddress": "::1", "peerPort": 1, "localAddress": "::1", "localPort": 1}
    parameters = {"Get": {"id": "a"}, "List": {}, "Find": {"flow": flow}}[method]

    reply = await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.{method}", parameters)

    assert reply["error"] == f"{ASSOCIATIONS}.{type(error).__name__}"
    values = [v for name, v in vars(error).items() if not name.startswith("_")]
    assert list(reply["parameters"].values()) == values
    assert all("_" not in name for name in reply["parameters"])


def test_the_list_of_refusals_is_complete() -> None:
    """A new error is tried above, too."""
    assert {type(e) for e in REFUSALS} == set(errors.SadError.__subclasses__())


async def test_control_uses_its_own_errors_where_it_has_them(desk: Desk) -> None:
    """Busy is Control's; what Control does not have comes from Associations."""
    replies = []
    for error in (
        errors.Busy(retry_after_milliseconds=5, reason="r"),
        errors.JournalUnavailable(reason="r", hint="h"),
    ):
        desk.backend.failure = error
        replies.append(await desk.call(OPERATOR, f"{CONTROL}.Reconcile"))

    assert [r["error"] for r in replies] == [
        f"{CONTROL}.Busy",
        f"{ASSOCIATIONS}.JournalUnavailable",
    ]


@pytest.mark.parametrize(
    ("method", "interface"),
    [("Get", ASSOCIATIONS), ("List", ASSOCIATIONS), ("Reconcile", CONTROL)],
)
async def test_what_nobody_foresaw_is_a_reference_and_a_place(
    desk: Desk, caplog: pytest.LogCaptureFixture, method: str, interface: str
) -> None:
    """InternalError; the log has type and place under the same reference, and no text or value."""
    desk.backend.failure = ValueError(f"key {make.IK.hex()}")
    parameters = {"id": make.CK.hex()} if method == "Get" else {}

    with caplog.at_level(logging.ERROR):
        reply = await desk.call(OPERATOR, f"{interface}.{method}", parameters)

    assert reply["error"] == f"{interface}.InternalError"
    reference = reply["parameters"]["reference"]
    (record,) = caplog.records
    assert reference in record.getMessage()
    assert "ValueError" in record.getMessage()
    assert "memory_backend.py" in record.getMessage()
    assert record.exc_info is None
    for key in (make.IK.hex(), make.CK.hex()):
        assert key not in caplog.text + json.dumps(reply)


async def test_a_failed_call_does_not_hurt_the_next(desk: Desk) -> None:
    """The daemon goes on."""
    desk.backend.failure = ZeroDivisionError()
    await desk.call(SIP_SERVER, f"{ASSOCIATIONS}.List")
    desk.backend.failure = None

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
