"""Random bytes, random JSON, random pieces: the server keeps answering others."""

import asyncio
import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from sad.api.interfaces import load_interfaces
from sad.api.limits import Limits
from tests.support.api import (
    ASSOCIATIONS,
    CONTROL,
    SERVICE,
    Peer,
    install_parameters,
    message,
    serving,
    until,
)
from tests.support.memory_backend import MemoryBackend

INFO = f"{SERVICE}.GetInfo"
METHODS = [
    f"{interface.name}.{name}"
    for interface in load_interfaces().values()
    for name in interface.methods
]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)
names = st.sampled_from([*METHODS, "", "a.B", ASSOCIATIONS])


@st.composite
def bent_installs(draw: st.DrawFn) -> dict[str, Any]:
    """An Install with one field, at any depth, replaced by anything."""
    parameters = install_parameters()
    inner = draw(
        st.sampled_from([parameters, parameters["ipsec3gpp"], parameters["registration"]])
    )
    inner[draw(st.sampled_from(sorted(inner)) | st.text(max_size=12))] = draw(values)
    return parameters


calls = st.fixed_dictionaries(
    {"method": names | values},
    optional={
        "parameters": values | bent_installs(),
        "oneway": st.booleans() | values,
        "more": st.booleans() | values,
        "upgrade": st.booleans() | values,
        "extension": values,
    },
).map(lambda call: json.dumps(call).encode() + b"\0")
pieces = calls | st.binary(max_size=80) | st.just(b"\0") | st.just(message(INFO))


class Collector(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextlib.contextmanager
def nothing_logged() -> Iterator[None]:
    """No error and no warning may come of anything that a client says."""
    handler = Collector(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    assert [record.getMessage() for record in handler.records] == []


async def disturb(path: Path, chunks: list[bytes], *, half_close: bool) -> None:
    """Send, read a little, leave."""
    async with Peer.connected(path) as peer:
        with contextlib.suppress(ConnectionError):  # it may be hung up on
            for chunk in chunks:
                peer.send(chunk)
                await peer.writer.drain()
            if half_close:
                peer.writer.write_eof()
                await peer.reader.read(100)


async def serve_and_disturb(chunks: list[bytes], *, half_close: bool) -> None:
    backend = MemoryBackend()
    backend.fill(3)
    limits = Limits(message_seconds=0.05)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        async with (
            serving(path, backend, limits=limits) as server,
            Peer.connected(path) as bystander,
        ):
            await bystander.call(INFO)
            await disturb(path, chunks, half_close=half_close)

            assert "parameters" in await bystander.call(INFO)
            await until(lambda: server.statistics().connections == 1)
            assert "error" not in await bystander.call(f"{CONTROL}.GetStatus")
            assert backend.queues == []


@given(chunks=st.lists(pieces, max_size=8), half_close=st.booleans())
def test_no_input_hurts_another_connection(chunks: list[bytes], half_close: bool) -> None:
    """Whatever one client sends, others are answered, and nothing of it stays behind."""
    with nothing_logged():
        asyncio.run(serve_and_disturb(chunks, half_close=half_close))


@given(stream=st.lists(calls | st.binary(max_size=40), max_size=6).map(b"".join), data=st.data())
def test_no_cut_hurts_another_connection(stream: bytes, data: st.DataObject) -> None:
    """The same, with the bytes cut anywhere."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    with nothing_logged():
        asyncio.run(serve_and_disturb(chunks, half_close=True))


async def replies_to(data: bytes) -> list[dict[str, Any]]:
    """Everything that a fresh server says until it hangs up."""
    backend = MemoryBackend()
    backend.fill(3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        async with serving(path, backend), Peer.connected(path) as peer:
            peer.send(data)
            peer.writer.write_eof()
            *messages, end = (await peer.reader.read(-1)).split(b"\0")
    assert end == b""
    return [json.loads(m) for m in messages]


@given(call=calls)
def test_every_call_gets_exactly_one_final_reply(call: bytes) -> None:
    """Or none if it is oneway; what follows it is then answered, unless it was no call at all."""
    sent = json.loads(call[:-1])
    assume(not (sent["method"] == f"{ASSOCIATIONS}.Monitor" and sent.get("more")))

    with nothing_logged():
        replies = asyncio.run(replies_to(call + message(INFO)))

    final = [r for r in replies if not r.get("continues")]
    assert all(("error" in r) or (set(r) <= {"parameters", "continues"}) for r in replies)
    if final and final[-1].get("parameters", {}).get("product") == "sad" and len(final) < 3:
        assert len(final) == (1 if sent.get("oneway") is True else 2)
    else:
        assert [r["error"] for r in final] in ([f"{SERVICE}.InvalidParameter"], [])
