"""What refusals look like, foreseen and unforeseen."""

import json
import logging
from typing import Any

import pytest

from sad.api import replies
from sad.api.framing import Call
from sad.model import errors
from tests.support import make
from tests.support.api import ASSOCIATIONS, CONTROL, SERVICE, install_parameters
from tests.support.desk import OPERATOR, SIP_SERVER, Desk


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    ("method", "error", "field", "value"),
    [
        ("org.example.Other.Get", "InterfaceNotFound", "interface", "org.example.Other"),
        ("Get", "InterfaceNotFound", "interface", ""),
        ("", "InterfaceNotFound", "interface", ""),
        (f"{ASSOCIATIONS}.Grant", "MethodNotFound", "method", f"{ASSOCIATIONS}.Grant"),
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
    errors.NotOwner(endpoint="e", owner="n"),
    errors.TakeoverRefused(endpoint="e", owner="n", reason="r", hint="h"),
    errors.NoCluster(reason="r", hint="h"),
    errors.NoSuchAssociation(),
    errors.UnknownFlow(),
    errors.NoSuchConnection(reason="r"),
    errors.NotPermitted(reason="r", hint="h"),
    errors.BadParameter(parameter="p", reason="r", rule=None, hint="h"),
    errors.AlgorithmUnavailable(algorithm="a", reason="r", hint="h"),
    errors.MechanismUnavailable(mechanism="m", reason="r", hint="h"),
    errors.NoCredential(endpoint="access", reason="r", hint="h"),
    errors.FlowInUse(reason="r", id="i", hint="h"),
    errors.LimitExceeded(limit="l", maximum=3, hint="h"),
    errors.PoolExhausted(pool="p", size=4, hint="h"),
    errors.NoCommonMechanism(refusals=(), hint="h"),
    errors.BadHeader(header="Security-Client", row=0, position=1, reason="r", rule=None, hint="h"),
    errors.VerifyMismatch(header="x", difference="d", security_server="tls", hint="h"),
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
    shown = [list(v) if isinstance(v, tuple) else v for v in values]
    assert list(reply["parameters"].values()) == shown
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


def test_a_key_in_the_wrong_place_comes_back_masked() -> None:
    """SIP servers log errors: what looks like a key is not repeated, wherever it was put."""
    key = make.IK.hex()
    answers = [
        replies.invalid_parameter(f"ipsec3gpp.{key}"),
        replies.unknown_method(f"org.sipsad.Associations.{key}"),
        replies.interface_not_found(key),
        replies.refusal("org.sipsad.Associations.Install", errors.NoSuchEndpoint(endpoint=key)),
    ]

    for answer in answers:
        assert key.encode() not in answer
        assert b"(hidden)" in answer
