"""What the two commands print that look on: ``monitor`` while one ends, ``top`` in a terminal."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import Final

from tests.support.daemon import Daemon

_ROWS, _COLUMNS = 24, 100
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


def _command(daemon: Daemon, *words: str) -> list[str]:
    return [sys.executable, "-m", "sad.ctl", *words, "--socket", str(daemon.socket)]


def monitored(daemon: Daemon, association_id: str) -> tuple[str, int]:
    """Return what ``monitor`` says when an association ends, from "ready" on, and its status."""
    with subprocess.Popen(
        _command(daemon, "monitor"), stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        lines = iter(watching.stdout.readline, "")
        ready = list(_until(lines, "  ready  "))[-1]
        daemon.call("Release", id=association_id, lingerSeconds=0)
        said = [ready, *_until(lines, association_id)]
        watching.send_signal(signal.SIGINT)
        assert watching.stdout.read() == ""
    return "".join(said), watching.returncode


def _until(lines: Iterator[str], word: str) -> Iterator[str]:
    for line in lines:
        yield line
        if word in line:
            return
    raise AssertionError(f"monitor ended before it said {word!r}")


def topped(daemon: Daemon) -> tuple[str, int]:
    """Return the first picture that ``top`` draws, as plain text, and its status."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    with subprocess.Popen(
        _command(daemon, "top", "--rounds", "1"),
        stdin=subprocess.DEVNULL,
        stdout=its,
        env={**os.environ, "NO_COLOR": "1"},
    ) as drawing:
        os.close(its)
        drawn = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    lines = _CONTROLS.sub("", drawn.decode()).splitlines()
    return "\n".join(line.rstrip() for line in lines), drawing.returncode


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: nobody holds the other end any more
        return b""
