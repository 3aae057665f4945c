"""The parts of ``ipsec-ike``, put together: driver, follower, listener, and what Offer does."""

import asyncio
import os
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from netlink.interface import Kernel
from sad.core import ike
from sad.mechanisms.ipsec_ike import IpsecIke
from sad.model.ike import IkeService
from sad.runtime.chance import Chance
from sad.runtime.endings import Endings
from sad.runtime.ike import IkeFollower
from sad.runtime.ike_offers import IkeOffers
from sad.runtime.installs import Installs
from sad.runtime.state import Settings, Shared
from sad.vici.events import Events

#: How soon a reload that brings the first endpoint with IKE is noticed.
_PAUSE_SECONDS: Final = 1.0


class Ike:
    """Charon as this daemon uses it. :meth:`attach` comes before :meth:`run`."""

    def __init__(self, service: IkeService, kernel: Kernel, settings: Settings) -> None:
        self._settings: Callable[[], Settings] = lambda: settings
        self._adopted: Callable[[], bool] = lambda: False
        self._service = service
        self._owner = settings.layout.owner
        self.driver = IpsecIke(
            service,
            kernel,
            owner=self._owner,
            endpoints=lambda: self._settings().endpoints,
            environment=os.environ,
        )
        self._follower: IkeFollower | None = None

    def attach(
        self, shared: Shared, endings: Endings, own_addresses: Callable[[], AbstractSet[str]]
    ) -> None:
        """Have the shell serve the mechanism; settings are its own from here on."""
        self._settings = lambda: shared.settings
        self._adopted = lambda: bool(shared.table.of_mechanism(ike.MECHANISM))
        follower = self._follower = IkeFollower(shared, endings, self.driver, self._owner)
        shared.offer_handlers[ike.MECHANISM] = IkeOffers(
            shared,
            Installs(shared, endings),
            self.driver,
            follower,
            own_addresses,
            Chance().below,
        )

    async def run(self) -> None:
        """Listen to charon for ever, from when an endpoint has IKE.

        At once if associations live from when one had it: they end with their children, too.
        """
        assert self._follower is not None
        adopted = self._adopted()
        # Settings are replaced whole, and nobody tells of it.
        while not (adopted or self._is_served()):  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE_SECONDS)
        service = self._service
        events = Events(service.socket_path, service.connect, service.command)
        async with asyncio.TaskGroup() as group:
            group.create_task(events.run(self._follower))
            group.create_task(self._follower.watch())

    def _is_served(self) -> bool:
        return any(e.ike is not None for e in self._settings().endpoints.values())
