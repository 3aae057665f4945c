"""A start that fails: with which exit status, so that systemd tries again where that can help."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import ROOT


def start(state: Path, *wrapper: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon whose journal lies in this directory."""
    config = state.parent / "sad.toml"
    values = {"socket_path": f"{state.parent}/sad.sock", "state_directory": str(state)} | settings
    config.write_text("".join(f'{name} = "{value}"\n' for name, value in values.items()))
    return subprocess.run(
        [*wrapper, sys.executable, "-m", "sad", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("on_kernel_loss", ["end", "rebuild"])
def test_a_full_disk_at_the_start_is_tried_again(tmp_path: Path, on_kernel_loss: str) -> None:
    """It may have room a moment later: 75, which the unit does not take for the last word."""
    full = ("prlimit", "--fsize=0")  # no file may grow
    done = start(tmp_path / "state", *full, on_kernel_loss=on_kernel_loss)

    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    assert "check free space" in done.stderr
    unit = (ROOT / "systemd/sad.service").read_text()
    assert "RestartPreventExitStatus=69 78\n" in unit
    assert "StartLimitIntervalSec=0\n" in unit


def test_a_damaged_journal_is_not_tried_again(tmp_path: Path) -> None:
    """Somebody must decide what becomes of it."""
    state = tmp_path / "state"
    state.mkdir()
    with sqlite3.connect(state / "journal.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    done = start(state)

    assert done.returncode == os.EX_UNAVAILABLE, done.stderr
    assert "Traceback" not in done.stderr
