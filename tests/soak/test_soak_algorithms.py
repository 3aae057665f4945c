"""Every algorithm on IPv4 and IPv6, over UDP and TCP, through a real Kamailio."""

import itertools
from collections.abc import Callable

import pytest

from tests.edge.algorithms import MODES, listed, round_trip
from tests.edge.world import edge_world
from tests.support.make import ALL_PAIRS


@pytest.mark.timeout(1800)
async def test_soak_every_algorithm_in_every_mode(say: Callable[[str], None]) -> None:
    """T33-H-c, T33-I-a: each pair that Annex H allows, and the extension, carries SIP."""
    async with edge_world(lifetimes="t1_milliseconds = 40\n") as world:
        for number, pair in enumerate(ALL_PAIRS):
            async with listed(world, pair):
                for version, transport in MODES:
                    await round_trip(world, 101 + number, pair, version, transport)
    trips = len(list(itertools.product(ALL_PAIRS, MODES)))
    say(f"{trips} registrations: {len(ALL_PAIRS)} pairs in {len(MODES)} modes")
