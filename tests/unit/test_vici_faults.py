"""What a charon may do wrong, and what ``sad`` then says: in time, typed, with the way out."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sad.vici import codec, values
from sad.vici.commands import Charon, Patience
from sad.vici.connection import Connection, failure_of
from sad.vici.errors import BadMessage, Unavailable, ViciError
from tests.ike.fake_charon import FakeCharon
from tests.support.api import until

SOON = 0.5
PATIENCE = Patience(connect=SOON, command=SOON)


@contextlib.asynccontextmanager
async def answering(path: Path, answer: bytes | None) -> AsyncIterator[Charon]:
    """Have a server that answers anything with the same bytes, or that ends the connection."""
    over: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over.append(asyncio.Event())
        mine = over[-1]
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = struct.unpack("!I", await reader.readexactly(4))
                await reader.readexactly(length)
                if answer is None:
                    break
                writer.write(answer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        mine.set()

    server = await asyncio.start_unix_server(serve, path)
    charon = Charon(str(path), PATIENCE)
    try:
        yield charon
    finally:
        charon.close()
        server.close()
        for event in over:
            await event.wait()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (codec.framed(b"\x01\x03\x02"), BadMessage),  # a value whose name is cut off
        (codec.framed(b"\x01\x02"), BadMessage),  # a section that ends before it begins
        (codec.framed(b"\x01\x01\x01a"), BadMessage),  # a section without an end
        (codec.framed(b"\x01\x04\x01a\x05\x00\x01b\x09"), BadMessage),  # a list without one
        (codec.framed(b"\x01\x03\x01\xff\x00\x00"), BadMessage),  # a name that is no UTF-8
        (codec.framed(b"\x63"), BadMessage),  # no kind of packet
        (codec.framed(b"\x05"), BadMessage),  # another answer than was asked for
        (codec.framed(b"\x02"), Unavailable),  # it does not know the command
        (struct.pack("!I", 0), BadMessage),
        (struct.pack("!I", 1 << 31), BadMessage),  # longer than any packet: not waited for
        (b"\x00\x00", Unavailable),  # half a length, and nothing more
        (None, Unavailable),
    ],
)
async def test_vici_answers_that_make_no_sense(
    tmp_path: Path, answer: bytes | None, kind: type[ViciError]
) -> None:
    """Each is a typed error in time, and the next command has a new connection."""
    async with answering(tmp_path / "socket", answer) as charon:
        for _ in range(2):
            with pytest.raises(kind):
                await charon.version()


async def _nobody(_: Path) -> None:
    """Leave the path as it is: nothing there."""


async def _left_behind(path: Path) -> None:
    server = await asyncio.start_unix_server(lambda _reader, _writer: None, path)
    server.close()
    await server.wait_closed()


async def _no_socket(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize(
    ("make", "words"),
    [(_nobody, "does not exist"), (_left_behind, "has ended"), (_no_socket, "has ended")],
)
async def test_vici_socket_without_a_charon(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    """What is the matter and what to do about it."""
    path = tmp_path / "charon.vici"
    await make(path)  # type: ignore[misc]  # each of them is a coroutine
    with pytest.raises(Unavailable, match=words) as caught:
        await Charon(str(path), PATIENCE).version()
    assert "strongSwan" in caught.value.hint or "charon" in caught.value.hint


async def test_vici_older_charon(tmp_path: Path) -> None:
    """Before 5.9 it is not used at all."""
    fake = FakeCharon(tmp_path / "charon.vici")
    await fake.start()
    charon = Charon(str(fake.socket), PATIENCE)
    for version, good in (("5.8.2", False), ("5.9.0", True), ("6.0.1", True), ("5", False)):
        fake.version = version
        if good:
            assert (await charon.version()).version == version
        else:
            with pytest.raises(Unavailable, match="too old"):
                await charon.version()
    charon.close()
    await fake.kill()


async def test_vici_cancelled_command_leaves_nothing_for_the_next(tmp_path: Path) -> None:
    """An answer that comes late must not be taken for the next command's."""
    fake = FakeCharon(tmp_path / "charon.vici")
    await fake.start()
    charon = Charon(str(fake.socket), PATIENCE)
    await charon.version()
    fake.hang()
    task = asyncio.create_task(charon.version())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    fake.go_on()
    assert await charon.list_secrets() == ()
    charon.close()
    await fake.kill()


