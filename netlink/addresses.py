"""Which addresses this node has, kept current by the kernel's own notices.

Off the hot path, so pyroute2 does it.
"""

import asyncio
import contextlib
import ipaddress
import logging

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

log = logging.getLogger(__name__)


class OwnAddresses:
    """The set of local addresses; :attr:`current` may be read at any time."""

    def __init__(self) -> None:
        self.current: frozenset[str] = frozenset()
        self._route: AsyncIPRoute | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the addresses and follow their changes from now on."""
        await self._listen()
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _listen(self) -> None:
        if self._route is not None:
            self._route.close()
        self._route = AsyncIPRoute()
        await self._route.bind(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)
        await self._refresh()

    async def _refresh(self) -> None:
        # A socket of its own: answers and notices must not mix.
        async with AsyncIPRoute() as route:
            found = set()
            async for message in await route.get_addr():
                address = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
                if address:
                    found.add(ipaddress.ip_address(address).compressed)
        self.current = frozenset(found)

    async def _follow(self) -> None:
        while True:
            assert self._route is not None
            try:
                async for _ in self._route.get():
                    pass
                await self._refresh()
            except (OSError, NetlinkError) as error:
                # pyroute2's socket is dead after one ENOBUFS (kernel notes, section 1).
                log.warning("address notices were lost (%s): listening anew", error)
                await asyncio.sleep(1)
                with contextlib.suppress(OSError, NetlinkError):
                    await self._listen()

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._route is not None:
            self._route.close()
