"""The blocking client against servers that misbehave: bounded, typed, never repeated."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sip_hooks.client
from sip_hooks.client import BadReply, CallError, Client, ClientError, TimedOut, Unreachable

METHOD = "org.example.Test.Do"
FINE = b'{"parameters":{"fine":true}}\0'
Script = Callable[[socket.socket], None]


class Stage:
    """A server that plays one script for each connection, in order, and notes what it was sent."""

    def __init__(self, path: Path, *scripts: Script) -> None:
        self.calls: list[bytes] = []
        self.ended = 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(os.fspath(path))
        self._listening.listen(8)
        self._thread = threading.Thread(target=self._play, args=(scripts,))
        self._thread.start()

    def _play(self, scripts: tuple[Script, ...]) -> None:
        for script in scripts:
            connection, _ = self._listening.accept()
            with connection, contextlib.suppress(ConnectionError):
                script(connection)
            self.ended += 1

    def finish(self) -> None:
        """Wait until every script was played."""
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._listening.close()

    def takes_call(self, connection: socket.socket) -> None:
        """Read one call to its NUL; none if the client leaves first."""
        data = b""
        while not data.endswith(b"\0"):
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionResetError
            data += piece
        self.calls.append(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@contextlib.contextmanager
def stage(path: Path, *scripts: Callable[[Stage, socket.socket], None]) -> Iterator[Stage]:
    holder: list[Stage] = []
    stage = Stage(path, *((lambda c, script=script: script(holder[0], c)) for script in scripts))
    holder.append(stage)
    try:
        yield stage
    finally:
        stage.finish()


def answers(*replies: bytes) -> Callable[[Stage, socket.socket], None]:
    """Answer one call with each of these, then wait until the client leaves."""

    def script(stage: Stage, connection: socket.socket) -> None:
        for reply in replies:
            stage.takes_call(connection)
            connection.sendall(reply)
        assert connection.recv(1) == b""

    return script


def is_silent(stage: Stage, connection: socket.socket) -> None:
    """Take a call, say nothing, and wait until the client leaves."""
    stage.takes_call(connection)
    assert connection.recv(1) == b""


def hangs_up(stage: Stage, connection: socket.socket) -> None:
    """Take a call and close."""
    stage.takes_call(connection)


@pytest.mark.parametrize("stale", [False, True])
def test_nobody_there_is_told_at_once(path: Path, stale: bool) -> None:
    """A daemon that does not run: the call did not happen, and a later one may."""
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(os.fspath(path))
    client = Client(str(path))
    begun = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        client.call(METHOD)

    assert caught.value.may_have_run is False
    assert str(path) in str(caught.value)
    assert time.monotonic() - begun < client.timeout
    path.unlink(missing_ok=True)
    with stage(path, answers(FINE)), client:
        assert client.call(METHOD) == {"fine": True}


def test_a_call_is_one_line_of_json(path: Path) -> None:
    """Method and parameters, ASCII, one NUL at the end."""
    with stage(path, answers(FINE, FINE)) as server, Client(str(path)) as client:
        client.call(METHOD, {"text": "ü", "none": None})
        client.call(METHOD)

    assert server.calls[0] == (
        b'{"method":"org.example.Test.Do","parameters":{"text":"\\u00fc","none":null}}\0'
    )
    assert server.calls[1] == b'{"method":"org.example.Test.Do"}\0'


def test_silence_ends_in_time(path: Path) -> None:
    """TimedOut; the connection is closed, so the late answer cannot be the next call's."""
    with (
        stage(path, is_silent, answers(FINE)) as server,
        Client(str(path), timeout=0.1) as client,
    ):
        begun = time.monotonic()
        with pytest.raises(TimedOut) as caught:
            client.call(METHOD)

        assert 0.1 <= time.monotonic() - begun < 20
        assert "0.1 s" in str(caught.value)
        assert client.call(METHOD) == {"fine": True}
    assert len(server.calls) == 2


def test_an_answer_in_drops_does_not_stretch_the_time(path: Path) -> None:
    """The timeout is of the whole call, not of each piece."""

    def drips(stage: Stage, connection: socket.socket) -> None:
        stage.takes_call(connection)
        while True:
            connection.sendall(b" ")
            connection.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                assert connection.recv(1) == b""
                return

    with stage(path, drips), Client(str(path), timeout=0.2) as client:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            client.call(METHOD)

        assert time.monotonic() - begun < 20


