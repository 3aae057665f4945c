"""One pair of algorithms at a real edge: listed by a reload, agreed on, and carrying SIP."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from tests.edge.world import ALGORITHMS, EdgeWorld, within
from tests.support import eye
from tests.support.independent_end import algorithms
from tests.support.nonces import repeats
from tests.ue import home

#: Version of IP and transport.
MODES = ((4, "UDP"), (6, "UDP"), (4, "TCP"), (6, "TCP"))
_TEXT = "a text that only the two ends may read"


@contextlib.asynccontextmanager
async def listed(world: EdgeWorld, *pairs: tuple[str, str]) -> AsyncIterator[None]:
    """Have the endpoint list these pairs alone, in this order; then what it listed before.

    All at once they would make a Security-Verify that no datagram has room for.
    """
    before = world.daemon.config.read_text()
    switches = "accept_withdrawn_algorithms = true\naccept_extension_algorithms = true\n"
    line = f"algorithms = {json.dumps(ALGORITHMS)}\n"
    wanted = f"algorithms = {json.dumps(['/'.join(pair) for pair in pairs])}\n{switches}"
    assert line in before
    await asyncio.to_thread(world.daemon.reload, before.replace(line, wanted))
    try:
        yield
    finally:
        await asyncio.to_thread(world.daemon.reload, before)


async def round_trip(
    world: EdgeWorld, number: int, pair: tuple[str, str], version: int, transport: str
) -> None:
    """Register with a pair, send a MESSAGE to oneself through the core, leave."""
    world.access_wire.forget()
    ue = await world.new_ue(number, version=version, transport=transport, algorithms=(pair,))
    assert (await within(ue.register())).status == 200
    words = algorithms(*pair).split()
    names = (words[words.index("enc" if "enc" in words else "aead") + 1], "auth-trunc" in words)
    states = eye.states(world.edge)
    assert len(states) == 4
    assert {(sa.enc, bool(sa.auth)) for sa in states} == {names}
    assert {sa.replay_window for sa in states} == {128}  # T33-7.1-j: always on

    assert (await within(ue.message(home.public_identity(number), _TEXT))).status == 200
    assert (await within(ue.messages.get())).body == _TEXT.encode()
    assert (await within(ue.deregister())).status == 200
    await world.end_all()  # rather than wait for the linger
    world.assert_clean(ue)
    packets = world.access_wire.esp()
    assert len(packets) >= 8
    assert world.access_wire.saw_bytes(_TEXT.encode()) == (pair[1] == "null")
    if "aead" in words:  # T33-I-b
        assert repeats(packets) == []
    await world.drop(ue)
