"""A minute of rotations under traffic: new manual keys every ten seconds, and nothing is lost."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import eye
from tests.support.man_world import Traffic, man_world, set_for

RATE = 100.0
ROTATIONS = 6
PERIOD = 10.0
OVERLAP = 5.0
#: What is sent moves after a second, and the old set retires within two.
LIFETIMES = "[lifetimes]\nkey_switch_seconds = 1\nt1_milliseconds = 32\n"


def set_number(number: int, begins: float) -> dict[str, Any]:
    """One of a chain: each with keys and SPIs of its own."""
    changes = {
        "name": f"set-{number}",
        "spi_in": 4096 + number,
        "spi_out": 8192 + number,
        "integrity_key": bytes(range(number, number + 32)).hex(),
        "encryption_key": bytes(range(100 + number, 116 + number)).hex(),
    }
    return set_for(PERIOD + OVERLAP, changes, begins=begins)


@pytest.mark.timeout(600)
def test_soak_man_rotations_under_traffic_lose_none(say: Callable[[str], None]) -> None:
    """RFC 3329 2.5: a hundred messages a second each way for a minute, six times new keys."""
    numbers = range(1, ROTATIONS + 2)
    with man_world(LIFETIMES) as world:
        chain = [set_number(number, PERIOD * (number - 1)) for number in numbers]
        world.write("peer.toml", *chain)
        world.reload()
        world.wait_in_force("set-1")
        begun = time.monotonic()
        seen = []
        with Traffic(world, RATE) as traffic:
            for number in itertools.count(2):
                world.wait_in_force(f"set-{number - 1}", f"set-{number}")
                world.wait_in_force(f"set-{number}")
                seen.append(len(eye.states(world.a)))
                if number > ROTATIONS:
                    break
        seconds = time.monotonic() - begun
    say(f"{sum(traffic.sent)} messages in {seconds:.0f} s, {ROTATIONS} rotations, none lost")

    assert traffic.lost == [[], []]
    assert min(traffic.sent) >= 0.5 * RATE * ROTATIONS * PERIOD  # a guest is slow, not idle
    assert seen == [2] * ROTATIONS