async def test_vici_caller_that_is_cancelled_takes_no_other_with_it(tmp_path: Path) -> None:
    """Commands that wait for their turn go on over another connection."""
    fake = FakeCharon(tmp_path / "charon.vici")
    await fake.start()
    charon = Charon(str(fake.socket), PATIENCE)
    await charon.version()
    fake.hang()
    first = asyncio.create_task(charon.version())
    others = [asyncio.create_task(charon.list_secrets()) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    fake.go_on()
    assert await asyncio.gather(*others) == [()] * 5
    assert first.cancelled()
    charon.close()
    await fake.kill()


async def test_vici_commands_at_once_share_the_connection_that_is_made(tmp_path: Path) -> None:
    """After a restart of charon, too: none is left open."""
    fake = FakeCharon(tmp_path / "charon.vici")
    await fake.start()
    charon = Charon(str(fake.socket), PATIENCE)
    await asyncio.gather(*(charon.list_secrets() for _ in range(10)))
    await until(lambda: fake.connected == 1)  # the ends of the others are on the way
    await charon.list_secrets()
    assert fake.connected == 1
    charon.close()
    await fake.kill()


async def test_vici_request_longer_than_charon_takes(tmp_path: Path) -> None:
    """It would end the connection without a word."""
    fake = FakeCharon(tmp_path / "charon.vici")
    await fake.start()
    connection = await Connection.open(str(fake.socket), SOON)
    await connection.call("version", None, SOON)
    many = {f"name{i}": "x" * 60_000 for i in range(10)}
    with pytest.raises(BadMessage, match="600"):
        await connection.call("load-conn", many, SOON)
    connection.close()
    await fake.kill()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("child-updown", {"up": b"yes", "a": {"uniqueid": b"one"}}),
        ("child-updown", {"up": b"yes", "a": {"state": b"ESTABLISHED"}}),
        ("child-updown", {"a": {"uniqueid": {}, "state": b""}}),
        ("ike-rekey", {"a": {"old": b"1", "new": b"2"}}),
        ("child-rekey", {"a": {"uniqueid": b"1", "state": b"", "child-sas": {}}}),
        ("log", {"level": b"high", "msg": b""}),
        ("alert", {}),
    ],
)
def test_vici_events_that_make_no_sense(name: str, message: values.Section) -> None:
    """They are no events: whoever listens compares everything anew."""
    with pytest.raises(BadMessage):
        values.read_event(name, message)


_NAMES = st.sampled_from(
    (
        "up", "a", "child-sas", "old", "new", "uniqueid", "state", "name", "mode", "reqid",
        "spi-in", "spi-out", "life-time", "rekey-time", "local-ts", "remote-ts", "level", "msg",
        "group", "ikesa-name", "ikesa-uniqueid", "local-host", "children", "keys", "success",
    )
)  # fmt: skip
_VALUES = st.sampled_from((b"", b"1", b"yes", b"-1", b"ffffffff", b"\xff", b"INSTALLED"))


@given(
    st.sampled_from(values.EVENTS),
    st.recursive(
        st.dictionaries(_NAMES, _VALUES | st.lists(_VALUES, max_size=2), max_size=8),
        lambda inner: st.dictionaries(_NAMES, _VALUES | inner, max_size=8),
        max_leaves=12,
    ),
)
def test_vici_messages_are_read_or_refused(name: str, message: values.Section) -> None:
    """Whatever charon tells, the reader ends in a value or in BadMessage."""
    with contextlib.suppress(BadMessage):
        values.read_event(name, message)
    with contextlib.suppress(BadMessage):
        values.read_connections(message)
    with contextlib.suppress(BadMessage):
        values.read_names(message, "keys")
    with contextlib.suppress(BadMessage):
        values.read_version(message)
    failure_of("terminate", message)
