"""Which tests name which rule of ``tests/vectors/rules.txt``: read from the tests' own source.

A test names a rule in its docstring, its body or its parameters. The result of each is taken from
the report of the part's last run (:mod:`tests.suite`), where there is one.
"""

import ast
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.tree import ROOT

RULES: Final = ROOT / "tests/vectors/rules.txt"

_LINE: Final = re.compile(r"(?P<id>\S+) +(?P<mark>- )?(?P<words>\S.*)")
_ID: Final = re.compile(r"\b[A-Z][A-Z0-9]*-[\w.-]*\w|\bGAP-\d+\b")


class Rule(NamedTuple):
    """One line of the file; ``of_software`` False: it asks nothing of software."""

    id: str
    words: str
    of_software: bool


class NamingTest(NamedTuple):
    """A test that names rules: ``part`` is its folder, ``module`` its file without the ending."""

    part: str
    module: str
    name: str


def rules(path: Path = RULES) -> list[Rule]:
    """Return the rules in the order of the file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [_LINE.fullmatch(line) for line in lines if line and not line.startswith("#")]
    return [Rule(m["id"], m["words"], m["mark"] is None) for m in found if m is not None]


@cache
def naming_tests(folder: Path = ROOT / "tests") -> dict[str, list[NamingTest]]:
    """Return, for every id that some test names, those tests."""
    found: dict[str, list[NamingTest]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        if path.stem == "test_lint_rules":  # speaks of them without keeping any
            continue
        source = path.read_text(encoding="utf-8")
        part = path.relative_to(folder).parts[0]
        for function, text in _functions(source):
            for name in set(_ID.findall(text.replace("\\.", "."))):  # as in patterns
                found.setdefault(name, []).append(NamingTest(part, path.stem, function))
    return found


def _functions(source: str) -> Iterator[tuple[str, str]]:
    """Yield each test of a module with its whole text, decorators too."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            yield node.name, "\n".join(lines[first - 1 : node.end_lineno])


def results(folder: Path = ROOT / "build/tests") -> dict[tuple[str, str], str]:
    """Return the result of each (module, test) of the last runs: passed or failed."""
    found: dict[tuple[str, str], str] = {}
    for report in sorted([*folder.glob("*/report.xml"), *folder.glob("*/share*/report.xml")]):
        if "-" in str(
            report.parent.relative_to(folder)
        ):  # of a run beside another: nobody will ever renew it
            continue
        try:
            cases = list(ET.parse(report).iter("testcase"))
        except ET.ParseError:  # a run that is writing it
            continue
        for case in cases:
            module = case.get("classname", "").rpartition(".")[2]
            key = (module, case.get("name", "").partition("[")[0])
            bad = case.find("failure") is not None or case.find("error") is not None
            if bad or found.get(key) == "failed":
                found[key] = "failed"
            else:
                found[key] = "passed"
    return found


def result_of(rule: Rule, tests: list[NamingTest], known: dict[tuple[str, str], str]) -> str:
    """Return the worst result of a rule's tests, ``none`` if no test names it."""
    if not rule.of_software:
        return "no software"
    fates = {known.get((test.module, test.name), "not run") for test in tests}
    return next((fate for fate in ("failed", "not run", "passed") if fate in fates), "none")


def table(known: dict[tuple[str, str], str]) -> str:
    """Return rule, result and tests as text, every rule of the file in it."""
    naming = naming_tests()
    lines = [f"{'rule':20} {'result':12} tests that name it"]
    for rule in rules():
        tests = naming.get(rule.id, [])
        shown = ", ".join(sorted(f"{test.part}/{test.module}::{test.name}" for test in tests))
        result = result_of(rule, tests, known)
        lines.append(f"{rule.id:20} {result:12} {shown or rule.words}")
    return "\n".join(lines) + "\n"


def write_table(folder: Path) -> str:
    """Write the table of the last runs into the folder of results; return it in one line."""
    known = results(folder)
    path = folder / "rules.txt"
    path.write_text(table(known), encoding="utf-8")
    naming = naming_tests()
    fates = Counter(result_of(rule, naming.get(rule.id, []), known) for rule in rules())
    counted = ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items()))
    return f"rules of the agreement: {counted} ({path.relative_to(ROOT)})"
