"""How a running daemon takes over changed settings: associations live on, gone endpoints' end."""

import logging

from sad.model.association import EndReason
from sad.model.errors import SadError
from sad.runtime.endings import Endings
from sad.runtime.reconciler import Reconciler
from sad.runtime.startup import why_not_served
from sad.runtime.state import Settings, Shared

log = logging.getLogger(__name__)


class Reloading:
    """Takes over settings that were found good."""

    def __init__(self, shared: Shared, endings: Endings, reconciler: Reconciler) -> None:
        self._shared = shared
        self._endings = endings
        self._reconciler = reconciler

    async def take_over(self, new: Settings) -> None:
        """Use ``new`` from now on.

        Whatever it is asked is decided by the new settings at once; then what no endpoint serves
        any more ends, and the kernel's block policies follow the endpoints. Raises SadError if
        the kernel refuses: the new settings hold all the same.
        """
        self._shared.settings = new
        for mechanism in self._shared.mechanisms.values():
            mechanism.use(new.lifetimes)
        try:
            # In this turn of the loop, before anything can be installed on new ports (IPS-8).
            for keeper in self._shared.keepers:
                await keeper.shut(self._shared.standing_policies())
            await self._end_unserved()
            await self._reconciler.reconcile("reload")
        except SadError:
            await self._end_unserved()
            raise
        await self._end_unserved()  # what was on its way in when the settings changed

    async def _end_unserved(self) -> None:
        shared = self._shared
        gone = []
        for association in shared.table:
            reason = why_not_served(shared, association)
            if reason is not None:
                log.info("association %s ends: %s", association.id, reason)
                gone.append(association.id)
        await self._endings.end_all(gone, EndReason.ENDPOINT_GONE)
