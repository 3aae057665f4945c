"""Whole tables: complete, consistent, in slices, and never stuck behind a caller who left."""

import asyncio
import errno
import struct
from collections.abc import Iterable, Sequence
from typing import cast

import pytest

from netlink import decode, tables, uapi
from netlink.decode import Message
from netlink.errors import DumpInterrupted, KernelClosed, KernelError
from netlink.model import ObservedSa
from netlink.schema import Head
from netlink.tables import TableReader
from tests.support import kernel_messages as kernel
from tests.support.scripted_socket import Answer, Script, ScriptedSocket, overrun
from tests.support.xfrm_values import observed_sa

SAS = [observed_sa(spi) for spi in range(1, 41)]


def reader(scripted: ScriptedSocket) -> TableReader:
    return TableReader(cast("object", scripted))  # type: ignore[arg-type]  # it quacks


def read(tables_: TableReader) -> "asyncio.Task[list[ObservedSa]]":
    return asyncio.create_task(tables_.read(uapi.XFRM_MSG_GETSA, decode.sa))


def done(sequence: int, status: int = 0) -> bytes:
    return struct.pack("=IHHIIi", 20, uapi.NLMSG_DONE, uapi.NLM_F_MULTI, sequence, 0, status)


def dump(
    sas: Sequence[ObservedSa],
    *,
    flags: int = uapi.NLM_F_MULTI,
    lost: Iterable[int] = (),
    status: int = 0,
    end: bool = True,
) -> Script:
    """Answer with these SAs, ten a datagram, then the end; ENOBUFS before datagrams in lost."""

    def script(messages: list[Message], _sent: bytes) -> Iterable[Answer]:
        (request,) = messages
        for number, first in enumerate(range(0, len(sas), 10)):
            if number in lost:
                yield overrun()
            head = Head(uapi.XFRM_MSG_NEWSA, flags, request.sequence)
            yield b"".join(kernel.sa_message(sa, head) for sa in sas[first : first + 10])
        if end:
            yield done(request.sequence, status)

    return script


async def test_tables_are_read_to_the_end() -> None:
    """Every entry of every datagram, in order; the buffer is left without a key."""
    scripted = ScriptedSocket(dump(SAS))
    table = reader(scripted)

    assert await read(table) == SAS
    assert scripted.unread == 0
    assert not any(table._buffer)


async def test_tables_that_are_empty_are_empty() -> None:
    """No entry is an answer too."""
    assert await read(reader(ScriptedSocket(dump([])))) == []


async def test_tables_that_changed_under_the_dump_are_read_again() -> None:
    """NLM_F_DUMP_INTR makes a dump worthless; the next one counts."""
    inconsistent = dump(SAS, flags=uapi.NLM_F_MULTI | uapi.NLM_F_DUMP_INTR)
    scripted = ScriptedSocket(inconsistent, dump(SAS[:5]))

    assert await read(reader(scripted)) == SAS[:5]


async def test_tables_with_a_lost_datagram_are_read_again() -> None:
    """A dump with a hole is none."""
    scripted = ScriptedSocket(dump(SAS, lost=[1]), dump(SAS))

    assert await read(reader(scripted)) == SAS


async def test_tables_that_never_hold_still_are_an_error() -> None:
    """After some attempts the caller hears that there is no consistent answer."""
    inconsistent = dump(SAS, flags=uapi.NLM_F_MULTI | uapi.NLM_F_DUMP_INTR)
    scripted = ScriptedSocket(*[inconsistent] * tables.ATTEMPTS)

    with pytest.raises(DumpInterrupted):
        await read(reader(scripted))
    assert len(scripted.sent) == tables.ATTEMPTS


async def test_tables_refused_by_the_kernel_raise_its_error() -> None:
    """A refusal at the beginning or at the end of a dump is a KernelError, not an empty table."""

    def refuse(messages: list[Message], _sent: bytes) -> list[Answer]:
        return [kernel.error(messages[0].sequence, errno.EPERM)]

    for script, name in ((refuse, "EPERM"), (dump(SAS, status=-errno.EINVAL), "EINVAL")):
        table = reader(ScriptedSocket(script, dump(SAS)))
        with pytest.raises(KernelError) as refusal:
            await read(table)
        assert refusal.value.name == name
        assert await read(table) == SAS


async def test_tables_let_the_loop_run_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long dump takes many turns of the loop."""
    monkeypatch.setattr(tables, "SLICE_SECONDS", 0.0)
    turns = 0
    task = read(reader(ScriptedSocket(dump(SAS))))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1

    assert await task == SAS
    assert turns >= len(SAS) // 10


async def test_tables_after_a_cancelled_dump_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a caller who left did not read is not taken for the next one's answer."""
    monkeypatch.setattr(tables, "SLICE_SECONDS", 0.0)
    scripted = ScriptedSocket(dump(SAS), dump(SAS[:3]))
    table = reader(scripted)
    leaver = read(table)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert scripted.unread > 0

    assert await read(table) == SAS[:3]
    assert scripted.unread == 0


async def test_tables_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has one dump per socket: a second caller waits and gets all of his own."""
    monkeypatch.setattr(tables, "SLICE_SECONDS", 0.0)
    table = reader(ScriptedSocket(dump(SAS), dump(SAS[:3])))

    first, second = await asyncio.gather(read(table), read(table))
    assert (first, second) == (SAS, SAS[:3])


async def test_tables_of_a_dump_that_stopped_are_read_over_a_new_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dump whose end never comes would block its socket for ever (EBUSY)."""
    fresh = ScriptedSocket(dump(SAS))
    monkeypatch.setattr(tables, "open_socket", lambda _size, **_family: fresh)
    stuck = ScriptedSocket(dump(SAS[:10], end=False))

    assert await read(reader(stuck)) == SAS
    assert stuck.closed


async def test_tables_end_with_their_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump under way and every later one raise KernelClosed."""
    monkeypatch.setattr(tables, "SLICE_SECONDS", 0.0)
    scripted = ScriptedSocket(dump(SAS))
    table = reader(scripted)
    task = read(table)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    table.close()

    with pytest.raises(KernelClosed):
        await task
    with pytest.raises(KernelClosed):
        await read(table)
    assert scripted.closed
