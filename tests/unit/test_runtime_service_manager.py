"""The service manager's side is played by a real datagram socket and real descriptors."""

import io
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netlink.secret import Secret
from sad.runtime.service_manager import ServiceManager, configure_logging, stderr_is_journal

KEY = bytes(range(16))
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> ServiceManager:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    return ServiceManager()


@pytest.fixture
def systemd(
    manager: ServiceManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield receiver


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = before, level


def test_every_step_of_life_is_told(manager: ServiceManager, systemd: socket.socket) -> None:
    """Words of sd_notify(3), one datagram each, the status in the same one."""
    manager.status("warming up")
    manager.ready("2 associations")
    manager.watchdog()
    manager.extend(1.5)
    manager.stopping()

    assert [systemd.recv(1000).decode() for _ in range(5)] == [
        "STATUS=warming up",
        "READY=1\nSTATUS=2 associations",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1",
    ]
    with pytest.raises(BlockingIOError):
        systemd.recv(1000)


def test_a_status_cannot_smuggle_another_word(
    manager: ServiceManager, systemd: socket.socket
) -> None:
    """A newline in a status is a space: text from elsewhere does not become a state."""
    manager.status("lost\nREADY=1")

    assert systemd.recv(1000) == b"STATUS=lost READY=1"


def test_without_a_service_manager_nothing_happens(manager: ServiceManager) -> None:
    """The daemon runs by hand, in tests and in containers."""
    manager.ready()
    manager.stopping("bye")

    assert manager.listen_sockets() == []
    assert manager.watchdog_interval() is None


@pytest.mark.parametrize(
    ("microseconds", "owner", "seconds"),
    [("30000000", None, 30.0), ("500000", "self", 0.5), ("500000", "1", None), ("0", None, None)],
)
def test_the_watchdog_interval_is_ours_or_none(
    microseconds: str,
    owner: str | None,
    seconds: float | None,
    manager: ServiceManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """WATCHDOG_PID of another process, inherited, does not make us report."""
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    if owner is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if owner == "self" else owner)

    assert manager.watchdog_interval() == seconds


_TAKE_OVER = """
import os
from sad.runtime.service_manager import ServiceManager
os.environ["LISTEN_PID"] = str(os.getpid())
manager = ServiceManager()
for name, taken in manager.listen_sockets():
    connection, _ = taken.accept()
    connection.sendall(name.encode())
    assert not os.get_inheritable(taken.fileno())
assert manager.listen_sockets() == []
"""


def test_sockets_are_taken_over_by_name(tmp_path: Path) -> None:
    """Descriptors from 3 on become sockets with the names of LISTEN_FDNAMES, once, for us only."""
    names = ("varlink", "second")
    with (
        socket.socket(socket.AF_UNIX) as first,
        socket.socket(socket.AF_UNIX) as second,
    ):
        for name, server in zip(names, (first, second), strict=True):
            server.bind(str(tmp_path / name))
            server.listen()
        code = f"""
import os, sys
os.dup2({first.fileno()}, 10); os.dup2({second.fileno()}, 11)
os.dup2(10, 3); os.dup2(11, 4)
os.execv(sys.executable, [sys.executable, "-c", {_TAKE_OVER!r}])
"""
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": ":".join(names)},
            pass_fds=(first.fileno(), second.fileno()),
        )
    for name in names:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(tmp_path / name))
            assert client.recv(100).decode() == name
    assert child.wait(30) == 0


def test_plain_lines_are_readable_and_carry_the_fields(root_logger: None) -> None:
    """Time, level, place, message, and what journald would have got as fields."""
    stream = io.StringIO()
    configure_logging("info", stream=stream)
    log = logging.getLogger("sad.test")

    log.info("set of %s", "alice", extra={"SAD_ASSOCIATION": "a1"})
    log.debug("too much")

    line = stream.getvalue()
    assert line.endswith("INFO sad.test: set of alice [SAD_ASSOCIATION=a1]\n")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [(Secret(KEY),), ([Secret(KEY)],), ({"k": (Secret(KEY), 1)},), ({Secret(KEY)},)],
)
def test_secrets_are_hidden_in_production_and_refused_in_tests(
    arguments: tuple[Any, ...], root_logger: None
) -> None:
    """A Secret in a log call never prints; with strict it is an error of whoever logs it."""
    stream = io.StringIO()
    configure_logging("info", stream=stream)
    logging.getLogger("sad.test").error("key %s", *arguments, extra={"SAD_KEY": arguments})
    assert "key" in stream.getvalue()
    assert "hidden" in stream.getvalue()
    assert repr(KEY) not in stream.getvalue()
    assert KEY.hex() not in stream.getvalue()

    configure_logging("info", stream=stream, strict=True)
    with pytest.raises(TypeError, match=r"a Secret was logged at .*test_runtime_service_manager"):
        logging.getLogger("sad.test").error("key %s", *arguments)
    with pytest.raises(TypeError):
        logging.getLogger("sad.test").error("key", extra={"SAD_KEY": arguments})


def test_other_values_are_left_alone(root_logger: None) -> None:
    """The filter costs nothing visible: numbers stay numbers for their format."""
    stream = io.StringIO()
    configure_logging("debug", stream=stream, strict=True)

    logging.getLogger("sad.test").debug("%d", 5)
    logging.getLogger("sad.test").warning("%(a)d", {"a": 7})

    assert [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()] == ["5", "7"]


def test_the_journal_is_known_by_its_stream(
    manager: ServiceManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a standard error that is the journal itself counts, not an inherited variable."""
    with (tmp_path / "stream").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        there = os.fstat(stream.fileno())
        assert not stderr_is_journal()
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")
        assert stderr_is_journal()
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino + 1}")
        assert not stderr_is_journal()
    assert not stderr_is_journal()


def test_journal_records_carry_fields_and_nothing_unformatted(
    root_logger: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SAD_* fields, priority and place go to journald; raw arguments do not."""
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr("sad.runtime.service_manager.stderr_is_journal", lambda: True)
    monkeypatch.setattr("systemd.journal.sendv", lambda *fields: sent.append(fields))
    configure_logging("info")

    logging.getLogger("sad.test").warning(
        "%s gone (%s)", "a1", Secret(KEY), extra={"SAD_ASSOCIATION": "a1"}
    )

    fields = dict(field.split("=", 1) for field in sent.pop())
    assert fields.pop("MESSAGE") == "a1 gone (hidden)"
    assert int(fields.pop("CODE_LINE")) > 0
    assert fields.pop("CODE_FILE") == __file__
    assert fields == {
        "PRIORITY": "4",
        "LOGGER": "sad.test",
        "SYSLOG_IDENTIFIER": "sad",
        "CODE_FUNC": "test_journal_records_carry_fields_and_nothing_unformatted",
        "SAD_ASSOCIATION": "a1",
    }
