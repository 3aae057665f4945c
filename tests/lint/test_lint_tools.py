"""The tools' own checks as tests: one command checks everything, and prints what a tool says.

Counterpart of :mod:`tests.lint.test_lint_tree`, which holds the rules no tool knows.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lane.guest import init_script, modprobe_script
from tests.support.tree import ROOT, project_files, text_of

PROGRAMS = Path(sys.executable).parent
CODE = ("sad", "netlink", "sip_hooks", "tests")


def check(*command: str | Path) -> None:
    """Run a tool; fail with its own words, and nothing else."""
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        shown = " ".join(str(part) for part in command[:4])
        words = (done.stdout + done.stderr).strip()
        pytest.fail(f"{shown} ... ended with {done.returncode}\n{words}", pytrace=False)


def test_lint_python_is_formatted() -> None:
    """The formatter has nothing to change."""
    check(PROGRAMS / "ruff", "format", "--check", ".")


def test_lint_python_keeps_the_rules() -> None:
    """All of ruff's rules hold but those that pyproject.toml excepts with a reason."""
    check(PROGRAMS / "ruff", "check", ".")


@pytest.mark.timeout(600)
def test_lint_types_agree() -> None:
    """Strict type checking passes for the product and for its tests."""
    check(PROGRAMS / "mypy", *CODE)


def test_lint_imports_keep_the_contracts() -> None:
    """Who may import whom (pyproject.toml, import contracts) holds."""
    check(PROGRAMS / "lint-imports")


def test_lint_words_are_spelt() -> None:
    """No file holds a known misspelling."""
    check(PROGRAMS / "codespell", *(path for path in project_files() if text_of(path)))


def is_shell(path: Path) -> bool:
    first = (text_of(path) or "").split("\n", 1)[0]
    return path.suffix == ".sh" or (first.startswith("#!") and first.endswith(("/sh", " bash")))


def test_lint_shell_scripts_are_sound(tmp_path: Path) -> None:
    """Shellcheck finds nothing, neither in our scripts nor in those a test guest runs."""
    control = tmp_path / "a folder"
    init = init_script(
        ["printf", "it's\n"],
        environment={"NAME": "some words"},
        directory=tmp_path,
        scratch=control,
        control=control,
        marker="\x1emark",
        failed=70,
    )
    (tmp_path / "init").write_text(init)
    (tmp_path / "modprobe").write_text(modprobe_script(control))
    ours = [path for path in project_files() if is_shell(path)]
    assert ROOT / ".ci/run" in ours

    check("shellcheck", *ours, tmp_path / "init", tmp_path / "modprobe")
