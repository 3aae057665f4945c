"""The blocking client against the real server."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sad.api.limits import Limits
from sip_hooks.client import CallError, Client
from tests.support import make
from tests.support.api import ASSOCIATIONS, SERVICE, install_parameters, serving_in_thread
from tests.support.memory_backend import MemoryBackend

GET = f"{ASSOCIATIONS}.Get"
Run = Callable[[Callable[[], None]], None]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[MemoryBackend, Run]]:
    with serving_in_thread(tmp_path / "s") as served:
        yield served


@pytest.fixture
def client(tmp_path: Path, daemon: object) -> Iterator[Client]:
    with Client(str(tmp_path / "s"), timeout=10) as client:
        yield client


def test_a_registration_from_install_to_release(client: Client) -> None:
    """What a hook does, over one connection."""
    installed = client.call(f"{ASSOCIATIONS}.Install", install_parameters())["association"]
    by_id = {"id": installed["id"]}
    confirmed = client.call(f"{ASSOCIATIONS}.Confirm", {**by_id, "expiresSeconds": 600})
    released = client.call(f"{ASSOCIATIONS}.Release", by_id)

    assert confirmed["association"]["secondsLeft"] == 630
    assert [a["id"] for a in released["associations"]] == [installed["id"]]


def test_an_error_is_typed_and_keeps_the_connection(client: Client) -> None:
    """Name and parameters as the interface has them; the text is fit for a log."""
    client.call(f"{ASSOCIATIONS}.Install", install_parameters())
    line = client._line
    with pytest.raises(CallError) as caught:
        client.call(f"{ASSOCIATIONS}.Install", install_parameters())

    error = caught.value
    assert (error.name, error.short_name) == (f"{ASSOCIATIONS}.FlowInUse", "FlowInUse")
    assert error.parameters["id"] == "000000000001"
    assert str(error) == (
        "FlowInUse (reason: port_uc is in use, id: 000000000001, hint: release it)"
    )
    assert make.IK.hex() not in f"{error} {error!r}"
    assert client.call(f"{SERVICE}.GetInfo")["product"] == "sad"
    assert client._line is line


def test_an_error_without_parameters_is_its_name(client: Client) -> None:
    """ExpectedMore has none."""
    with pytest.raises(CallError) as caught:
        client.call(f"{ASSOCIATIONS}.Monitor")

    assert str(caught.value) == "ExpectedMore"


def test_a_list_streams(client: Client, daemon: tuple[MemoryBackend, Run]) -> None:
    """Each association once, beside the client's kept connection."""
    backend, run_there = daemon
    run_there(lambda: backend.fill(5000))

    ids = [a["association"]["id"] for a in client.stream(f"{ASSOCIATIONS}.List", {}, wait=10)]

    assert ids == [f"{n:012}" for n in range(5000)]


def test_a_monitor_streams_while_calls_go_on(
    client: Client, daemon: tuple[MemoryBackend, Run]
) -> None:
    """A stream has its own connection; closing the iterator ends the subscription."""
    backend, run_there = daemon
    changes = client.stream(f"{ASSOCIATIONS}.Monitor")
    assert next(changes)["event"] == "ready"

    client.call(f"{ASSOCIATIONS}.Install", install_parameters())
    added = next(changes)
    changes.close()

    assert (added["event"], added["association"]["id"]) == ("added", "000000000001")
    finalised: list[int] = []
    while finalised != [1]:
        run_there(lambda: finalised.__setitem__(slice(None), [backend.finalised]))


def test_a_stream_can_be_refused(client: Client) -> None:
    """The error comes at the first step."""
    with pytest.raises(CallError, match="MethodNotFound"):
        next(client.stream(f"{ASSOCIATIONS}.Nothing"))


def test_a_client_one_too_many_is_told_and_may_come_back(tmp_path: Path) -> None:
    """Busy, and when another has left there is room for the same client again."""
    limits = Limits(connections=1)
    path = str(tmp_path / "s")
    with serving_in_thread(tmp_path / "s", limits=limits):
        first, second = Client(path, timeout=10), Client(path, timeout=10)
        first.call(f"{SERVICE}.GetInfo")
        with pytest.raises(CallError) as caught:
            second.call(f"{SERVICE}.GetInfo")
        assert caught.value.short_name == "Busy"

        first.close()
        second.close()
        assert answered_at_last(path) == "sad"


def answered_at_last(path: str) -> str:
    """The product's name, once the server has noticed that there is room."""
    with Client(path, timeout=10) as client:
        while True:
            with contextlib.suppress(CallError):
                return str(client.call(f"{SERVICE}.GetInfo")["product"])
            client.close()
