"""strongSwan keeps the contract that the fake charon is tested against."""

from collections.abc import Iterator

import pytest

from tests.ike.contract import CharonContract, charon
from tests.ike.world import RealWorld

__all__ = ["charon"]


@pytest.fixture
def world(two_charons: RealWorld) -> Iterator[RealWorld]:
    """Give the two charons with nothing left of the tests before."""
    yield two_charons
    two_charons.clean()


class TestRealCharon(CharonContract):
    """The promises of every charon."""
