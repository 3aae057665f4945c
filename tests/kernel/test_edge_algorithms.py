"""Each algorithm of Annex H through real Kamailio, and phones with one family or both.

The whole matrix is in tests/soak; here each pair has one mode, aes-gcm and aes-gmac have two.
"""

import asyncio

import pytest

from tests.edge.algorithms import MODES, listed, round_trip
from tests.edge.world import EDGE, EdgeWorld, within
from tests.support.daemon import wait_until
from tests.support.make import ALL_PAIRS
from tests.ue import home
from tests.ue.sip import Request

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMBINED = {("null", "aes-gcm"): MODES[::3], ("aes-gmac", "null"): MODES[1:3]}
COVER = [(pair, COMBINED.get(pair, (MODES[index % 4],))) for index, pair in enumerate(ALL_PAIRS)]


@pytest.mark.parametrize(("pair", "modes"), COVER, ids=lambda value: "-".join(map(str, value)))
async def test_edge_algorithms_carry_sip(
    world: EdgeWorld, pair: tuple[str, str], modes: tuple[tuple[int, str], ...]
) -> None:
    """T33-H-c, T33-I-a: agreed on, in both kernels with the keys of both, and SIP passes."""
    async with listed(world, pair):
        for version, transport in modes:
            await round_trip(world, 60, pair, version, transport)


@pytest.mark.parametrize("version", [4, 6])
async def test_edge_algorithms_carry_a_register_beyond_the_mtu(
    world: EdgeWorld, version: int
) -> None:
    """RFC 4303 3.3.4: a large REGISTER on the set is one ESP packet in fragments, and arrives."""

    def padded(request: Request, _: str) -> Request:
        return request.prepend("X-Padding", "p" * 4000)

    pair = ("null", "aes-gcm")
    async with listed(world, pair):
        ue = await world.new_ue(
            61, version=version, algorithms=(pair,), alter=padded, datagram_limit=65_000
        )
        assert (await within(ue.register())).status == 200
        fragments = [p for p in world.access_wire.esp() if p.fragment]
        assert len(fragments) >= 3
        assert max(p.size for p in fragments) <= 1500
        assert (await within(ue.deregister())).status == 200
        await world.gone()
        world.assert_clean(ue)
        await world.drop(ue)


@pytest.mark.parametrize(("first", "second"), [(4, 6), (6, 4)])
async def test_edge_algorithms_of_a_phone_that_changes_its_family(
    world: EdgeWorld, first: int, second: int
) -> None:
    """T33-7.5-a: a dual-stack phone that registers over the other family has left the first."""
    before = await world.new_ue(62, version=first)
    await within(before.register())
    await world.drop(before)
    after = await world.new_ue(62, version=second)
    await within(after.register())
    await asyncio.to_thread(wait_until, lambda: world.states() == 4, "the old sets are gone")
    (association,) = world.daemon.associations()
    assert association["ipsec3gpp"]["pcscfAddress"] == EDGE[second]
    assert (await within(after.message(home.public_identity(62), "still here"))).status == 200
    await within(after.messages.get())
    world.assert_clean(after)
