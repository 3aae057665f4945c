"""What every kernel promises of ESP in UDP: the counterpart of :mod:`.kernel_contract`."""

import dataclasses

import pytest

from netlink.model import Encapsulation, Mode, ShortenSa
from tests.support.contract_world import World, applied, names
from tests.support.xfrm_values import add_sa, security_association

FIRST = Encapsulation(source_port=4500, destination_port=0)
LATER = Encapsulation(source_port=4500, destination_port=61234)


class EncapsulationContract:
    """The promises. Versions are of IP."""

    @pytest.mark.parametrize("version", [4, 6])
    async def test_an_encapsulated_association_is_added_and_seen(
        self, world: World, version: int
    ) -> None:
        """T33-M-a: tunnel mode and both UDP ports come back from the dump."""
        sa = security_association(version=version, encapsulation=FIRST)
        await applied(world.kernel, add_sa(sa))

        (seen,) = await world.kernel.dump_sas()
        assert (seen.mode, seen.encapsulation) == (Mode.TUNNEL, FIRST)
        assert await world.kernel.get_sa(sa.id) == seen

    @pytest.mark.parametrize("version", [4, 6])
    async def test_its_ports_move_and_nothing_else(self, world: World, version: int) -> None:
        """T33-M-b: what was learnt of the NAT is written over what was there."""
        sa = security_association(version=version, encapsulation=FIRST, hard_add_seconds=500)
        await applied(world.kernel, add_sa(sa))
        (before,) = await world.kernel.dump_sas()
        await applied(world.kernel, ShortenSa(dataclasses.replace(sa, encapsulation=LATER)))

        (seen,) = await world.kernel.dump_sas()
        assert seen == dataclasses.replace(before, encapsulation=LATER)

    async def test_an_association_is_encapsulated_for_life_or_never(self, world: World) -> None:
        """An update must say as much of it as the SA has."""
        bare, wrapped = security_association(1), security_association(2, encapsulation=FIRST)
        await applied(world.kernel, add_sa(bare), add_sa(wrapped))

        outcomes = await world.kernel.commit(
            [
                ShortenSa(dataclasses.replace(bare, encapsulation=LATER)),
                ShortenSa(dataclasses.replace(wrapped, encapsulation=None)),
            ]
        )
        assert names(outcomes) == ["EINVAL", "EINVAL"]
        seen = {sa.id.spi: sa.encapsulation for sa in await world.kernel.dump_sas()}
        assert seen == {1: None, 2: FIRST}
