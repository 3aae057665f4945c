"""What systemd says of the files in ``systemd/``: units, drop-ins, users.

Counterpart of :mod:`tests.lint.test_lint_tools`. systemd is asked about a root folder made of
this system's units and ours, so nothing need be installed and nothing is.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tree import ROOT

OURS = ROOT / "systemd"
UNIT_TYPES = {".service", ".socket", ".target", ".path", ".timer", ".mount", ".slice"}
OWN_PROGRAMS = {"sad", "sadctl", "sad-guard"}
VENDOR = "usr/lib/systemd/system"
INSTALLED = "etc/systemd/system"


def commands_of(unit: str) -> set[str]:
    """Return the paths of the programs that a unit starts, without systemd's prefixes."""
    settings = (line.partition("=") for line in unit.splitlines())
    words = (value.split() for name, _, value in settings if name.strip().startswith("Exec"))
    return {word[0].lstrip("@-:+!|") for word in words if word}


def install(root: Path, source: Path) -> list[str]:
    """Lay our units and drop-ins beside this system's units; return the units to verify.

    A program that is neither ours nor this system's is left out, so that the unit is refused.
    A drop-in of a service that this system does not have gets the barest service to extend.
    """
    shutil.copytree(f"/{VENDOR}", root / VENDOR, symlinks=True)
    (root / INSTALLED).mkdir(parents=True)
    names = []
    for entry in source.iterdir():
        unit = entry.name.removesuffix(".d")
        if Path(unit).suffix not in UNIT_TYPES:
            continue
        if entry.is_dir():
            shutil.copytree(entry, root / INSTALLED / entry.name)
            if not (root / VENDOR / unit).exists():
                (root / VENDOR / unit).write_text("[Service]\nExecStart=/bin/sh\n")
        else:
            shutil.copy(entry, root / INSTALLED)
        names.append(unit)
    for folder in (VENDOR, INSTALLED):
        for path in (root / folder).glob("*.*"):
            if any(path.name.startswith(name) for name in names):
                for part in path.glob("*") if path.is_dir() else [path]:
                    provide_programs(root, part.read_text())
    return names


def provide_programs(root: Path, unit: str) -> None:
    """Put a stand-in where a unit finds a program that is ours or this system's."""
    for command in commands_of(unit):
        if Path(command).name in OWN_PROGRAMS or Path(command).exists():
            program = root / command.lstrip("/")
            program.parent.mkdir(parents=True, exist_ok=True)
            program.touch(mode=0o755)


def complaints(root: Path, source: Path) -> list[str]:
    """Return what systemd has to say of our units.

    Its exit status alone would not do: a key that it does not know is only a warning to it.
    """
    names = install(root, source)
    assert names
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={root}", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.replace(str(root), "") for line in done.stderr.splitlines()]
    told = [line for line in lines if INSTALLED in line or line.startswith(tuple(names))]
    return told or (lines if done.returncode else [])


def test_lint_units_are_understood_by_systemd(tmp_path: Path) -> None:
    """This system's systemd knows every key of our files, and all that they name exists."""
    assert complaints(tmp_path, OURS) == []


GOOD = "[Service]\nExecStart=/opt/sad/bin/sad\nExecStartPre=-/bin/sh -c true\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD, ""),
        (f"{GOOD}WatchdgSec=30\n", "WatchdgSec"),
        (f"{GOOD}ExecStop=/usr/bin/no-such-program\n", "no-such-program"),
        (f"{GOOD}ExecStop=-relative/sad\n", "relative/sad"),
        (f"[Unit]\nRequires=no-such.service\nAfter=no-such.service\n{GOOD}", "no-such.service"),
    ],
)
def test_lint_units_that_systemd_would_not_run_are_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    """A misspelt key, a missing program and a missing unit are told; a sound unit is not."""
    source = tmp_path / "units"
    source.mkdir()
    (source / "sad-tried.service").write_text(text)

    found = complaints(tmp_path / "root", source)

    assert bool(found) == bool(told)
    assert told in "\n".join(found)


def test_lint_drop_ins_are_read_with_the_service_they_extend(tmp_path: Path) -> None:
    """A misspelt key in a drop-in is told, even when its service is not installed here."""
    folder = tmp_path / "units/sip-server.service.d"
    folder.mkdir(parents=True)
    (folder / "sad.conf").write_text("[Unit]\nSadWants=sad.socket\n")

    assert "SadWants" in "\n".join(complaints(tmp_path / "root", tmp_path / "units"))


def test_lint_users_are_understood_by_systemd(tmp_path: Path) -> None:
    """Systemd would create the users and groups of our sysusers file."""
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", *OURS.glob("sysusers.d/*.conf")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "'sad'" in done.stdout + done.stderr
