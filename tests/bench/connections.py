"""Binding and ending TLS connections, beside ``ss -K``: rates of one run on this machine's kernel.

Each round makes its connections anew; the rounds of the contestants alternate.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from msgspec import structs

from netlink.tcp import TcpConnection
from sad.mechanisms.tls import Tls
from sad.model.association import Association, EndReason
from tests.bench.contest import ratio_row
from tests.bench.figures import Row
from tests.bench.world import World
from tests.support.make import TLS_ENDPOINT, TLS_PORT, attach_request, endpoint, tls_flow
from tests.support.shell import USER, Shell
from tests.support.tcp_world import EDGE, TcpWorld

COUNT: Final = 1_000
ROUNDS: Final = 5
#: What the product promises of the ratio: not slower than the tool that a person would take.
LEAST_OF_SS: Final = 1.0
SS: Final = "ss -K, one for all"


async def rate(work: Callable[[], Awaitable[object]], count: int) -> float:
    """Return how many a second."""
    begun_at = time.perf_counter()
    await work()
    return count / (time.perf_counter() - begun_at)


class Bench:
    """One world; the daemon's inside is in this process, its journal in memory."""

    def __init__(self, world: TcpWorld) -> None:
        self.world = world

    def opened(self) -> list[TcpConnection]:
        """Return fresh connections."""
        return [self.world.open(4) for _ in range(COUNT)]

    def close(self, connections: list[TcpConnection]) -> None:
        """Have both programs close them."""
        for named in connections:
            self.world.close(named)

    async def by_cookie(self) -> float:
        """SOCK_DESTROY by name for ever, as the end of an association does."""
        connections = self.opened()
        names = [d.id for d in await self.world.connections.dump([TLS_PORT])]
        got = await rate(lambda: self.world.connections.destroy(names), COUNT)
        self.close(connections)
        return got

    async def by_ss(self) -> float:
        """``ss -K`` with a filter that fits all: one process, one walk."""
        connections = self.opened()

        async def work() -> None:
            await asyncio.to_thread(
                self.world.edge.run, ["ss", "-K", "-Htn", f"( sport = :{TLS_PORT} )"]
            )

        got = await rate(work, COUNT)
        assert not any(self.world.is_alive(c) for c in connections)
        self.close(connections)
        return got

    async def by_ss_each(self) -> float:
        """``ss -K`` for one connection at a time, as a script would; of a tenth of them."""
        connections = self.opened()
        some = connections[: COUNT // 10]

        async def work() -> None:
            for named in some:
                await asyncio.to_thread(self.world.destroy, named)

        got = await rate(work, len(some))
        self.close(connections)
        return got

    def _shell(self) -> Shell:
        shell = Shell(
            endpoints={"access": endpoint(addresses=(EDGE[4],), **TLS_ENDPOINT)},
        )
        mechanism = shell.shared.mechanisms[Tls.name]
        mechanism._connections = self.world.connections  # type: ignore[attr-defined]  # the real
        return shell

    async def attach(self) -> tuple[float, float]:
        """Attach each, then end all: through the shell, without the socket and SQLite."""
        connections = self.opened()
        shell = self._shell()

        async def bind(named: TcpConnection) -> None:
            flow = tls_flow(
                local_address=named.local_address,
                peer_address=named.peer_address,
                peer_port=named.peer_port,
            )
            request = attach_request(flow=flow, private_identity=f"{named.peer_port}@ims")
            attached = await shell.service.attach(USER, request)
            # What is registered does not count against the bound of what proved nothing.
            shell.shared.table.put(_registered(attached.association))

        async def bind_all() -> None:
            for start in range(0, COUNT, 64):
                await asyncio.gather(*map(bind, connections[start : start + 64]))

        bound = await rate(bind_all, COUNT)
        ids = [a.id for a in shell.shared.table]
        assert len(ids) == COUNT
        ended = await rate(lambda: shell.endings.end_all(ids, EndReason.EXPIRED), COUNT)
        self.close(connections)
        return bound, ended


def _registered(association: Association) -> Association:
    return structs.replace(association, confirmed_at=1.0, deadline_at=0.0)


async def measure(world: TcpWorld, bench_world: World) -> dict[str, list[float]]:
    """Return the rates of each round."""
    bench = Bench(world)
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        bound, ended = await bench.attach()
        for name, got in (
            ("bind 1000 (Attach)", bound),
            ("end 1000 associations", ended),
            ("destroy 1000 by cookie", await bench.by_cookie()),
            (SS, await bench.by_ss()),
            ("ss -K, one for each", await bench.by_ss_each()),
        ):
            found.setdefault(name, []).append(got)
        bench_world.say(f"round {number + 1} of {ROUNDS}")
    return found


def rows(world: World) -> Iterator[Row]:
    """Measure all beside ``ss -K`` for all at once."""
    with TcpWorld.made(TLS_PORT) as tcp:
        found = asyncio.run(measure(tcp, world))
    for name in found:
        if name != SS:
            yield ratio_row(
                found,
                name,
                SS,
                number=0,
                what=name,
                layout=f"{COUNT} TCP connections",
                unit="of ss -K",
                at_least=LEAST_OF_SS if name == "destroy 1000 by cookie" else None,
            )
