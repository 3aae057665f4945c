"""Twenty and forty thousand SAs at once: a start among them, and their end at one instant."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import scale

#: Sets of four SAs each.
SETS = (5000, 10_000)
FOREIGN_SAS = 1000
#: From the first set that is laid to the end of all, on an idle machine: for each thousand.
SECONDS = 2.2


@pytest.mark.parametrize("sets", SETS)
@pytest.mark.timeout(1800)
async def test_soak_a_start_among_stale_sets(
    tmp_path: Path, say: Callable[[str], None], sets: int
) -> None:
    """Design 8: what both know is adopted, what only the kernel has goes, the rest is not ours."""
    say(await scale.start_among_stale_sets(tmp_path, sets, FOREIGN_SAS))


@pytest.mark.parametrize("sets", SETS)
@pytest.mark.timeout(1800)
async def test_soak_sets_that_end_together(
    tmp_path: Path, say: Callable[[str], None], sets: int
) -> None:
    """T24-P-12: all end, none early, and nobody waits for long; the waits are told."""
    told, _ = await scale.expire_at_once(tmp_path, sets, seconds=sets / 1000 * SECONDS)
    say(told)


@pytest.mark.timeout(1800)
async def test_soak_a_daemon_that_hung_through_the_end_of_thousands(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    """Design 6: the kernel's limits end what a hung daemon cannot."""
    say(await scale.hang_through_deadline(tmp_path, 5000, seconds=15))
