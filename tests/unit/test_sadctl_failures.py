"""What can go wrong around a verb: message, way out, exit code; never a traceback."""

import grp
import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sad.ctl.__main__ import main
from sad.ctl.failures import group_of_socket
from tests.support.ctl_samples import association
from tests.support.scripted_service import error, reply, scripted_service

A = "org.sipsad.Associations"
C = "org.sipsad.Control"
V = "org.varlink.service"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sad.sock"


@pytest.fixture
def sadctl(path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*argv: str) -> tuple[int, str, str]:
        code = main([*argv, "--socket", str(path)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_without_a_socket_it_asks_whether_sad_runs(sadctl: Run, path: Path) -> None:
    """The commonest failure names the socket and the unit to look at."""
    assert sadctl("status") == (
        3,
        "",
        (
            f"sadctl: cannot reach sad at {path}: No such file or directory\n"
            "hint: is sad running? systemctl status sad.socket (another socket: --socket or "
            "SAD_SOCKET)\n"
        ),
    )


def test_a_socket_that_nobody_serves_is_no_daemon(sadctl: Run, path: Path) -> None:
    """A left-over socket file is told from a missing one."""
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    code, _, err = sadctl("list")

    assert code == 3
    assert f"cannot reach sad at {path}: Connection refused\n" in err


def test_a_path_too_long_for_a_socket_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The limit of the kernel is no traceback."""
    assert main(["status", "--socket", "/tmp/" + "x" * 200]) == 3
    assert "path too long" in capsys.readouterr().err


def test_a_forbidden_socket_names_the_group_that_may(capsys: pytest.CaptureFixture[str]) -> None:
    """Permission denied comes with whom to join, and with an exit code of its own."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as listening:
        folder = Path(name)
        path = folder / "sad.sock"
        listening.bind(str(path))
        listening.listen()
        path.chmod(0o060)
        folder.chmod(0o755)
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(path, -1, 54321)
            os.seteuid(65534)
        try:
            code = main(["status", "--socket", str(path)])
        finally:
            if is_root:
                os.seteuid(0)
        group = "54321" if is_root else grp.getgrgid(path.stat().st_gid).gr_name

    assert code == 4
    assert capsys.readouterr().err == (
        f"sadctl: cannot open {path}: permission denied\nhint: join group {group} or use sudo\n"
    )


def test_no_group_is_named_when_none_may(path: Path) -> None:
    """Advice that cannot help is not given."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o600)
        assert group_of_socket(str(path)) is None
        path.chmod(0o660)
        assert group_of_socket(str(path)) == grp.getgrgid(path.stat().st_gid).gr_name
    assert group_of_socket("/nonexistent/sad.sock") is None


@pytest.mark.parametrize(
    ("argv", "line", "code", "err"),
    [
        (
            ("status",),
            error(f"{C}.NotPermitted", reason="uid 7 may not look", hint="join group sad-status"),
            4,
            "sadctl: not permitted: uid 7 may not look\nhint: join group sad-status\n",
        ),
        (
            ("status",),
            error(f"{V}.PermissionDenied"),
            4,
            "sadctl: not permitted\nhint: call as root or as a member of a control group\n",
        ),
        (
            ("reconcile",),
            error(f"{V}.MethodNotFound", method=f"{C}.Reconcile"),
            1,
            (
                "sadctl: sad does not know org.sipsad.Control.Reconcile\n"
                "hint: sad is older than this sadctl: restart it (systemctl restart sad.service)\n"
            ),
        ),
        (
            ("list", "--peer", "10.0.0.1"),
            error(f"{V}.InvalidParameter", parameter="peerAddress"),
            1,
            (
                "sadctl: sad does not understand parameter peerAddress\n"
                "hint: sad and sadctl are of different versions: restart sad or update sadctl\n"
            ),
        ),
        (
            ("list", "--endpoint", "x"),
            error(f"{A}.NoSuchEndpoint", endpoint="x", hint="sadctl status lists them"),
            1,
            'sadctl: there is no endpoint "x"\nhint: sadctl status lists them\n',
        ),
        (
            ("release", "--impi", "x", "--linger", "999"),
            error(
                f"{A}.BadParameter",
                parameter="lingerSeconds",
                reason="out of range",
                rule="T24-D-1",
                hint="0 to 128",
            ),
            1,
            "sadctl: lingerSeconds: out of range (T24-D-1)\nhint: 0 to 128\n",
        ),
        (
            ("show", "a"),
            error(
                f"{A}.KernelRefused",
                errno=3,
                name="ESRCH",
                message="the kernel no longer holds it",
                object="SA1",
                hint="it is being ended",
            ),
            1,
            (
                "sadctl: the kernel refused SA1: the kernel no longer holds it (ESRCH)\n"
                "hint: it is being ended\n"
            ),
        ),
        (
            ("find", "10.0.0.1:1", "10.0.0.2:2"),
            error(f"{A}.Busy", retryAfterMilliseconds=500, reason="it is starting"),
            1,
            "sadctl: sad is busy: it is starting\nhint: try again in 500 ms\n",
        ),
        (
            ("status",),
            error(f"{C}.InternalError", reference="ab12"),
            1,
            (
                "sadctl: sad failed in a way nobody foresaw\n"
                "hint: journalctl -u sad.service | grep ab12\n"
            ),
        ),
    ],
)
def test_a_refusal_reads_as_a_sentence_with_its_way_out(
    sadctl: Run, path: Path, argv: tuple[str, ...], line: bytes, code: int, err: str
) -> None:
    """Every typed error of the daemon: message, hint, exit code; nothing on standard output."""
    with scripted_service(path, line):
        assert sadctl(*argv) == (code, "", err)


def test_a_daemon_that_does_not_answer_is_given_up(sadctl: Run, path: Path) -> None:
    """The time-out is the caller's, for single and for many answers."""
    with scripted_service(path, None, None):
        code, _, err = sadctl("status", "--timeout", "0.05")
        assert (code, err.splitlines()[0]) == (3, f"sadctl: no answer at {path} within 0.05 s")
        assert "--timeout" in err
        assert sadctl("list", "--timeout", "0.05")[0] == 3


def test_a_daemon_that_leaves_may_have_done_it(sadctl: Run, path: Path) -> None:
    """A broken connection in the middle of a release is no proof that nothing happened."""
    with scripted_service(path, b""):
        code, _, err = sadctl("release", "abc")

    assert code == 3
    assert "it may have done what was asked" in err


def test_something_else_at_the_socket_is_told(sadctl: Run, path: Path) -> None:
    """Another program's answer is neither shown nor trusted."""
    with scripted_service(path, b"HTTP/1.1 400 Bad Request\r\n\0"):
        code, out, err = sadctl("status")

    assert (code, out) == (3, "")
    assert "is not sad" in err


def test_a_list_that_breaks_shows_what_came_and_fails(sadctl: Run, path: Path) -> None:
    """Half a list must not pass for a whole one."""
    with scripted_service(path, reply({"association": association()}, continues=True)):
        code, out, err = sadctl("list")

    assert code == 3
    assert out.startswith("f3a91c0b7e21")
    assert "there was more to come" in err


def test_an_answer_without_a_field_is_a_matter_of_versions(sadctl: Run, path: Path) -> None:
    """Lines for people need the field, JSON passes on what came."""
    with scripted_service(path, reply({"version": "9"}), reply({"version": "9"})):
        code, out, err = sadctl("status")
        assert (code, out) == (1, "")
        assert "sadctl: the answer of sad has no field 'state'\nhint: " in err
        assert sadctl("status", "--json") == (0, '{\n  "version": "9"\n}\n', "")


def test_fields_of_a_later_version_are_no_trouble(sadctl: Run, path: Path) -> None:
    """People do not see them, programs do."""
    line = reply({"association": association() | {"novelty": 1}})
    with scripted_service(path, line, line):
        assert sadctl("list")[0] == 0
        _, out, _ = sadctl("list", "--json")
        assert json.loads(out)["association"]["novelty"] == 1


def test_release_sends_exactly_what_was_asked(sadctl: Run, path: Path) -> None:
    """Nothing that was not given is sent, so the daemon's own defaults hold (K5)."""
    line = reply({"associations": []})
    with scripted_service(path, line, line, line) as service:
        sadctl("release", "--impi", "x")
        sadctl("release", "--peer", "[2001:db8::1]", "--linger", "30")
        sadctl("release", "abc", "--linger", "0")

    assert [call["parameters"] for call in service.calls] == [
        {"privateIdentity": "x"},
        {"peerAddress": "2001:db8::1", "lingerSeconds": 30},
        {"id": "abc", "lingerSeconds": 0},
    ]


def test_monitor_begins_anew_after_a_resync(sadctl: Run, path: Path) -> None:
    """What was missed is shown again, also when the daemon is still starting; then it ends."""
    present = reply({"event": "present", "association": association()}, continues=True)
    resync = reply({"event": "resync", "association": None})
    busy = error(f"{A}.Busy", retryAfterMilliseconds=1, reason="it is starting")
    with scripted_service(path, present + resync, busy, present) as service:
        code, out, err = sadctl("monitor", "--json")

    assert [json.loads(row)["event"] for row in out.splitlines()] == [
        "present",
        "resync",
        "present",
    ]
    assert all(call["more"] for call in service.calls)
    assert code == 3
    assert "was it stopped or restarted?" in err
