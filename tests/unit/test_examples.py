"""The examples of hooks in other languages, built and run against a real server."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import make
from tests.support.api import serving_in_thread
from tests.support.memory_backend import MemoryBackend
from tests.support.tree import ROOT

EXAMPLES = ROOT / "sip_hooks/examples"
FLOW = ("10.10.0.2", "6301", "10.10.0.1", "5064")  # as in sad/docs/hooks.md: ./hook, hook.sh


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[MemoryBackend]:
    with serving_in_thread(tmp_path / "s") as (backend, _):
        yield backend


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of the page, with every warning an error."""
    program = tmp_path_factory.mktemp("hook") / "hook"
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-o", program, EXAMPLES / "hook.c"], check=True
    )
    return program


def run(program: Path, socket: Path, *flow: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, socket, *flow], capture_output=True, text=True, check=False, timeout=30
    )


def test_the_hook_in_c_finds_the_association(
    compiled: Path, backend: MemoryBackend, tmp_path: Path
) -> None:
    """It prints the answer; an unprotected flow and an absent daemon have a status each."""
    backend.put(make.association(id="3f0c5e6a7b8c"))

    found = run(compiled, tmp_path / "s", *FLOW)
    assert found.returncode == 0
    assert json.loads(found.stdout)["parameters"]["outbound"]["id"] == "3f0c5e6a7b8c"
    assert run(compiled, tmp_path / "s", "10.9.9.9", *FLOW[1:]).returncode == 1
    assert run(compiled, tmp_path / "none", *FLOW).returncode == 2


def test_the_hook_in_shell_finds_the_association(backend: MemoryBackend, tmp_path: Path) -> None:
    """The same, with socat."""
    backend.put(make.association(id="3f0c5e6a7b8c"))

    found = run(EXAMPLES / "hook.sh", tmp_path / "s", *FLOW)
    assert (found.returncode, found.stdout) == (0, "3f0c5e6a7b8c\n")
    assert run(EXAMPLES / "hook.sh", tmp_path / "s", "10.9.9.9", *FLOW[1:]).returncode == 1
    assert run(EXAMPLES / "hook.sh", tmp_path / "none", *FLOW).returncode == 2


def test_the_examples_are_short() -> None:
    """About thirty lines of code: whoever reads them has read the protocol."""
    for name, most in (("hook.c", 34), ("hook.sh", 20)):
        lines = (EXAMPLES / name).read_text().splitlines()
        code = [line for line in lines if line.strip() and line.strip()[0] not in "#/*"]
        assert len(code) <= most
