"""Every rule of the agreement is named by a test; the table of them is part of the results.

``rules.txt`` in the folder of results (``build/tests/lint``) lists rule, result and tests. Results
are those of the other parts' last runs: ``python -m tests.rules`` prints the table anew.
"""

import os
from pathlib import Path

from tests.support.rules import naming_tests, results, rules, table


def test_lint_every_rule_is_named_by_a_test() -> None:
    """A rule that no test names is a rule that nobody keeps."""
    named = naming_tests()

    assert [rule.id for rule in rules() if rule.of_software and rule.id not in named] == []


def test_lint_the_list_of_rules_is_whole() -> None:
    """No id stands twice, no line is lost, and hardly any rule asks nothing of software."""
    found = rules()
    ids = [rule.id for rule in found]

    assert len(ids) == len(set(ids)) > 100
    assert [rule.id for rule in found if not rule.of_software] == ["UPD-none"]


def test_lint_tests_name_no_rule_that_does_not_exist() -> None:
    """An id of these families that the list does not have is a slip of the pen."""
    known = {rule.id for rule in rules()}
    families = ("R3329-", "R3261-", "GAP-", "INTEROP-", "UPD-", "T33-H-", "T33-S.")

    unknown = {
        name: [test.name for test in tests]
        for name, tests in naming_tests().items()
        if name.startswith(families) and name not in known
    }

    assert unknown == {}


def test_lint_the_table_of_rules_is_complete(tmp_path: Path) -> None:
    """Each rule has its line; the table goes to the results."""
    text = table(results())
    folder = Path(os.environ.get("SAD_LANE_SCRATCH", tmp_path))
    (folder / "rules.txt").write_text(text, encoding="utf-8")

    assert [line.split()[0] for line in text.splitlines()[1:]] == [rule.id for rule in rules()]


def test_lint_rules_are_found_where_tests_name_them(tmp_path: Path) -> None:
    """In docstring and parameters, whole ids only; not in code between the tests."""
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit/test_x.py").write_text(
        'OUTSIDE = "GAP-1"\n'
        '@mark(["R3329-2.2-b", "GAP-12."])\n'
        "def test_some():\n"
        '    """Kept (T33-H-a, R3329-2.4-digest-b)."""\n'
        "def helper():\n"
        '    """GAP-2."""\n'
    )

    assert sorted(naming_tests(tmp_path)) == [
        "GAP-12",
        "R3329-2.2-b",
        "R3329-2.4-digest-b",
        "T33-H-a",
    ]
