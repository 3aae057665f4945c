"""SIGKILL at chosen points of each call: after a message, in a transaction, around an answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.crash_board import ANSWER, JOURNAL, NETLINK
from tests.support.crash_run import Point, Run, crash_run
from tests.support.crash_scenario import in_order

pytestmark = pytest.mark.kernel

#: Where each step is cut off, and what has then just been done. ``make soak`` tries all points.
POINTS: Final[dict[str, tuple[Point, str]]] = {
    "v4 install": ((NETLINK, 3), "NEWSA"),  # three of the four SAs
    "v6 install": ((JOURNAL, 4), "after COMMIT"),  # the intent stands, the kernel was not asked
    "v4 offer": ((NETLINK, 14), "NEWPOLICY"),  # all is in the kernel, nobody knows
    "v6 offer": ((JOURNAL, 7), "before COMMIT"),  # the result is written, not committed
    "v4 lengthen": ((NETLINK, 6), "NEWAE"),  # two of the four limits moved
    "v6 linger": ((NETLINK, 10), "UPDSA"),  # one shortened, one with a new origin and the old span
    "v4 the same offer": ((ANSWER, 1), "before the answer"),
    "v6 offer in its place": ((NETLINK, 17), "NEWSA"),  # the old one is out, the new one half in
    "v4 release": ((NETLINK, 5), "DELPOLICY"),
    "v4 confirm": ((ANSWER, 1), "before the answer"),
    "v6 confirm": ((JOURNAL, 4), "after COMMIT"),
    "v4 offer on the set again": ((JOURNAL, 6), "after DELETE"),
    "reconcile": ((NETLINK, 3), "NEWPOLICY or DELSA"),  # one of two is mended
    "restart": ((NETLINK, 39), "NEWPOLICY or DELSA"),  # the same, in the start
    "restart again": ((JOURNAL, 5), "before COMMIT"),
    "v4 take into use": ((NETLINK, 10), "UPDSA"),  # three of the older one's limits cut
    "v4 refresh": ((ANSWER, 2), "after the answer"),
    "v6 confirm after a reboot": ((NETLINK, 9), "DELSA"),  # the sets elsewhere are still whole
    "v4 release all with linger": ((NETLINK, 8), "UPDSA"),
    "v6 release all": ((NETLINK, 6), "DELPOLICY"),  # the first set is half out
}
#: Where the start after a crash is cut off in its turn.
SECOND: Final[dict[str, Point]] = {"v4 install": (NETLINK, 40), "v4 take into use": (NETLINK, 39)}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with crash_run(tmp_path / "edge") as built:
        yield built


@pytest.mark.timeout(300)  # seconds, on a machine that does much else
def test_a_crash_at_any_point_leaks_nothing_and_loses_nothing(run: Run) -> None:
    """Design 8: every answer holds, a call without one is done or not, and can be repeated."""
    for step in in_order():
        point, _ = POINTS.get(step.name, (None, ""))
        run.play(step, point, SECOND.get(step.name))
        if step.name == "v6 confirm it":  # two sets live in each family
            run.live_through_a_service_start()
    run.end()

    assert not run.problems, "\n".join(run.problems)
    done = {name: run.hits.get(name, "") for name in POINTS}
    assert [n for n, (_, words) in POINTS.items() if done[n] not in words.split(" or ")] == []
    assert run.crashes["start"] >= 4
