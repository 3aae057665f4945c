"""SPIs that live on in the kernel are not given away a second time."""

import random

import pytest

from sad.core.allocation import choose_spi
from sad.core.table import AssociationTable
from sad.model.errors import PoolExhausted
from tests.support.make import EDGE_ADDRESS, association, endpoint, sa_set

RANDBELOW = random.Random(7).randrange


def test_spis_that_were_adopted_are_skipped() -> None:
    """INTEROP-7: what a daemon finds of its own at start lies in its table like what it installs.

    T33-7.1-h: of the five values of the range only the one that no SA has is left.
    """
    table = AssociationTable()
    table.put(association())
    table.put(association(id="000000000002", sa_set=sa_set(spi_pc=70003, spi_ps=70004)))
    place = endpoint(spi_range=(70001, 70005))

    chosen = {choose_spi(place, EDGE_ADDRESS, frozenset(), table, RANDBELOW) for _ in range(20)}

    assert chosen == {70005}
    with pytest.raises(PoolExhausted):
        choose_spi(place, EDGE_ADDRESS, frozenset({70005}), table, RANDBELOW)
