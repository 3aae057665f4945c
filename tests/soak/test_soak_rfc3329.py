"""Foreign clients at a first hop of profile rfc3329 for a minute."""

from collections.abc import Callable

import pytest

from tests.edge.agreement_world import agreement_world
from tests.edge.sipp import KINDS, run_kinds


@pytest.mark.timeout(600)
def test_soak_foreign_clients_get_the_right_answers(say: Callable[[str], None]) -> None:
    """R3329-2.3.2-b to -g: 200 calls a second for a minute, without a wrong answer."""
    with agreement_world() as world:
        say(run_kinds(world.phones, KINDS, rate=200, seconds=60))
