"""The one lease of this node: it says that the node lives, and holds its automatic endpoints."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from sad.cluster.parts import Clock
from sad.cluster.ports import Etcd, EtcdError, LeaseGone

log = logging.getLogger(__name__)

#: A lease is renewed so often in its time.
_RENEWALS: Final = 4
_AGAIN_SECONDS: Final = 0.3


class LeaseKeeper:
    """Keeps a lease of ``seconds``, which etcd may make longer.

    ``renewed`` hears when each answered renewal was sent (BOOTTIME), ``lost`` that a lease is
    gone, ``failed`` of what etcd did not do.
    """

    def __init__(
        self,
        etcd: Etcd,
        clock: Clock,
        seconds: int,
        *,
        renewed: Callable[[float], None],
        lost: Callable[[], None],
        failed: Callable[[EtcdError], None],
    ) -> None:
        self._etcd = etcd
        self._clock = clock
        self._seconds = seconds
        self._renewed = renewed
        self._lost = lost
        self._failed = failed
        #: None: there is none, nothing can be claimed with it.
        self.id: int | None = None
        self.ttl = float(seconds)

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            try:
                await self.renew()
            except LeaseGone:
                continue  # and get another one
            except EtcdError as error:
                self._failed(error)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                await asyncio.sleep(self.ttl / _RENEWALS)

    async def renew(self) -> None:
        """Renew once, or get one. Raises EtcdError; LeaseGone after ``lost`` was told."""
        sent_at = self._clock.boottime()
        if self.id is None:
            self.id, self.ttl = await self._etcd.grant(self._seconds)
        else:
            try:
                await self._etcd.renew(self.id)
            except LeaseGone:
                log.warning("the lease of this node is gone")
                self.id = None
                self._lost()
                raise
        self._renewed(sent_at)
