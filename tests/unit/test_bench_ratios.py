"""What make bench measures in times is held here in counts: no machine is too busy for them.

Of an install through the request socket: how many functions are called, and how many sends there
are, as a bundle against the same operations one by one. A ratio of times would need an idle
machine; what made it ten times slower would show here too.
"""

import asyncio
import sys
from collections.abc import Sequence
from types import FrameType

from netlink.model import Operation
from netlink.requests import CHUNK_BYTES
from tests.bench.sets import Sets
from tests.support.scripted_socket import ScriptedSocket, opened

SETS = 48
#: Measured: 0.20.
MOST = 0.35


def counted(sets: Sequence[Sequence[Operation]]) -> tuple[int, int]:
    """Return how many functions are called to encode and send all, and how many sends it takes."""
    count = 0

    def see(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    async def submit_all() -> int:
        scripted = Quiet()
        requests = opened(scripted)
        await asyncio.gather(*map(requests.submit, sets))  # what is learnt once is learnt
        before = scripted.sends
        sys.setprofile(see)
        try:
            for commit in [requests.submit(one) for one in sets]:
                assert not any(await commit)
        finally:
            sys.setprofile(None)
        return scripted.sends - before

    sends = asyncio.run(submit_all())
    return count, sends


class Quiet(ScriptedSocket):
    """Acknowledges every send, uncounted: this is the kernel's work and not ours."""

    def __init__(self) -> None:
        super().__init__()
        self.sends = 0

    def send(self, view: bytes | memoryview) -> int:
        seeing = sys.getprofile()
        sys.setprofile(None)
        try:
            self.sends += 1
            return super().send(view)
        finally:
            sys.setprofile(seeing)


def test_bench_a_set_is_sent_with_a_fraction_of_the_calls() -> None:
    """As a bundle it takes a third at most of what its operations take, and no send more."""
    sets = Sets.of(SETS, "cbc").installs
    one_by_one = [tuple(operations) for operations in sets]

    calls, sends = counted(sets)
    plain_calls, plain_sends = counted(one_by_one)

    assert calls < MOST * plain_calls, (calls, plain_calls)
    assert sends <= plain_sends
    assert sends <= 2 + SETS * 4500 // CHUNK_BYTES