def test_a_late_piece_does_not_buy_as_much_time_again(path: Path) -> None:
    """After a piece only the rest of the time is left."""

    def late_piece(stage: Stage, connection: socket.socket) -> None:
        stage.takes_call(connection)
        connection.settimeout(1.9)
        with contextlib.suppress(TimeoutError):
            connection.recv(1)
        connection.sendall(b" ")
        connection.settimeout(None)
        assert connection.recv(1) == b""

    with stage(path, late_piece), Client(str(path), timeout=2.0) as client:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            client.call(METHOD)

        assert 1.95 < time.monotonic() - begun < 3.8


def test_an_answer_in_pieces_is_one_answer(path: Path) -> None:
    """However the stream is cut."""

    def in_pieces(stage: Stage, connection: socket.socket) -> None:
        stage.takes_call(connection)
        for byte in FINE:
            connection.sendall(bytes([byte]))
        assert connection.recv(1) == b""

    with stage(path, in_pieces), Client(str(path), timeout=5) as client:
        assert client.call(METHOD) == {"fine": True}


def test_a_broken_connection_is_not_called_twice(path: Path) -> None:
    """The call may have been executed: the caller is told so, and nobody repeats it."""
    with stage(path, hangs_up, answers(FINE)) as server, Client(str(path), timeout=5) as client:
        with pytest.raises(Unreachable) as caught:
            client.call(METHOD)

        assert caught.value.may_have_run is True
        assert len(server.calls) == 1
        assert client.call(METHOD) == {"fine": True}
    assert len(server.calls) == 2


def test_a_restarted_daemon_is_called_over_a_new_connection(path: Path) -> None:
    """A kept connection that the daemon has closed takes no call, so the call goes elsewhere."""

    def answers_and_closes(stage: Stage, connection: socket.socket) -> None:
        stage.takes_call(connection)
        connection.sendall(FINE)

    with (
        stage(path, answers_and_closes, answers(FINE)) as server,
        Client(str(path), timeout=5) as client,
    ):
        client.call(METHOD)
        while server.ended < 1:
            os.sched_yield()

        assert client.call(METHOD) == {"fine": True}
    assert len(server.calls) == 2


TWICE = """
import signal, socket, sys
sys.path.insert(0, sys.argv[1])
from sip_hooks.client import Client
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
with Client(sys.argv[2], timeout=5) as client:
    client.call("org.example.Test.Do")
    assert client._line._socket.recv(1, socket.MSG_PEEK) == b""  # the other end has closed
    print(client.call("org.example.Test.Do"))
"""


def test_a_closed_connection_does_not_kill_the_sip_server(path: Path) -> None:
    """Where SIGPIPE has its default action, too."""

    def answers_and_closes(stage: Stage, connection: socket.socket) -> None:
        stage.takes_call(connection)
        connection.sendall(FINE)

    root = Path(sip_hooks.client.__file__).parent.parent
    with stage(path, answers_and_closes, answers(FINE)):
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-S", "-c", TWICE, str(root), str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    assert (done.returncode, done.stdout, done.stderr) == (0, "{'fine': True}\n", "")


def test_an_interrupted_call_leaves_no_answer_behind(path: Path) -> None:
    """An exception out of a signal handler, as SIP servers raise: the next call is in step."""

    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    previous = signal.signal(signal.SIGALRM, ring)
    try:
        with stage(path, is_silent, answers(FINE)), Client(str(path), timeout=20) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Alarm):
                client.call(METHOD)

            assert client.call(METHOD) == {"fine": True}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize(
    "reply",
    [
        b"secret nonsense\0",
        b"\xff\0",
        b"[]\0",
        b"\0",
        b"[" * 100_000 + b"\0",
        b'{"parameters":[1]}\0',
        b'{"parameters":null}\0',
        FINE + b"{",
        FINE + FINE,
        b'{"parameters":{},"continues":true}\0',
        b"x" * (1024 * 1024 + 65536),
    ],
    ids=lambda r: r[:20],
)
def test_a_bad_answer_is_not_believed(path: Path, reply: bytes) -> None:
    """Not Varlink, more than one, or more than 1 MiB: refused unquoted; the next call is fresh."""
    with stage(path, answers(reply), answers(FINE)), Client(str(path), timeout=5) as client:
        with pytest.raises(BadReply) as caught:
            client.call(METHOD)

        assert "secret" not in str(caught.value)
        assert client.call(METHOD) == {"fine": True}


