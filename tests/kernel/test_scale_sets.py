"""Thousands of SAs at once, as many as ``make test`` has time for; ``make soak`` has 20 000."""

import os
from pathlib import Path

from tests.support import scale

#: Sets of four SAs each.
STALE, EXPIRING, HANGING = 1500, 1500, 200
FOREIGN_SAS = 1000
#: A guest has one processor for the daemon, the test and the kernel, and others on the machine.
SLOWNESS = "20" if os.environ.get("SAD_LANE") == "uml" else "1"
#: The longest that anybody may wait while they expire, in seconds.
LONGEST_WAIT = 0.1 * float(os.environ.get("SAD_TEST_SLOWNESS", SLOWNESS))


async def test_scale_a_start_among_stale_sets_adopts_or_removes(tmp_path: Path) -> None:
    """Design 8: what both know is adopted, what only the kernel has goes, the rest is not ours."""
    print(await scale.start_among_stale_sets(tmp_path, STALE, FOREIGN_SAS))


async def test_scale_sets_that_end_together_end_and_nobody_waits(tmp_path: Path) -> None:
    """T24-P-12 at one instant, notices lost by the default buffer: all end, none early."""
    told, longest = await scale.expire_at_once(tmp_path, EXPIRING, seconds=5)
    print(told)
    assert longest < LONGEST_WAIT, told


async def test_scale_a_daemon_that_hung_through_the_end_finishes_it(tmp_path: Path) -> None:
    """Design 6: the kernel's limits end what a hung daemon cannot; notices are only hints."""
    print(await scale.hang_through_deadline(tmp_path, HANGING, seconds=4))
