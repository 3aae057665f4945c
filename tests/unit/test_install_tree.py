"""``make install`` into a scratch root: whole, repeatable, replaced at one blow, gone again."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tree import ROOT

PREFIX = "/srv/sad"
UNITS = "usr/local/lib/systemd/system"


def make(target: str, root: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=ROOT,
        env=os.environ | {"DESTDIR": str(root), "PREFIX": PREFIX} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def files_of(root: Path) -> set[str]:
    """Every file but the many of the virtual environment."""
    paths = (p.relative_to(root) for p in root.rglob("*") if not p.is_dir())
    return {str(p) for p in paths if not any(part.startswith("venv-") for part in p.parts)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("root")
    done = make("install", folder)
    assert done.returncode == 0, done.stderr
    yield folder
    done = make("uninstall", folder)
    assert done.returncode == 0, done.stderr
    # The settings are the operator's.
    assert files_of(folder) == {"etc/sad/sad.toml"}


def program(root: Path, name: str) -> Path:
    """An installed program."""
    return root / PREFIX.lstrip("/") / "bin" / name


def run(root: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an installed program with its own environment, far from this tree."""
    python = root / PREFIX.lstrip("/") / "current/bin/python"
    command = [str(python), "-P", "-m", module, *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)


def test_the_programs_are_whole(root: Path) -> None:
    """They run without this tree, and their first lines name the place where they will stand."""
    for name in ("sad", "sadctl", "sad-guard"):
        first = program(root, name).read_text().splitlines()[0]
        assert first.startswith(f"#!{PREFIX}/venv-")
        assert str(root) not in first
    assert run(root, "sad", "--version").stdout.startswith("sad ")
    settings = root / "etc/sad/sad.toml"
    checked = run(root, "sad", "--check-config", "--config", str(settings))
    assert checked.returncode == 0, checked.stderr
    where = run(root, "sad.ctl", "status", "--socket", "/nonexistent/sad.sock")
    assert where.returncode != 0
    assert "Traceback" not in where.stderr


def test_the_units_name_the_prefix(root: Path) -> None:
    """Units, drop-ins and the user are there; no unit names a place that was not installed."""
    installed = files_of(root)
    for name in ("sad.service", "sad.socket", "sad-guard.service"):
        assert f"{UNITS}/{name}" in installed
    service = (root / UNITS / "sad.service").read_text()
    assert f"ExecStart={PREFIX}/bin/sad\n" in service
    for path in (root / UNITS).rglob("*.*"):
        if path.is_file():
            assert "/opt/sad" not in path.read_text()
    assert f"{UNITS}/kamailio.service.d/sad.conf" in installed
    assert "usr/local/lib/sysusers.d/sad.conf" in installed


def test_the_hook_runs_in_the_systems_python(root: Path) -> None:
    """What Kamailio loads needs nothing of the environment (standard library only)."""
    share = root / PREFIX.lstrip("/") / "share/kamailio"
    assert (share / "sad-ims.cfg").exists()
    code = f"import sys; sys.path.insert(0, {str(share)!r})\nimport sip_hooks.client as c\n"
    code += "print(c.__file__)"
    told = subprocess.run(
        ["/usr/bin/python3", "-I", "-B", "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith(str(share))


def test_manual_pages_and_completions_are_installed(root: Path) -> None:
    """Made of the installed code; they name the place where it stands."""
    installed = files_of(root)
    for page in ("man1/sadctl.1", "man5/sad.toml.5", "man7/sad-socket.7", "man8/sad.8"):
        assert f"usr/local/share/man/{page}" in installed
    assert "usr/local/share/bash-completion/completions/sadctl" in installed
    assert "usr/local/share/zsh/site-functions/_sadctl" in installed
    assert "reg_await_auth_seconds" in (root / "usr/local/share/man/man5/sad.toml.5").read_text()


def test_every_link_of_what_people_read_leads_somewhere(root: Path) -> None:
    """In the tree that is installed, which has another shape than the sources."""
    pages = sorted((root / PREFIX.lstrip("/") / "share").rglob("*.md"))
    assert len(pages) > 10
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if not target.startswith("https:"):
                beside = page.parent if not target.startswith("/") else root
                assert (beside / target.lstrip("/")).exists(), (page, target)


def test_an_upgrade_replaces_the_programs_and_keeps_the_settings(root: Path) -> None:
    """Whoever runs keeps its files until it is restarted: the link turns, nothing is rewritten."""
    settings = root / "etc/sad/sad.toml"
    settings.write_text(settings.read_text() + "# mine\n")
    before = files_of(root)
    old = program(root, "sad").resolve()
    # One that was cut off between the making of the link and its turn left this.
    (root / PREFIX.lstrip("/") / ".current").symlink_to("venv-of-then")

    done = make("install", root)

    assert done.returncode == 0, done.stderr
    new = program(root, "sad").resolve()
    assert new != old
    assert not old.exists()
    assert files_of(root) == before
    assert settings.read_text().endswith("# mine\n")


def test_an_install_that_fails_changes_nothing(root: Path, tmp_path: Path) -> None:
    """What was begun goes, and the version that is there stays."""
    half = tmp_path / "python"
    half.write_text('#!/bin/sh\nmkdir -p "$3/bin"\necho no space left >&2\nexit 1\n')
    half.chmod(0o755)
    old = program(root, "sad").resolve()
    environments = set((root / PREFIX.lstrip("/")).glob("venv-*"))

    done = make("install", root, PYTHON=str(half))

    assert done.returncode != 0
    assert "no space left" in done.stderr
    assert program(root, "sad").resolve() == old
    assert set((root / PREFIX.lstrip("/")).glob("venv-*")) == environments
    assert run(root, "sad", "--version").returncode == 0


def test_an_uninstall_leaves_the_units_of_another_prefix(tmp_path: Path) -> None:
    """Who moved to another PREFIX removes the old one, and not the service."""
    old = tmp_path / "srv/old"
    old.mkdir(parents=True)
    (old / ".made-by-sad").touch()
    unit = tmp_path / UNITS / "sad.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"[Service]\nExecStart={PREFIX}/bin/sad\n")

    done = make("uninstall", tmp_path, PREFIX="/srv/old")

    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path) == {str(unit.relative_to(tmp_path))}


@pytest.mark.parametrize("target", ["install", "uninstall"])
@pytest.mark.parametrize("prefix", ["/usr/local", "srv/sad", "/srv/../usr", "/srv/sad x", "/"])
def test_a_folder_that_others_use_is_refused(tmp_path: Path, prefix: str, target: str) -> None:
    """Nothing is ever removed that was not made here."""
    (tmp_path / "usr/local/share").mkdir(parents=True)
    treasure = tmp_path / "usr/local/share/of somebody else"
    treasure.touch()

    done = make(target, tmp_path, PREFIX=prefix)

    assert done.returncode != 0
    assert "install: " in done.stderr
    assert files_of(tmp_path) == {str(treasure.relative_to(tmp_path))}
