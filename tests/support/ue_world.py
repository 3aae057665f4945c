"""A home network on the loopback address: one S-CSCF and UEs that talk to it directly.

The counterpart of the namespaces of the integration tests: no IPsec, no P-CSCF, milliseconds.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from tests.support.ports import free_ports
from tests.ue import home
from tests.ue.flow import HostPort
from tests.ue.pcscf import Pcscf
from tests.ue.registrar import RegistrarSettings
from tests.ue.scscf import Scscf
from tests.ue.transaction import Timers
from tests.ue.ue import Ue
from tests.ue.xfrm import NoXfrm

TIMERS = Timers(t1=0.05)
PROTECTED_PORTS = (10000, 29999)  # below the range the kernel chooses from
CLIENT_PORTS = 4
_T = TypeVar("_T")


async def within(seconds: float, work: Awaitable[_T]) -> _T:
    """Await ``work``, at most ``seconds``."""
    async with asyncio.timeout(seconds):
        return await work


class World:
    """One S-CSCF, perhaps a P-CSCF before it, and their UEs."""

    def __init__(self, scscf: Scscf, pcscf: Pcscf | None) -> None:
        self.scscf = scscf
        self.pcscf = pcscf
        self.ues: list[Ue] = []

    async def ue(self, number: int, **settings: Any) -> Ue:
        """Start the UE of a subscriber; ``settings`` are of UeConfig, or ``alter``, ``answer``."""
        given: dict[str, Any] = {
            "port": 0,
            "secure": self.pcscf is not None,
            "timers": TIMERS,
            "protected_ports": PROTECTED_PORTS,
            **settings,
        }
        alter = given.pop("alter", None)
        answer = given.pop("answer", lambda _: 200)
        server = self.scscf.local if self.pcscf is None else self.pcscf.clear
        config = home.ue_config(number, address=server.host, pcscf=server, **given)
        ue = Ue(config, NoXfrm(), alter=alter, answer=answer)
        await ue.start()
        self.ues.append(ue)
        return ue

    def assert_clean(self) -> None:
        """Nobody has seen anything that the standards forbid."""
        assert self.scscf.violations == []
        assert self.pcscf is None or self.pcscf.violations == []
        assert [ue.violations for ue in self.ues] == [[] for _ in self.ues]


@contextlib.asynccontextmanager
async def world(
    address: str = "127.0.0.1",
    settings: RegistrarSettings | None = None,
    *,
    pcscf: type[Pcscf] | None = None,
) -> AsyncIterator[World]:
    """Run a home network; with ``pcscf`` a P-CSCF of that class stands before it."""
    local, clear, protected, *client = free_ports(address, 3 + CLIENT_PORTS)
    scscf = Scscf(home.DOMAIN, HostPort(address, local), settings=settings, timers=TIMERS)
    edge = None
    if pcscf is not None:
        edge = pcscf(
            HostPort(address, clear),
            scscf.local,
            NoXfrm(),
            port_ps=protected,
            client_ports=tuple(client),
        )
    for number in range(1, 4):
        scscf.add(home.subscriber(number))
    here = World(scscf, edge)
    try:
        await scscf.start()
        if edge is not None:
            await edge.start()
        yield here
    finally:
        for ue in here.ues:
            await ue.close()
        if edge is not None:
            await edge.close()
        await scscf.close()
