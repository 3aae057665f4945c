"""What ``sad`` relies on in a charon: one suite, for the fake one and for strongSwan.

A module subclasses :class:`CharonContract` and provides the fixture ``world``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar

import pytest

from sad.vici import values
from sad.vici.commands import Charon, Patience
from sad.vici.errors import CommandFailed, Unavailable
from sad.vici.events import Events
from sad.vici.values import (
    CharonEvent,
    ChildRekeyed,
    ChildrenDown,
    ChildrenUp,
    IkeDown,
    IkeUp,
    LogLine,
)
from tests.ike.connections import (
    CHILD,
    CONNECTION,
    EDGE,
    EDGE_ID,
    PEER,
    PEER_ID,
    PORTS,
    SECOND,
    SECRET,
    edge_connection,
)
from tests.support.daemon import PATIENCE

#: No machine is so slow that a charon that goes on takes longer, and a hang is found this soon.
HANG_SECONDS = 1.0
TOLD = TypeVar("TOLD")


class World(Protocol):
    """An edge whose charon is looked at, and a peer that knows the same children."""

    socket: str

    async def start(self) -> None:
        """Start the edge's charon."""

    async def kill(self) -> None:
        """Kill it."""

    async def hang(self) -> None:
        """Have it neither read nor write."""

    async def go_on(self) -> None:
        """Have it go on."""

    async def peer_initiates(self, child: str, fault: str | None = None) -> bool:
        """Have the peer set up a child, perhaps in a wrong way; say whether that worked."""

    async def peer_deletes(self, child: str) -> None:
        """Have the peer end a child."""

    async def peer_rekeys(self, child: str) -> None:
        """Have the peer rekey a child."""


