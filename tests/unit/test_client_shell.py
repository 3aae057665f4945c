"""The commands of ``sad/api/README.md``, run as they stand there, and the system's own Python."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import sad.api
from tests.support.api import serving_in_thread
from tests.support.memory_backend import MemoryBackend

README = Path(sad.api.__file__).parent / "README.md"
ROOT = README.parent.parent.parent
COMMANDS = re.findall(r"^```sh\n(.*?)\n```$", README.read_text(), re.MULTILINE | re.DOTALL)
# Not the environment of these tests: what a fresh shell of the system finds.
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[MemoryBackend]:
    with serving_in_thread(tmp_path / "s") as (backend, run_there):
        run_there(lambda: backend.fill(3))
        yield backend


def command_with(word: str, path: Path) -> str:
    """The README's command that contains ``word``, for the socket at ``path``."""
    (command,) = (str(c) for c in COMMANDS if word in c)
    assert command.count("/run/sad.sock") == 1
    return command.replace("/run/sad.sock", str(path))


def output_of(command: str) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=ROOT,
        env=ENVIRONMENT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_readme_has_the_commands_that_are_tried_here() -> None:
    """None is left out below."""
    assert len(COMMANDS) == 5


def test_a_shell_asks_for_the_status(tmp_path: Path, backend: MemoryBackend) -> None:
    """Only printf and socat; socat's end of file does not cost the answer."""
    reply = json.loads(output_of(command_with('GetStatus"}', tmp_path / "s")))

    assert reply["parameters"]["state"] == "ready"


def test_a_shell_lists_associations(tmp_path: Path, backend: MemoryBackend) -> None:
    """One line each."""
    lines = output_of(command_with(".List", tmp_path / "s")).splitlines()

    ids = [json.loads(line)["parameters"]["association"]["id"] for line in lines]
    assert ids == ["000000000000", "000000000001", "000000000002"]


def test_a_shell_watches_changes(tmp_path: Path, backend: MemoryBackend) -> None:
    """As long as the writing side stays open."""
    with subprocess.Popen(
        [
            "/bin/sh",
            "-c",
            command_with(".Monitor", tmp_path / "s").replace("| tr '\\0' '\\n'", ""),
        ],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        start_new_session=True,
    ) as watching:
        assert watching.stdout is not None
        told = b""
        while told.count(b"\0") < 4:
            told += os.read(watching.stdout.fileno(), 65536)
        os.killpg(watching.pid, signal.SIGTERM)

    events = [json.loads(m)["parameters"]["event"] for m in told.split(b"\0")[:-1]]
    assert events == ["present", "present", "present", "ready"]


def test_python_alone_is_enough(tmp_path: Path, backend: MemoryBackend) -> None:
    """The one-liner without any module of this project."""
    reply = json.loads(output_of(command_with("import socket", tmp_path / "s")))

    assert reply["parameters"]["product"] == "sad"


def test_the_client_runs_in_one_line(tmp_path: Path, backend: MemoryBackend) -> None:
    """Under the system's interpreter."""
    assert output_of(command_with("sip_hooks.client", tmp_path / "s")) == "ready\n"


WORKER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from sip_hooks.client import CallError, Client, Unreachable
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as some SIP servers leave it
client = Client(sys.argv[2], timeout=5)
get = "org.sipsad.Associations.Get"
assert client.call(get, {"id": "000000000001"})["association"]["id"] == "000000000001"
line = client._line
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        for _ in range(50):
            found = client.call(get, {"id": "%012d" % number})["association"]["id"]
            assert found == "%012d" % number, found
        assert client._line is not line
        os._exit(0)
    children.append(child)
for _ in range(50):
    assert client.call(get, {"id": "000000000001"})["association"]["id"] == "000000000001"
assert client._line is line
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
assert sum(1 for _ in client.stream("org.sipsad.Associations.List")) == 3
try:
    client.call(get, {"id": "none"})
except CallError as error:
    print(error.short_name)
client.close()
print(sorted({"asyncio", "typing_extensions", "msgspec", "ssl"} & set(sys.modules)))
"""


def test_the_system_interpreter_runs_the_client_and_forks(
    tmp_path: Path, backend: MemoryBackend
) -> None:
    """Standard library only; parent and children have a connection each, replies never mix."""
    done = subprocess.run(
        [
            "/usr/bin/python3",
            "-I",
            "-S",
            "-W",
            "error",
            "-c",
            WORKER,
            str(ROOT),
            str(tmp_path / "s"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["NoSuchAssociation", "[]"]
