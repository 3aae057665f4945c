"""What is loaded at start: hooks bring nothing along, and sadctl answers at once.

Tried in fresh interpreters, since import contracts do not look inside libraries.
"""

import subprocess
import sys

from tests.support.tree import ROOT

SYSTEM_PYTHON = "/usr/bin/python3"
HEAVY = {"pyroute2", "pydantic", "pydantic_settings", "msgspec", "asyncio"}

# KSR is the SIP server itself: it exists only in its process, so an empty stand-in is put there.
LOAD_HOOKS = """
import pkgutil, sys, types
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
sys.modules["KSR"] = types.ModuleType("KSR")
import sip_hooks
for module in pkgutil.walk_packages(sip_hooks.__path__, "sip_hooks."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
        print("hook", module.name)
for name in set(sys.modules) - before:
    top = name.partition(".")[0]
    if top not in sys.stdlib_module_names | {"sip_hooks", "KSR"}:
        print("foreign", name)
"""


def test_lint_hooks_load_in_the_system_python() -> None:
    """Every module of sip_hooks loads under the distribution's Python, on its library alone."""
    done = subprocess.run(
        [SYSTEM_PYTHON, "-I", "-S", "-B", "-W", "error", "-c", LOAD_HOOKS, str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    expected = len(list((ROOT / "sip_hooks").rglob("*.py"))) - 1
    mains = len(list((ROOT / "sip_hooks").rglob("__main__.py")))
    assert len([line for line in lines if line.startswith("hook ")]) == expected - mains
    assert [line for line in lines if line.startswith("foreign ")] == []


def loaded_by(*arguments: str) -> set[str]:
    """Return the first words of all modules that a Python command line loads."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_lint_sadctl_starts_without_the_heavy_libraries() -> None:
    """Neither loading sadctl nor parsing its command line loads what the daemon needs."""
    loaded = loaded_by("-m", "sad.ctl", "--help")

    assert "argparse" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_lint_heavy_libraries_are_seen_when_they_are_loaded() -> None:
    """The measurement finds what it looks for."""
    assert loaded_by("-c", "import pyroute2, msgspec") >= {"pyroute2", "msgspec", "asyncio"}
