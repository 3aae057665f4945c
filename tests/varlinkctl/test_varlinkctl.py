"""systemd's ``varlinkctl``, the client that operators have, finds what it expects.

The second foreign client beside asyncvarlink (tests/unit/test_api_foreign_client.py): another
implementation of the protocol, of its own parser of interface files, and of its command line.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sad.api.idl import parse_interface
from sad.api.interfaces import load_interfaces
from tests.support import make
from tests.support.api import (
    ASSOCIATIONS,
    CONTROL,
    SERVICE,
    install_parameters,
    serving_in_thread,
)
from tests.support.memory_backend import MemoryBackend
from tests.support.tree import ROOT

pytestmark = pytest.mark.timeout(600)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[MemoryBackend]:
    with serving_in_thread(tmp_path / "s") as (backend, _):
        yield backend


@pytest.fixture
def run(varlinkctl: str) -> Run:
    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [varlinkctl, *words], capture_output=True, text=True, check=False, timeout=300
        )

    return run


@pytest.fixture
def call(run: Run, backend: MemoryBackend, tmp_path: Path) -> Run:
    def call(
        method: str, parameters: dict[str, Any], *options: str
    ) -> subprocess.CompletedProcess[str]:
        words = ("call", tmp_path / "s", method, json.dumps(parameters))
        return run("--json=short", *options, *words)

    return call


def replies(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """One JSON object a line, or a text sequence (RFC 7464) of them."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line.strip("\x1e")) for line in done.stdout.splitlines() if line.strip()]


def test_it_reads_who_serves(run: Run, backend: MemoryBackend, tmp_path: Path) -> None:
    """GetInfo, and the list of interfaces."""
    info = run("info", tmp_path / "s")
    listed = run("list-interfaces", tmp_path / "s")

    assert info.returncode == 0, info.stderr
    assert "sipsad" in info.stdout
    assert set(listed.stdout.split()) >= {ASSOCIATIONS, CONTROL, SERVICE}


@pytest.mark.parametrize("name", [ASSOCIATIONS, CONTROL, SERVICE])
def test_it_reads_the_interfaces(
    run: Run, backend: MemoryBackend, tmp_path: Path, name: str
) -> None:
    """It parses what is served, and what it writes of that says the same."""
    told = run("introspect", tmp_path / "s", name)

    assert told.returncode == 0, told.stderr
    read, ours = parse_interface(told.stdout), load_interfaces()[name]
    assert (read.types, read.methods, read.errors) == (ours.types, ours.methods, ours.errors)
    assert read.comments.keys() == ours.comments.keys()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "sad/api").glob("*.varlink")), ids=lambda p: p.name
)
def test_it_takes_the_files(run: Run, path: Path) -> None:
    """Its check of an interface file finds nothing."""
    checked = run("validate-idl", path)

    assert checked.returncode == 0, checked.stderr


def test_it_installs_and_is_refused(call: Run) -> None:
    """Nested parameters, the typed reply, and a typed error by its name; no key comes back."""
    (installed,) = replies(call(f"{ASSOCIATIONS}.Install", install_parameters()))
    again = call(f"{ASSOCIATIONS}.Install", install_parameters())
    wrong = call(f"{ASSOCIATIONS}.Get", {"id": 7})

    identifier = installed["association"]["id"]
    assert again.returncode != 0
    assert f"{ASSOCIATIONS}.FlowInUse" in again.stderr
    assert wrong.returncode != 0
    assert "InvalidParameter" in wrong.stderr
    (confirmed,) = replies(
        call(f"{ASSOCIATIONS}.Confirm", {"id": identifier, "expiresSeconds": 600})
    )
    assert confirmed["association"]["secondsLeft"] == 630
    said = json.dumps([installed, confirmed]) + again.stdout + again.stderr
    assert make.IK.hex() not in said


def test_it_asks_for_the_status(call: Run) -> None:
    """What the README has a shell do."""
    (status,) = replies(call(f"{CONTROL}.GetStatus", {}))

    assert status["state"] == "ready"


def test_it_streams(call: Run, backend: MemoryBackend) -> None:
    """List to its end, a thousand replies on one connection."""
    backend.fill(1000)

    rows = replies(call(f"{ASSOCIATIONS}.List", {}, "--more"))

    assert [row["association"]["id"] for row in rows] == [f"{n:012}" for n in range(1000)]


def test_it_monitors(varlinkctl: str, tmp_path: Path) -> None:
    """The first event, "ready", and then one as it happens, while the stream stays open."""
    with serving_in_thread(tmp_path / "s") as (backend, run_there):
        command = [varlinkctl, "--json=short", "--more", "--timeout=infinity", "call"]
        command += [str(tmp_path / "s"), f"{ASSOCIATIONS}.Monitor", "{}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            ready = json.loads(watching.stdout.readline().strip("\x1e"))
            run_there(lambda: backend.put(make.association(id="new")))
            added = json.loads(watching.stdout.readline().strip("\x1e"))
            watching.terminate()

    assert ready["event"] == "ready"
    assert added["association"]["id"] == "new"