class Heard:
    """A listener that keeps everything, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[CharonEvent] = []
        self.connections = 0
        self.errors: list[Unavailable] = []
        self._more = asyncio.Event()

    async def connected(self) -> None:
        self.connections += 1
        self._more.set()

    def disconnected(self, error: Unavailable) -> None:
        self.errors.append(error)
        self._more.set()

    def told(self, event: CharonEvent) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something to be heard."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"never heard: {what}; heard: {self.events}") from None

    def of(self, kind: type[TOLD]) -> list[TOLD]:
        return [event for event in self.events if isinstance(event, kind)]

    async def one(self, kind: type[TOLD], count: int = 1) -> TOLD:
        """Wait for the ``count``-th event of a kind."""
        await self.until(lambda: len(self.of(kind)) >= count, kind.__name__)
        return self.of(kind)[count - 1]


@contextlib.asynccontextmanager
async def listening(world: World) -> AsyncIterator[Heard]:
    heard = Heard()
    task = asyncio.create_task(Events(world.socket, HANG_SECONDS, PATIENCE).run(heard))
    try:
        await heard.until(lambda: heard.connections > 0, "a connection")
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def charon(world: World) -> AsyncIterator[Charon]:
    """Give ``sad``'s side of the edge's charon."""
    made = Charon(world.socket, Patience(connect=HANG_SECONDS, command=PATIENCE))
    yield made
    made.close()


async def load(charon: Charon, *children: str, **changes: Any) -> None:
    ports = {child: PORTS[child] for child in children or PORTS}
    await charon.load_secret(CONNECTION, "IKE", SECRET, (EDGE_ID, PEER_ID))
    await charon.load_connection(CONNECTION, edge_connection(ports, **changes))


class CharonContract:
    """The promises."""

    async def test_ike_charon_tells_its_version(self, charon: Charon) -> None:
        version = await charon.version()
        assert version.daemon.startswith("charon")
        assert version.numbers >= (5, 9)

    async def test_ike_charon_keeps_connections_until_they_are_unloaded(
        self, charon: Charon
    ) -> None:
        """Ecosystem 3: loading again replaces; what is not there cannot be unloaded."""
        await load(charon, CHILD)
        await load(charon, CHILD, SECOND)
        (loaded,) = await charon.list_connections()
        assert (loaded.name, set(loaded.children)) == (CONNECTION, {CHILD, SECOND})

        await charon.unload_connection(CONNECTION)
        assert await charon.list_connections() == ()
        with pytest.raises(CommandFailed, match="not found"):
            await charon.unload_connection(CONNECTION)

    async def test_ike_charon_tells_ids_of_secrets_and_nothing_else(self, charon: Charon) -> None:
        await charon.load_secret("sad-a", "IKE", SECRET, (EDGE_ID, PEER_ID))
        await charon.load_secret("sad-b", "IKE", SECRET, (EDGE_ID,))
        assert sorted(await charon.list_secrets()) == ["sad-a", "sad-b"]
        for name in ("sad-a", "sad-b"):
            await charon.unload_secret(name)
        assert await charon.list_secrets() == ()

    async def test_ike_charon_tells_of_a_child_that_the_peer_sets_up(
        self, world: World, charon: Charon
    ) -> None:
        """Transport mode, exactly the ports and protocols of the connection."""
        await load(charon)
        async with listening(world) as heard:
            assert await world.peer_initiates(CHILD)
            assert (await heard.one(IkeUp)).ike.name == CONNECTION
            up = await heard.one(ChildrenUp)
            (told,) = up.ike.children
            assert (up.ike.name, told.name, told.state) == (CONNECTION, CHILD, values.INSTALLED)
        (ike,) = await charon.list_sas()
        (child,) = ike.children
        assert (ike.name, ike.state, ike.remote_host) == (CONNECTION, "ESTABLISHED", PEER)
        assert (ike.local_id, ike.remote_id) == (EDGE_ID, PEER_ID)
        assert (child.name, child.state, child.mode) == (CHILD, values.INSTALLED, "TRANSPORT")
        assert child.unique_id == told.unique_id
        assert (child.spi_in, child.spi_out) == (told.spi_in, told.spi_out)
        assert child.spi_in != child.spi_out
        assert set(child.local_selectors) == {f"{EDGE}/32[udp/5064]", f"{EDGE}/32[tcp/5064]"}
        assert set(child.remote_selectors) == {f"{PEER}/32[udp/5100]", f"{PEER}/32[tcp/5100]"}
        assert child.life_seconds is not None
        assert 590 <= child.life_seconds <= 600
        assert child.rekey_seconds is None

    async def test_ike_charon_has_many_children_of_one_peer(
        self, world: World, charon: Charon
    ) -> None:
        """Ecosystem 3: one connection, many children; one goes and the other stays."""
        await load(charon)
        async with listening(world) as heard:
            assert await world.peer_initiates(CHILD)
            assert await world.peer_initiates(SECOND)
            assert not await world.peer_initiates(CHILD)  # selectors are of one child
            await heard.one(ChildrenUp, 2)
            assert len(heard.of(IkeUp)) == 1
            await world.peer_deletes(CHILD)
            (gone,) = (await heard.one(ChildrenDown)).ike.children
            assert gone.name == CHILD
            assert heard.of(IkeDown) == []
        (ike,) = await charon.list_sas(CONNECTION)
        assert [c.name for c in ike.children if c.state == values.INSTALLED] == [SECOND]

    async def test_ike_charon_rekeys_under_the_same_name(
        self, world: World, charon: Charon
    ) -> None:
        """By the peer's wish and by ours: another number, other SPIs, and no end is told."""
        await load(charon)
        async with listening(world) as heard:
            assert await world.peer_initiates(CHILD)
            await world.peer_rekeys(CHILD)
            first = await heard.one(ChildRekeyed)
            await charon.rekey(first.new.unique_id)
            second = await heard.one(ChildRekeyed, 2)
            assert [first.old.name, first.new.name, second.new.name] == [CHILD] * 3
            numbers = {first.old.unique_id, first.new.unique_id, second.new.unique_id}
            assert len(numbers) == 3
            assert second.old.unique_id == first.new.unique_id
            assert heard.of(ChildrenDown) == []
        (ike,) = await charon.list_sas()
        (current,) = (c for c in ike.children if c.state == values.INSTALLED)
        assert (current.unique_id, current.spi_in) == (second.new.unique_id, second.new.spi_in)

    async def test_ike_charon_ends_a_child_that_is_terminated(
        self, world: World, charon: Charon
    ) -> None:
        await load(charon)
        async with listening(world) as heard:
            assert await world.peer_initiates(CHILD)
            await charon.terminate({"child": CHILD}, PATIENCE)
            (gone,) = (await heard.one(ChildrenDown)).ike.children
            assert gone.name == CHILD
            with pytest.raises(CommandFailed, match="no matching"):
                await charon.terminate({"child": CHILD}, PATIENCE)
            await charon.terminate({"ike": CONNECTION, "force": "yes"}, PATIENCE)
            assert (await heard.one(IkeDown)).ike.name == CONNECTION
        assert await charon.list_sas() == ()

    async def test_ike_charon_tells_down_for_each_child_of_a_terminated_peer(
        self, world: World, charon: Charon
    ) -> None:
        await load(charon)
        async with listening(world) as heard:
            assert await world.peer_initiates(CHILD)
            assert await world.peer_initiates(SECOND)
            await charon.terminate({"ike": CONNECTION, "force": "yes"}, PATIENCE)
            await heard.one(IkeDown)

            def ended() -> set[str]:
                return {c.name for e in heard.of(ChildrenDown) for c in e.ike.children}

            await heard.until(lambda: ended() == {CHILD, SECOND}, "both children down")

    @pytest.mark.parametrize(
        ("fault", "words"),
        [("secret", "MAC mismatched"), ("proposal", "no acceptable proposal found")],
    )
    async def test_ike_charon_logs_why_a_peer_failed(
        self, world: World, charon: Charon, fault: str, words: str
    ) -> None:
        """R3329-2.4-ike-a: the reason is in a line that names the connection."""
        await load(charon)
        async with listening(world) as heard:
            assert not await world.peer_initiates(CHILD, fault)

            def told() -> bool:
                lines = heard.of(LogLine)
                return any(x.connection == CONNECTION and words in x.text for x in lines)

            await heard.until(told, words)
            assert heard.of(ChildrenUp) == []

    async def test_ike_charon_does_not_initiate_what_it_does_not_know(
        self, charon: Charon
    ) -> None:
        await load(charon, CHILD)
        with pytest.raises(CommandFailed, match="not found"):
            await charon.initiate(SECOND, CONNECTION, HANG_SECONDS)

    async def test_ike_charon_that_hangs_is_told_in_time_and_used_again(
        self, world: World
    ) -> None:
        """Never a hang: each command has its time, and the next ones are not in its way."""
        charon = Charon(world.socket, Patience(connect=HANG_SECONDS, command=HANG_SECONDS))
        await charon.version()
        await world.hang()
        try:
            answers = await asyncio.gather(
                *(charon.version() for _ in range(5)), return_exceptions=True
            )
            assert [type(a) for a in answers] == [Unavailable] * 5
        finally:
            await world.go_on()
        assert (await charon.version()).numbers >= (5, 9)
        charon.close()

    async def test_ike_charon_that_was_killed_is_found_again(
        self, world: World, charon: Charon
    ) -> None:
        """Its connections are gone, its events come again without a restart of ours."""
        await load(charon)
        async with listening(world) as heard:
            await world.kill()
            await heard.until(lambda: bool(heard.errors), "the end")
            with pytest.raises(Unavailable):
                await charon.version()
            await world.start()
            await heard.until(lambda: heard.connections > 1, "a second connection")
            assert await charon.list_connections() == ()
            await load(charon)
            assert await world.peer_initiates(CHILD)
            await heard.one(ChildrenUp)
