"""The relay and its clock, with ordinary processes in the guest's place."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lane.confinement import Confinement, confinement_argv
from tests.lane.decision import EX_TIMEOUT, Lane, LaneError
from tests.lane.environment import hides, inner_environment, seconds_from
from tests.lane.host import host_argv
from tests.lane.relay import Relay, end_guest, follow

MARKER = "\x1efeedbeef"


@contextmanager
def guest(script: str) -> Iterator[tuple[subprocess.Popen[bytes], Relay]]:
    """Run a shell script whose descriptors are those of a guest: 1 console, $1 and $2 streams."""
    pipes = [os.pipe() for _ in range(3)]
    (_, console), (_, output), (_, errors) = pipes
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", MARKER],
        stdout=console,
        stderr=console,
        env={**os.environ, "O": f"/dev/fd/{output}", "E": f"/dev/fd/{errors}"},
        pass_fds=(output, errors),
        start_new_session=True,
    )
    for _, write in pipes:
        os.close(write)
    relay = Relay(pipes[1][0], pipes[2][0], pipes[0][0], MARKER)
    try:
        yield process, relay
    finally:
        end_guest(process)
        relay.close()
        for read, _ in pipes:
            os.close(read)


def test_lane_relay_keeps_streams_apart_and_returns_the_status(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Output to output, errors to errors, the console to neither."""
    script = """
        echo kernel; echo "$1:ready" >$O
        echo out >$O; echo err >$E; printf tail >$O
        echo "$1:3" >$O; echo "$1:3" >$E; echo "Power down"
    """
    with guest(script) as (_, relay):
        status = follow(relay, 10)

    assert status == 3
    assert capfd.readouterr() == ("out\ntail", "err\n")
    assert relay.console == "kernel\nPower down\n"


def test_lane_relay_reports_a_guest_that_dies() -> None:
    """A guest that ends before its command does is an error with its last words."""
    script = 'echo "$1:ready" >$O; echo "Kernel panic - not syncing: test"'
    with guest(script) as (_, relay), pytest.raises(LaneError, match=r"panic.*\n.*not syncing"):
        follow(relay, 10)


def test_lane_relay_ends_a_command_that_takes_too_long(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The limit counts from the command's start; the guest is gone afterwards."""
    with guest('echo "$1:ready" >$O; echo begun >$O; exec sleep 1000') as (process, relay):
        assert follow(relay, 0.2) == EX_TIMEOUT

    output, errors = capfd.readouterr()
    assert output == "begun\n"
    assert errors == "lane: the command took more than 0.2 s\n"
    assert process.returncode is not None


def test_lane_relay_ends_a_guest_that_does_not_boot() -> None:
    """No sign of the command within the time for booting is the lane's failure."""
    with guest("exec sleep 1000") as (_, relay), pytest.raises(LaneError, match="did not boot"):
        follow(relay, 1000, boot_seconds=0.2)


def test_lane_environment_is_the_callers_but_for_the_contract() -> None:
    """Variables pass; what would be a lie inside is replaced or gone."""
    outer = {
        "PATH": "/opt/tools:/usr/bin",
        "MINE": "a\nb",
        "HOME": "/elsewhere",
        "TMPDIR": "/elsewhere/tmp",
        "NOTIFY_SOCKET": "/run/x",
        "XDG_RUNTIME_DIR": "/run/user/1",
        "PYTEST_ADDOPTS": "-x",
    }

    inner = inner_environment(outer, lane=Lane.UML, scratch=Path("/s"), columns=None)

    assert inner["MINE"] == "a\nb"
    assert inner["PATH"].split(":")[:2] == ["/opt/tools", "/usr/bin"]
    assert "/usr/sbin" in inner["PATH"].split(":")
    assert (inner["TMPDIR"], inner["HOME"]) == ("/run/tmp", "/run/tmp/home")
    assert (inner["SAD_LANE"], inner["SAD_LANE_SCRATCH"]) == ("uml", "/s")
    assert inner["PYTEST_ADDOPTS"].startswith("-x -p no:cacheprovider")
    assert inner["NO_COLOR"] == "1"
    assert {"NOTIFY_SOCKET", "XDG_RUNTIME_DIR"}.isdisjoint(inner)


def test_lane_environment_lets_a_watched_run_have_colours() -> None:
    """Before a terminal nothing is taken away, and its width is told."""
    inner = inner_environment({"TERM": "xterm"}, lane=Lane.UML, scratch=Path("/s"), columns=132)

    assert (inner["TERM"], inner["COLUMNS"]) == ("xterm", "132")
    assert "NO_COLOR" not in inner


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", "1e10"])
def test_lane_timeout_must_be_a_time(text: str) -> None:
    """A time-out that is none is refused, not ignored."""
    with pytest.raises(LaneError, match="SAD_LANE_TIMEOUT"):
        seconds_from({"SAD_LANE_TIMEOUT": text}, "SAD_LANE_TIMEOUT", 60)


def test_lane_timeout_has_a_default() -> None:
    """Unset and empty mean the default."""
    assert seconds_from({}, "SAD_LANE_TIMEOUT", 60) == 60
    assert seconds_from({"SAD_LANE_TIMEOUT": ""}, "SAD_LANE_TIMEOUT", 60) == 60
    assert seconds_from({"SAD_LANE_TIMEOUT": "0.5"}, "SAD_LANE_TIMEOUT", 60) == 0.5


def test_lane_folders_that_a_lane_covers_are_known() -> None:
    """Below /run and /dev the lane mounts its own; beside them it does not."""
    assert hides(Path("/run/user/0/tree"))
    assert hides(Path("/dev/shm/x"))
    assert not hides(Path("/runner/tree"))
    assert not hides(Path("/tmp/x"))


def test_lane_users_without_rights_get_a_user_namespace() -> None:
    """Root makes its namespaces directly, anyone else below a user namespace."""
    as_root = host_argv(0, Path("/r"), Path("/s"), ["true"])
    as_user = host_argv(1000, Path("/r"), Path("/s"), ["true"])

    assert "--user" not in as_root
    assert as_user[:3] == ["unshare", "--user", "--map-root-user"]
    assert as_user[-3:] == ["/r", "/s", "true"]


@pytest.mark.parametrize("uid", [0, 1000])
def test_lane_guest_sees_the_host_read_only(uid: int) -> None:
    """In the bubble all is read-only but the scratch folder, and root keeps one capability."""
    argv = confinement_argv(Confinement.BUBBLEWRAP, uid, Path("/s"), Path("/c"))

    assert argv[0] == "bwrap"
    assert argv[argv.index("--ro-bind") + 1 :][:2] == ["/", "/"]
    assert [argv[n + 1] for n, word in enumerate(argv) if word == "--bind"] == ["/s"]
    assert ("--cap-drop" in argv) == (uid == 0)


def test_lane_root_without_a_bubble_is_nobody() -> None:
    """Where no read-only view can be made, the guest of root runs without root's rights."""
    argv = confinement_argv(Confinement.NOBODY, 0, Path("/s"), Path("/c"))

    assert argv[0] == "setpriv"
    assert argv[argv.index("--reuid") + 1] == "65534"
    assert "--clear-groups" in argv


def test_lane_command_line_needs_a_command() -> None:
    """Without a command the usage is told, and nothing boots."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.lane"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "give a command" in done.stderr
    assert time.monotonic() - started < 60
