"""The guest's first program and its markers: quoting, splitting, and last words."""

import os
import re
import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.lane.guest import Splitter, explain_death, init_script, kernel_complaints
from tests.lane.uml import shim_argv

MARKER = "\x1e0123456789abcdef"
WORDS = st.text(st.characters(min_codepoint=1, codec="utf-8"), max_size=30)


def script(command: list[str], environment: dict[str, str], directory: Path = Path("/")) -> str:
    return init_script(
        command,
        environment=environment,
        directory=directory,
        scratch=Path("/tmp/scratch"),
        control=Path("/tmp/control"),
        marker=MARKER,
        failed=70,
    )


def command_part(init: str) -> str:
    """Return the lines between the two markers: those that run the command."""
    found = re.search(r"^\(\n.*?^\)", init, re.MULTILINE | re.DOTALL)
    assert found
    return found.group()


def run_part(init: str, output: Path, errors: Path) -> int:
    text = command_part(init) + f" </dev/null >{output} 2>{errors}\nexit $?\n"
    return subprocess.run(["/bin/sh", "-c", text], check=False, env={"OUTER": "1"}).returncode


def test_lane_guest_command_keeps_every_argument(tmp_path: Path) -> None:
    """Spaces, newlines, quotes, patterns, nothing at all: each argument arrives as it was."""
    words = ["a b", "new\nline", "it's", '"', "$HOME `id` \\", "*", "", "-n", "ünïcode"]
    init = script(["printf", "%s\\0", *words], {"PATH": os.environ["PATH"]}, tmp_path)

    assert run_part(init, tmp_path / "out", tmp_path / "err") == 0
    assert (tmp_path / "out").read_text().split("\0")[:-1] == words


@given(st.lists(WORDS, min_size=1), st.dictionaries(st.from_regex(r"\A[A-Z_]{1,8}\Z"), WORDS))
def test_lane_guest_script_can_carry_any_words(words: list[str], values: dict[str, str]) -> None:
    """Whatever the words are, the shell reads the command line back to the same words."""
    init = script(["program", *words], values)

    line = command_part(init).partition("exec ")[2].removesuffix("\n)")
    text = f"set -- {line}\nfor word; do printf '%s\\0' \"$word\"; done"
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, check=True)
    environment = [f"{name}={value}" for name, value in values.items()]
    assert done.stdout.decode().split("\0")[:-1] == ["env", "-i", *environment, "program", *words]


def test_lane_guest_command_gets_its_environment_and_folder(tmp_path: Path) -> None:
    """The given variables and no others, the given working directory, the exit status."""
    folder = tmp_path / "a folder's name"
    folder.mkdir()
    values = {"PATH": os.environ["PATH"], "VALUE": "two\nlines"}
    init = script(["sh", "-c", 'pwd; echo "$VALUE$OUTER"; exit 42'], values, folder)

    assert run_part(init, tmp_path / "out", tmp_path / "err") == 42
    assert (tmp_path / "out").read_text() == f"{folder}\ntwo\nlines\n"


def test_lane_guest_without_its_folder_is_a_failure_of_the_lane(tmp_path: Path) -> None:
    """A working directory that is not there ends with the lane's status, not the command's."""
    init = script(["true"], {}, tmp_path / "missing")

    assert run_part(init, tmp_path / "out", tmp_path / "err") == 70


def test_lane_guest_output_is_split_at_the_markers() -> None:
    """What the command wrote comes out byte for byte; markers and what follows do not."""
    splitter = Splitter(MARKER)
    stream = f"{MARKER}:ready\n".encode() + b"one\r\n\xff\x1etwo" + f"{MARKER}:3\nlate".encode()

    assert splitter.feed(stream) == b"one\r\n\xff\x1etwo"
    assert splitter.ready
    assert splitter.status == 3
    assert splitter.feed(b"later still") == b""


def test_lane_guest_output_is_shown_before_its_line_is_complete() -> None:
    """Progress dots appear at once: only the beginning of a marker is ever held back."""
    splitter = Splitter(MARKER)

    assert splitter.feed(b"...") == b"..."
    assert splitter.feed(b"x\x1e01") == b"x"
    assert splitter.feed(b"nothing") == b"\x1e01nothing"


@given(st.binary(max_size=200), st.integers(0, 255), st.data())
def test_lane_guest_output_survives_every_fragmentation(
    text: bytes, status: int, data: st.DataObject
) -> None:
    """However the stream is cut, the same bytes and the same status come out."""
    rest = f"{MARKER}:ready\n".encode() + text + f"{MARKER}:{status}\n".encode()
    splitter = Splitter(MARKER)
    shown = b""
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        shown += splitter.feed(rest[:size])
        rest = rest[size:]

    assert shown == text
    assert splitter.status == status


def test_lane_guest_panic_is_told_with_its_last_words() -> None:
    """The kernel's own line stands in the report, with what led to it."""
    console = (
        "boot\n" * 50 + "BUG: bad thing\nKernel panic - not syncing: no\nCall Trace:\n f+0x1\n"
    )

    told = explain_death(console)

    assert told.startswith("the guest's kernel panicked")
    assert "BUG: bad thing" in told
    assert "not syncing: no" in told
    assert told.count("boot") < 50


def test_lane_guest_that_could_not_start_says_which_step() -> None:
    """The last words of process 1 outweigh the kernel's."""
    told = explain_death("noise\nlane: cannot load the kernel modules\nreboot: Power down\n")

    assert told == "the guest could not start: cannot load the kernel modules"


def test_lane_guest_kernel_faults_are_complaints_and_noise_is_not() -> None:
    """A warning of the kernel is worth a line even when every test passed."""
    console = "sysrq: Power Off\nWARNING: CPU: 0 PID: 1 at net/xfrm/x.c:1 f+0x1\nreboot: bye\n"

    assert kernel_complaints(console) == ["WARNING: CPU: 0 PID: 1 at net/xfrm/x.c:1 f+0x1"]


def test_processors_with_more_registers_than_the_guest_knows_get_a_shim(tmp_path: Path) -> None:
    """Setting only part of them is refused by the host: the guest would die at its start."""
    assert shim_argv(tmp_path, "flags\t\t: fpu avx512f\n") == []
    before = shim_argv(tmp_path, "flags\t\t: fpu amx_bf16 amx_tile\n")
    assert before == ["env", f"LD_PRELOAD={tmp_path}/xstate.so"]
    assert subprocess.run([*before, "true"], check=True, capture_output=True).stderr == b""
