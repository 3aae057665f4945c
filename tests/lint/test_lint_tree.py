"""Rules of the tree that no tool knows: what a file may hold, how long it is, where it lies.

Counterpart of :mod:`tests.lint.test_lint_tools`.
"""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.suite import PARTS
from tests.support.tree import ROOT, project_files, text_of

LONGEST: Final = 400
LONGEST_TEST: Final = 500  # a test module is a list of promises and reads as one
NOT_CODE: Final = {".md", ".txt", ".json", ".pcap", ""}
SYSTEMD_EDGE: Final = "sad/runtime/service_manager.py"

# One letter of each word is a class of its own, so that this file keeps its own rules.
FORBIDDEN: Final = {
    "a note to oneself": r"\b(?:T[O]DO|F[I]XME|H[A]CK|X[X]X)\b",
    "a folder of one machine": r"(?<![\w.$}])/(?:[r]oot|[w]ork|[h]ome/\w+|o[p]t/pypi)/",
    "a package registry": r"\b(?:p[y]pi\.(?:org|io)|p[y]thonhosted\.org|proxy\.g[o]lang\.org"
    r"|(?:deb|ftp|security)\.d[e]bian\.org)",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines_of_project() -> list[tuple[str, str]]:
    """Return every line of every text file with where it stands."""
    return [
        (f"{relative(path)}:{number}", line)
        for path in project_files()
        for number, line in enumerate((text_of(path) or "").splitlines(), 1)
    ]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_lint_no_file_holds(what: str) -> None:
    """Nothing in the tree belongs to one machine, names a registry, or waits to be done."""
    pattern = re.compile(FORBIDDEN[what])

    found = [
        f"{place}: {line.strip()}" for place, line in lines_of_project() if pattern.search(line)
    ]

    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a note to oneself", "# T~ODO: later"),
        ("a folder of one machine", "cd /r~oot/sad"),
        ("a folder of one machine", 'open("/h~ome/me/x")'),
        ("a package registry", "index-url = https://p~ypi.org/simple"),
    ],
)
def test_lint_rules_of_the_tree_find_what_they_forbid(what: str, line: str) -> None:
    """The patterns are not dead: each finds an example of its kind (written with a ~)."""
    assert re.search(FORBIDDEN[what], line.replace("~", ""))


def test_lint_every_file_is_short() -> None:
    """A file of code has at most 400 lines, one of tests 500."""
    long = {
        relative(path): length
        for path in project_files()
        if path.suffix not in NOT_CODE
        and relative(path) != "systemd/sad.toml"  # says what each setting is, and is no code
        and (length := (text_of(path) or "").count("\n"))
        > (LONGEST_TEST if relative(path).startswith("tests/") else LONGEST)
    }

    assert long == {}


def test_lint_systemd_folder_holds_no_python() -> None:
    """With a module in it the folder would shadow the package of systemd-python."""
    assert [relative(path) for path in (ROOT / "systemd").rglob("*.py*")] == []


def imported_by(path: Path) -> set[str]:
    """Return the first words of all that a file imports, wherever in the file it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_lint_one_module_knows_the_service_manager() -> None:
    """Only sad/runtime/service_manager.py imports systemd-python."""
    importers = [
        relative(path)
        for path in project_files()
        if path.suffix == ".py" and "systemd" in imported_by(path)
    ]

    assert importers == [SYSTEMD_EDGE]


def test_lint_every_test_runs_somewhere() -> None:
    """A test file lies in a folder that make test runs, and has a name of its own."""
    tests = [path for path in project_files() if path.name.startswith("test_")]
    names = [path.name for path in tests if path.suffix == ".py"]

    assert {relative(path).split("/")[1] for path in tests} <= set(PARTS)
    assert len(names) == len(set(names))


def test_lint_no_test_folder_is_named_like_a_package() -> None:
    """Such a folder, or an __init__.py, would shadow what is tested."""
    folders = {path.parent for path in project_files() if relative(path).startswith("tests/")}

    assert {folder.name for folder in folders}.isdisjoint(
        {"sad", "netlink", "sip_hooks", "systemd"}
    )
    assert [relative(path) for path in (ROOT / "tests").rglob("__init__.py")] == []
