"""The asyncio client and its values, against the real server and the interface file."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sad.api.idl import Nullable, Record
from sad.api.interfaces import load_interfaces
from sip_hooks import models
from sip_hooks.aio import AsyncClient
from sip_hooks.client import BadReply, CallError, TimedOut, Unreachable
from tests.support.api import ASSOCIATIONS, install_parameters, serving, until
from tests.support.memory_backend import MemoryBackend

PARAMETERS = install_parameters()["ipsec3gpp"]


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[MemoryBackend]:
    backend = MemoryBackend()
    async with serving(tmp_path / "s", backend):
        yield backend


@pytest.fixture
async def sad(tmp_path: Path, backend: MemoryBackend) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(str(tmp_path / "s"), timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    "model", [models.Registration, models.Ipsec3gpp, models.SaCounters, models.Association]
)
def test_the_values_are_those_of_the_interface(model: Any) -> None:
    """Every field that is always there; of those that may be null, none that does not exist."""
    record = load_interfaces()[ASSOCIATIONS].types[model.__name__]
    assert isinstance(record, Record)
    of_interface = dict(record.fields)
    fields = {models.camel_case(f.name): f for f in dataclasses.fields(model)}

    assert set(fields) <= set(of_interface)
    assert {n for n, of in of_interface.items() if not isinstance(of, Nullable)} <= set(fields)
    for name, field in fields.items():
        has_default = field.default is not dataclasses.MISSING
        assert has_default is isinstance(of_interface[name], Nullable), name


async def test_a_user_agent_at_work(sad: AsyncClient, backend: MemoryBackend) -> None:
    """Install, confirm, use, look, release; all over one connection, as values."""
    mine = await sad.install("access", "ue@ims.example", PARAMETERS, seconds=None)
    assert (mine.state, mine.registration.private_identity) == ("temporary", "ue@ims.example")
    assert mine.ipsec3gpp is not None
    assert mine.created_at == 1_700_000_000.0
    confirmed = await sad.confirm(mine.id, 600, note="mine")
    assert (confirmed.state, confirmed.note) == ("established", "mine")
    assert (await sad.take_into_use(mine.id)).state == "inUse"
    flow = models.Flow(
        mine.ipsec3gpp.ue_address,
        mine.ipsec3gpp.port_uc,
        mine.ipsec3gpp.pcscf_address,
        mine.ipsec3gpp.port_ps,
    )
    protecting, outbound = await sad.find(flow)
    assert protecting.id == outbound.id == mine.id
    _, (counters,) = await sad.get(mine.id)
    assert (counters.direction, counters.integrity_failures) == ("in", 1)
    (ended,) = await sad.release(mine.id)
    assert (ended.state, ended.end_reason) == ("ended", "released")
    with pytest.raises(CallError, match="NoSuchAssociation"):
        await sad.get(mine.id)


async def test_lists_and_events_stream(sad: AsyncClient, backend: MemoryBackend) -> None:
    """Each on its own connection; calls go on beside them, and a reader may leave."""
    backend.fill(3)
    assert [a.id async for a in sad.list()] == ["000000000000", "000000000001", "000000000002"]
    assert [a.id async for a in sad.list(privateIdentity="nobody")] == []
    events = []
    async for event in sad.monitor():
        events.append(event.event)
        if event.event == "ready":
            await sad.release("000000000001")
        if event.event == "ended":
            assert event.association is not None
            assert event.association.id == "000000000001"
            break
    assert events == ["present", "present", "present", "ready", "ended"]
    await until(lambda: not backend.queues)


async def test_calls_of_many_tasks_do_not_mix(sad: AsyncClient, backend: MemoryBackend) -> None:
    """One at a time over one connection."""
    backend.fill(20)
    names = [f"{number:012}" for number in range(20)]
    found = await asyncio.gather(*(sad.get(name) for name in names))

    assert [association.id for association, _ in found] == names


async def test_a_cancelled_call_leaves_no_answer_for_another(
    sad: AsyncClient, backend: MemoryBackend
) -> None:
    """Its connection is closed, and the daemon hears of it."""
    backend.fill(2)
    backend.gate.clear()
    call = asyncio.create_task(sad.get("000000000000"))
    await until(lambda: backend.begun)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: backend.cancelled)
    backend.gate.set()

    assert (await sad.get("000000000001"))[0].id == "000000000001"


async def test_failures_have_their_types(
    tmp_path: Path, sad: AsyncClient, backend: MemoryBackend
) -> None:
    """Those of the blocking client, with the same meaning."""
    with pytest.raises(Unreachable) as away:
        await AsyncClient(str(tmp_path / "none")).get("x")
    assert not away.value.may_have_run
    backend.fill(1)
    backend.gate.clear()
    sad.timeout = 0.05
    with pytest.raises(TimedOut):
        await sad.get("000000000000")

    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"{]\0")
        writer.close()

    async with await asyncio.start_unix_server(nonsense, tmp_path / "odd"):
        with pytest.raises(BadReply):
            await AsyncClient(str(tmp_path / "odd")).get("x")


async def test_a_daemon_that_was_restarted_is_met_again(tmp_path: Path) -> None:
    """The kept connection is closed by then; the next call opens another."""
    path = tmp_path / "s"
    client = AsyncClient(str(path), timeout=30)
    for _ in range(2):
        backend = MemoryBackend()
        async with serving(path, backend):
            backend.fill(1)
            assert (await client.get("000000000000"))[0].id == "000000000000"
        await until(lambda: client._line is not None and client._line.ended)
    client.close()


def test_a_field_of_a_later_daemon_is_passed_over() -> None:
    """And one that is missing is named."""
    known = {"event": "ready", "association": None, "later": 1}

    assert models.Event.of(known) == models.Event(event="ready", association=None)
    with pytest.raises(KeyError, match="event"):
        models.Event.of({})