def test_a_long_answer_within_the_limit_is_fine(path: Path) -> None:
    """Up to 1 MiB."""
    text = "x" * (1024 * 1024 - 100)
    reply = json.dumps({"parameters": {"text": text}}).encode() + b"\0"
    with stage(path, answers(reply)), Client(str(path), timeout=5) as client:
        assert client.call(METHOD) == {"text": text}


def test_a_full_queue_is_told_at_once(path: Path) -> None:
    """A daemon that does not accept: the call did not happen."""
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(os.fspath(path))
        busy.listen(0)
        waiting.connect(os.fspath(path))
        with pytest.raises(Unreachable, match="takes no call now") as caught:
            Client(str(path)).call(METHOD)

    assert caught.value.may_have_run is False


def test_a_daemon_that_reads_nothing_is_told_in_time(path: Path) -> None:
    """Larger than the socket's buffer: the call was not taken whole, so it did not happen."""
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(os.fspath(path))
        busy.listen(8)
        with pytest.raises(Unreachable, match="takes no call now") as caught:
            Client(str(path), timeout=0.1).call(METHOD, {"text": "x" * 4_000_000})

    assert caught.value.may_have_run is False


def test_a_stream_ends_as_it_is_told(path: Path) -> None:
    """By its last reply, an error, or a broken connection; each closes its connection."""
    goes_on = b'{"parameters":{"n":1},"continues":true}\0'
    last = b'{"parameters":{"n":2}}\0'
    error = b'{"error":"org.example.Test.Bad","parameters":{"why":"so"}}\0'

    def breaks_off(stage: Stage, connection: socket.socket) -> None:
        stage.takes_call(connection)
        connection.sendall(goes_on + goes_on[:10])

    with (
        stage(path, answers(goes_on + goes_on + last), answers(goes_on + error), breaks_off) as s,
        Client(str(path), timeout=5) as client,
    ):
        assert list(client.stream(METHOD)) == [{"n": 1}, {"n": 1}, {"n": 2}]
        for expected in (CallError, Unreachable):
            replies = client.stream(METHOD, {"a": 1}, wait=5)
            assert next(replies) == {"n": 1}
            with pytest.raises(expected):
                next(replies)

    assert s.calls[0] == b'{"method":"org.example.Test.Do","more":true}\0'


def test_a_stream_waits_as_long_as_it_is_told(path: Path) -> None:
    """``wait`` is for each reply; without it, longer than the timeout of a call."""

    def late(stage: Stage, connection: socket.socket) -> None:
        stage.takes_call(connection)
        connection.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            assert connection.recv(1) == b""
            return
        connection.sendall(FINE)

    with stage(path, late, late), Client(str(path), timeout=0.05) as client:
        assert list(client.stream(METHOD)) == [{"fine": True}]
        with pytest.raises(TimedOut, match=r"0\.1 s"):
            next(client.stream(METHOD, wait=0.1))


def test_what_cannot_be_sent_fails_before_anything_is_sent(path: Path) -> None:
    """A programming error is Python's own, and the kept connection stays in step."""
    with stage(path, answers(FINE, FINE)) as server, Client(str(path), timeout=5) as client:
        client.call(METHOD)
        with pytest.raises(TypeError):
            client.call(METHOD, {"key": b"bytes"})
        with pytest.raises(ValueError, match="not JSON compliant"):
            client.call(METHOD, {"number": float("nan")})

        assert client.call(METHOD) == {"fine": True}
    assert len(server.calls) == 2


def test_every_failure_has_one_base() -> None:
    """A hook that must fail closed catches one class."""
    for error in (CallError, Unreachable, TimedOut, BadReply):
        assert issubclass(error, ClientError)
