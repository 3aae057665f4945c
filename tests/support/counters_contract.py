"""What every kernel promises of an SA that goes on from where another one stood.

The counterpart of :mod:`.kernel_contract`.
"""

import pytest

from netlink.counters import ObservedCounters
from netlink.model import CurrentLifetime, DeleteSa, ReplayState, SaDeleted
from tests.support.contract_world import World, applied, expired, spis
from tests.support.xfrm_values import (
    AES,
    GCM,
    NULL,
    OWNER,
    SHA1,
    Pair,
    add_sa,
    name_of,
    security_association,
)

NUMBERS = ReplayState(sent=0x0123_4567, received=0xFEDC_BA98)


class CountersContract:
    """The promises. Versions are of IP, windows are in packets."""

    @pytest.mark.parametrize("pair", [(SHA1, NULL), (SHA1, AES), (None, GCM)], ids=name_of)
    @pytest.mark.parametrize("window", [0, 32, 64, 128, 4096])
    @pytest.mark.parametrize("version", [4, 6])
    async def test_one_message_sets_numbers_counters_and_origin(
        self, world: World, version: int, window: int, pair: Pair
    ) -> None:
        """NEWSA with REPLAY_VAL or REPLAY_ESN_VAL and LTIME_VAL: all of it is read back."""
        sa = security_association(
            version=version, replay_window=window, pair=pair, hard_add_seconds=500
        )
        current = CurrentLifetime(
            bytes=123_456, packets=789, add_time=int(world.now()) - 30, use_time=1_700_000_123
        )
        await applied(world.kernel, add_sa(sa, NUMBERS, current))

        (counters,) = await world.kernel.dump_counters()
        assert counters == ObservedCounters(id=sa.id, replay=NUMBERS, current=current)
        seen = await world.kernel.get_sa(sa.id)
        assert seen is not None
        assert (seen.current, seen.hard_add_seconds, seen.replay_window) == (current, 500, window)

    async def test_a_fresh_association_stands_at_zero(self, world: World) -> None:
        """Nothing was sent and nothing received; it was added now."""
        sa = security_association()
        await applied(world.kernel, add_sa(sa))

        (counters,) = await world.kernel.dump_counters()
        assert (counters.id, counters.replay) == (sa.id, ReplayState())
        assert abs(counters.current.add_time - world.now()) <= 2

    async def test_a_limit_counts_from_the_origin_it_was_given(self, world: World) -> None:
        """A life of which 998 of 1000 seconds are over ends after two; one just begun does not."""
        old, young = (security_association(spi, hard_add_seconds=1000) for spi in (1, 2))
        long_ago = CurrentLifetime(bytes=0, packets=0, add_time=int(world.now()) - 998, use_time=0)
        await applied(world.kernel, add_sa(old, NUMBERS, long_ago), add_sa(young))

        await world.wait_for(expired(old))
        assert await spis(world.kernel) == [2]

    async def test_to_be_told_of_changes_nothing_else(self, world: World) -> None:
        """XFRMA_REPLAY_THRESH beside all the rest: the SA is as it would be without."""
        current = CurrentLifetime(
            bytes=1, packets=2, add_time=int(world.now()), use_time=1_700_000_123
        )
        sa = security_association(replay_window=128, hard_add_seconds=500)
        await applied(world.kernel, add_sa(sa, NUMBERS, current, tell_counters=True))

        (counters,) = await world.kernel.dump_counters()
        assert counters == ObservedCounters(id=sa.id, replay=NUMBERS, current=current)
        await applied(world.foreign, DeleteSa(sa.id))
        await world.wait_for(SaDeleted(sa.id, OWNER, world.foreign.port_id, NUMBERS))
