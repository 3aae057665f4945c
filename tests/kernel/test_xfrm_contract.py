"""The real kernel keeps the contract that the fake one is tested against."""

import time

import pytest

from netlink.model import KernelEvent
from tests.support.counters_contract import CountersContract
from tests.support.encapsulation_contract import EncapsulationContract
from tests.support.kernel_contract import KernelContract
from tests.support.recognition_contract import RecognitionContract
from tests.support.xfrm_world import XfrmWorld


class RealWorld:
    """The contract's view of a namespace: its clock is the machine's."""

    def __init__(self, xfrm: XfrmWorld) -> None:
        self.kernel = xfrm.kernel
        self.foreign = xfrm.foreign
        self.wait_for = xfrm.wait_for
        self._xfrm = xfrm

    @property
    def events(self) -> list[KernelEvent]:
        return self._xfrm.events

    def now(self) -> float:
        return time.time()


@pytest.fixture
def world(xfrm: XfrmWorld) -> RealWorld:
    return RealWorld(xfrm)


class TestRealKernel(KernelContract, EncapsulationContract, CountersContract, RecognitionContract):
    """The promises of every kernel."""
