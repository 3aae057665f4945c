"""The fake kernel keeps the contract of the real one, and fails as it is told."""

import errno

import pytest

from netlink.errors import OutcomeUnknown
from netlink.model import (
    AddPolicy,
    DeleteSa,
    KernelEvent,
    Overrun,
    SadFlushed,
    ShortenSa,
    SpdFlushed,
)
from tests.support.contract_world import names, spis
from tests.support.counters_contract import CountersContract
from tests.support.encapsulation_contract import EncapsulationContract
from tests.support.event_sink import EventSink
from tests.support.fake_kernel import FakeKernel, FakeTables
from tests.support.kernel_contract import KernelContract
from tests.support.recognition_contract import RecognitionContract
from tests.support.xfrm_values import AES, SHA1, add_sa, keys_for, policy, security_association


class FakeWorld:
    """Two programs over one fake namespace whose clock stands until somebody waits."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.5
        self.tables = FakeTables(self.now)
        self.kernel = FakeKernel(self.tables, port_id=4711)
        self.foreign = FakeKernel(self.tables, port_id=4712)
        self.sink = EventSink()
        self.tables.subscribe(self.sink.take)

    @property
    def events(self) -> list[KernelEvent]:
        return self.sink.events

    def now(self) -> float:
        return self.seconds

    async def wait_for(self, event: KernelEvent) -> None:
        for _ in range(200):
            try:
                await self.sink.wait_for(event, patience=0)
            except TimeoutError:
                self.seconds += 0.25
                self.tables.tick()
            else:
                return
        await self.sink.wait_for(event, patience=0)


@pytest.fixture
async def world() -> FakeWorld:
    return FakeWorld()


class TestFakeKernel(KernelContract, EncapsulationContract, CountersContract, RecognitionContract):
    """The promises of every kernel."""


async def test_fake_kernel_keeps_keys_for_assertions(world: FakeWorld) -> None:
    """The keys an SA was added with stay through UPDSA, whose keys are zero."""
    sa = security_association(pair=(SHA1, AES))
    await world.kernel.commit([add_sa(sa), ShortenSa(sa)])

    stored, keys = world.tables.sas[sa.id], keys_for(sa)
    assert stored.integrity_key == keys.integrity.reveal()
    assert stored.encryption_key == keys.encryption.reveal()


async def test_fake_kernel_fails_the_message_it_was_told_to(world: FakeWorld) -> None:
    """The n-th message from now fails with errno and words, once, and has no effect."""
    world.kernel.fail_message(2, errno.ENOMEM, "out of luck")
    outcomes = await world.kernel.commit([add_sa(security_association(spi)) for spi in (1, 2, 3)])

    assert names(outcomes) == ["", "ENOMEM", ""]
    assert outcomes[1] is not None
    assert outcomes[1].message == "out of luck"
    assert await spis(world.kernel) == [1, 3]


async def test_fake_kernel_counts_messages_over_commits(world: FakeWorld) -> None:
    """Several faults count on their own, over as many commits as it takes."""
    world.kernel.fail_message(2, errno.ENOMEM)
    world.kernel.fail_message(3, errno.EPERM)
    seen = [
        names(await world.kernel.commit([add_sa(security_association(spi))]))
        for spi in (1, 2, 3, 4)
    ]

    assert seen == [[""], ["ENOMEM"], ["EPERM"], [""]]


async def test_fake_kernel_loses_answers_after_doing_a_part(world: FakeWorld) -> None:
    """OutcomeUnknown once, with as much done as was told."""
    world.kernel.lose_answers(applied=1)
    operations = [add_sa(security_association(spi)) for spi in (1, 2)]
    with pytest.raises(OutcomeUnknown):
        await world.kernel.commit(operations)

    assert await spis(world.kernel) == [1]
    assert names(await world.kernel.commit(operations)) == ["EEXIST", ""]


async def test_fake_kernel_tells_of_floods_and_flushes(world: FakeWorld) -> None:
    """Overruns and flushes of others come as events."""
    await world.kernel.commit([add_sa(security_association()), AddPolicy(policy())])
    world.tables.overrun()
    world.tables.flush_sas(port_id=1, protocol=50)
    world.tables.flush_policies(port_id=1)
    await world.sink.wait_for_count(5)

    assert world.events[2:] == [Overrun(), SadFlushed(50, 1), SpdFlushed(1)]
    assert await world.kernel.dump_sas() == []
    assert await world.kernel.dump_policies() == []


async def test_fake_kernel_stops_telling_a_closed_listener(world: FakeWorld) -> None:
    """After close nothing is delivered, as with the real stream."""
    other = EventSink()
    subscription = world.tables.subscribe(other.take)
    subscription.close()
    await world.kernel.commit([DeleteSa(security_association().id), AddPolicy(policy())])
    await world.sink.wait_for_count(1)

    assert other.events == []


async def test_fake_kernel_counts_what_was_asked(world: FakeWorld) -> None:
    """Tests of economy ask how many messages of a kind a plan took."""
    await world.kernel.commit([add_sa(security_association()), AddPolicy(policy())])

    assert world.tables.messages == {type(add_sa(security_association())): 1, AddPolicy: 1}
