"""Every rule of the agreement is named by a test; the table of them is part of the results.

The table, rule, result and tests, is written by :mod:`tests.suite` into ``build/tests/rules.txt``
when all parts have run; ``python -m tests.rules`` prints it anew.
"""

from pathlib import Path

from tests.support.rules import Rule, naming_tests, result_of, results, rules, table


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


def test_lint_the_table_of_rules_is_complete() -> None:
    """Each rule has its line, whatever ran; the worst result of its tests is the rule's."""
    gap = naming_tests()["GAP-3"]
    known = {(test.module, test.name): "passed" for test in gap}
    lines = table(known).splitlines()[1:]

    assert [line.split()[0] for line in lines] == [rule.id for rule in rules()]
    assert {line.split()[1] for line in lines} == {"passed", "not", "no"}
    some = Rule("GAP-3", "", of_software=True)
    assert result_of(some, gap, known) == "passed"
    assert result_of(some, gap, {**known, (gap[0].module, gap[0].name): "failed"}) == "failed"
    assert result_of(some, [], known) == "none"


def test_lint_results_come_of_the_reports(tmp_path: Path) -> None:
    """One bad case of a parametrized test makes it bad; a report that is no XML is passed over."""
    (tmp_path / "unit").mkdir()
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/report.xml").write_text("<testsuites><test")
    (tmp_path / "unit/report.xml").write_text(
        '<testsuites><testsuite><testcase classname="tests.unit.test_x" name="test_a[1]"/>'
        '<testcase classname="tests.unit.test_x" name="test_a[2]"><failure/></testcase>'
        '<testcase classname="tests.unit.test_x" name="test_a[3]"/>'
        '<testcase classname="tests.unit.test_x" name="test_b"/></testsuite></testsuites>'
    )

    assert results(tmp_path) == {("test_x", "test_a"): "failed", ("test_x", "test_b"): "passed"}


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
