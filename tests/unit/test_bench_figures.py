"""What make bench says of what it measured: limits, ratios, results, pages."""

import importlib
import json
from pathlib import Path

import pytest

from tests.bench.contest import contest, ratio_row, ratios
from tests.bench.figures import Curve, Measured, Row, from_json
from tests.bench.registry import FAMILIES, chosen
from tests.bench.report import BEGIN, END, brief_table, replace_between, table
from tests.bench.world import SOURCES, compile_programs


def row(best: float, median: float, **limits: float) -> Row:
    values = {"number": 1, "what": "sets", "layout": "4 SAs", "unit": "times", "trials": 9}
    return Row(**values, best=best, median=median, **limits)  # type: ignore[arg-type]  # by name


def measured(figure: Row | Curve) -> Measured:
    return Measured(
        figure=figure, lane="uml", kernel="6.1", memory="2048 MiB", command="make bench"
    )


@pytest.mark.parametrize(
    ("one", "met"),
    [
        (row(0.8, 0.1, at_least=0.8), True),
        (row(0.79, 0.9, at_least=0.8), False),
        (row(0.9, 0.64, at_least=0.8, median_at_least=0.65), False),
        (row(3.0, 9.0, at_most=3.0), True),
        (row(3.1, 3.1, at_most=3.0), False),
        (row(1.0, 3.1, median_at_most=3.0), False),
        (row(0.0, 0.0), True),
    ],
)
def test_bench_row_is_met_when_every_limit_is_kept(one: Row, met: bool) -> None:
    """Limits of best and of median are apart; one without a limit is met, and not gated."""
    assert one.met is met
    assert one.gated is (one.limit != "not gated")


def test_bench_ratios_are_of_rounds_and_bests() -> None:
    """A machine that slows down in the middle moves both of a round, and so no ratio."""
    rates = {"ours": [90.0, 45.0, 80.0], "theirs": [100.0, 50.0, 100.0]}

    assert ratios(rates, "ours", "theirs") == (0.9, 0.9)
    made = ratio_row(rates, "ours", "theirs", number=1, what="", layout="", unit="")
    assert (made.best, made.median, made.trials) == (0.9, 0.9, 3)


def test_bench_contenders_alternate_and_the_first_round_does_not_count() -> None:
    """What one leaves warm or cold is there for each of the others in turn."""
    order: list[str] = []

    def of(name: str) -> float:
        order.append(name)
        return float(len(order))

    rates = contest({"a": lambda: of("a"), "b": lambda: of("b")}, 2, lambda _: None)

    assert order == ["a", "b"] * 3
    assert rates == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


@pytest.mark.parametrize(
    "figure",
    [
        row(0.8, 0.7, at_least=0.5),
        Curve(name="c", title="t", across="x", up="y", lines={"a": [(1.0, 2.0)]}),
    ],
)
def test_bench_results_come_back_as_they_were_written(figure: Row | Curve) -> None:
    """A page made of results says what was measured."""
    text = json.dumps(measured(figure).as_json())

    back = from_json(json.loads(text))

    assert json.dumps(back.as_json()) == text


def test_bench_tables_name_what_is_not_met(tmp_path: Path) -> None:
    """The page's own words stay; what stands between the marks is made anew."""
    results = [measured(row(0.8, 0.7, at_least=0.5)), measured(row(0.4, 0.3, at_least=0.5))]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    replace_between(page, table(results))

    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    cells = [line.split("|")[-2].strip() for line in lines if line.startswith("|")]
    assert cells == ["met", "---", "yes", "NO"]
    assert "old" not in lines
    assert "0.4 times" in brief_table(results)
    with pytest.raises(ValueError, match="has no place"):
        replace_between(SOURCES / "report.py", "")


def test_bench_every_family_can_be_measured(tmp_path: Path) -> None:
    """Each module of the registry is there with its sources, and each row has one."""
    for family in FAMILIES:
        assert callable(importlib.import_module(f"tests.bench.{family.module}").rows)
        assert all((SOURCES / f"{name}.c").exists() for name in family.programs)
    compile_programs(sorted({name for f in FAMILIES for name in f.programs}), tmp_path)

    assert {f.module for f in chosen(frozenset({1}), frozenset())} == {"install"}
    assert {f.module for f in chosen(frozenset(), frozenset({"notices"}))} == {"notices"}
    assert chosen(frozenset(), frozenset()) == FAMILIES
