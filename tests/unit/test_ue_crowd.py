"""Five hundred UEs in one process."""

import asyncio
import resource
from collections.abc import Iterator

import pytest

from tests.support.ue_world import within, world
from tests.ue import home
from tests.ue.pcscf import Pcscf
from tests.ue.transaction import Timers
from tests.ue.ue import Ue

CROWD = 500
SOCKETS_OF_ONE = 8
PATIENT = Timers(t1=20.0)  # nothing is lost here, so nothing need be sent twice


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CROWD * SOCKETS_OF_ONE), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _talk(caller: Ue, callee: Ue, number: int) -> None:
    """Call subscriber ``number``, who hangs up and is then written to."""
    placed = await caller.call(home.public_identity(number))
    taken = await callee.calls.get()
    await taken.bye()
    await placed.ended.wait()
    await caller.message(home.public_identity(number), "good bye")
    await callee.messages.get()


async def test_five_hundred_ues_register_call_and_leave(many_files: None) -> None:
    """All at once, half of them by TCP: everybody registers, talks, de-registers; no set stays."""
    async with world(pcscf=Pcscf) as here:
        ues = []
        for number in range(1, CROWD + 1):
            here.scscf.add(home.subscriber(number))
            transport = "TCP" if number % 4 < 2 else "UDP"
            ues.append(await here.ue(number, transport=transport, timers=PATIENT))
        await within(60, asyncio.gather(*(ue.register() for ue in ues)))
        assert len(here.scscf.registrar.bindings(here.scscf.now())) == CROWD
        pairs = [(ues[i], ues[i + 1], i + 2) for i in range(0, CROWD, 2)]
        await within(60, asyncio.gather(*(_talk(*pair) for pair in pairs)))
        await within(60, asyncio.gather(*(ue.deregister() for ue in ues)))
        assert sum(ue.installed for ue in ues) == 0
        assert here.scscf.registrar.bindings(here.scscf.now()) == []
        here.assert_clean()
