"""SIGKILL at chosen points of each call: after a message, in a transaction, around an answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.crash_board import ANSWER, JOURNAL, NETLINK
from tests.support.crash_run import Point, Run, crash_run
from tests.support.crash_scenario import in_order

pytestmark = pytest.mark.kernel

#: Where each step is cut off. ``make soak`` goes through all points.
POINTS: Final[dict[str, Point]] = {
    "v4 install": (NETLINK, 3),  # three of the four SAs
    "v6 install": (JOURNAL, 4),  # the intent stands, the kernel was not asked
    "v4 offer": (NETLINK, 14),  # all is in the kernel, nobody knows
    "v6 offer": (JOURNAL, 7),  # the result is written, not committed
    "v4 lengthen": (NETLINK, 6),  # two of the four limits moved
    "v6 linger": (NETLINK, 10),  # one shortened, one with a new origin and the old span
    "v4 the same offer": (ANSWER, 1),
    "v6 offer in its place": (NETLINK, 17),  # the old one is out, the new one half in
    "v4 release": (NETLINK, 5),
    "v4 confirm": (ANSWER, 1),
    "v6 confirm": (JOURNAL, 4),
    "v4 offer on the set again": (JOURNAL, 6),
    "reconcile": (NETLINK, 3),  # the stale SA is out, the policy not back
    "restart": (NETLINK, 39),  # the same, in the start
    "restart again": (JOURNAL, 4),
    "v4 take into use": (NETLINK, 10),  # the older one's limit half cut, policies not moved
    "v4 refresh": (ANSWER, 2),
    "v6 confirm after a reboot": (NETLINK, 9),  # the sets elsewhere are still whole
    "v4 release all with linger": (NETLINK, 8),
    "v6 release all": (NETLINK, 6),
}
#: Where the start after a crash is cut off in its turn.
SECOND: Final[dict[str, Point]] = {"v4 install": (NETLINK, 40), "v4 take into use": (NETLINK, 39)}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with crash_run(tmp_path / "edge") as built:
        yield built


def test_a_crash_at_any_point_leaks_nothing_and_loses_nothing(run: Run) -> None:
    """Design 8: every answer holds, a call without one is done or not, and can be repeated."""
    not_reached = [
        step.name
        for step in in_order()
        if not run.play(step, POINTS.get(step.name), SECOND.get(step.name)) and step.name in POINTS
    ]

    run.end()

    assert not run.problems, "\n".join(run.problems)
    assert not not_reached
    assert run.crashes["start"] >= 4
