"""Installing: journal, mechanism, journal, all or nothing, whatever goes wrong on the way.

The counterpart of :mod:`sad.runtime.endings`; :mod:`sad.runtime.service` decides what to install.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

from msgspec import structs

from sad.core.rebuilding import first_record
from sad.model.association import Association, EndReason, Phase
from sad.model.errors import KernelRefused, LeftBehind
from sad.model.journal import Forget, Put
from sad.model.key_record import KeyRecord
from sad.model.requests import Keys
from sad.model.views import WatchKind
from sad.runtime.endings import Endings
from sad.runtime.ports import MechanismDriver
from sad.runtime.state import Shared
from sad.runtime.story import Step

log = logging.getLogger(__name__)

#: The other sets of a registration that are in the kernel, oldest first.
Siblings: TypeAlias = tuple[Association, ...]


def wipe_keys(request: Keys) -> None:
    """Overwrite the keys of a request that is done with."""
    for key in (request.integrity_key, request.cipher_key):
        if key is not None:
            key.wipe()


@contextlib.contextmanager
def wiped_unless_begun(request: Keys) -> Iterator[None]:
    """Wipe the keys if the block fails: nobody has begun to work with them."""
    try:
        yield
    except BaseException:
        wipe_keys(request)
        raise


class Installs:
    """Puts decided associations into force."""

    def __init__(self, shared: Shared, endings: Endings) -> None:
        self._shared = shared
        self._endings = endings

    async def install(
        self, mechanism: MechanismDriver, new: Association, request: Keys
    ) -> Association:
        """Put ``new`` into force and return it installed; wipes the keys of the request.

        Raises KernelRefused, JournalUnavailable or NotOwner with nothing left behind, or with
        what could not be taken back left to the reconciler.
        """

        async def locked() -> Association:
            async with self._shared.lock(new.registration):
                return await self._put_into_force(mechanism, new, request)

        try:
            installed = await self._taking(new, locked())
        finally:
            wipe_keys(request)
        return self._announced(installed)

    async def install_locked(
        self, mechanism: MechanismDriver, new: Association, request: Keys
    ) -> Association:
        """As :meth:`install`, for a caller that holds the lock of the registration."""
        try:
            installed = await self._taking(new, self._put_into_force(mechanism, new, request))
        finally:
            wipe_keys(request)
        return self._announced(installed)

    async def _taking(self, new: Association, work: Awaitable[Association]) -> Association:
        """Wait for ``work``: SPIs and ports of ``new`` are taken from now on.

        They are free again if it fails.
        """
        shared = self._shared
        shared.table.put(new)
        try:
            return await work
        except BaseException:
            if shared.table.get(new.id) is new:
                shared.table.remove(new.id)
                # A row without a result is an intent whose answer never left: should it stay
                # because the journal cannot be written, the next start removes what it means.
                await shared.record_tolerant(Forget(new.id))
            raise

    def _announced(self, installed: Association) -> Association:
        self._shared.deadlines.set(installed.id, installed.deadline_at)
        self._shared.tell(WatchKind.ADDED, Step.INSTALLED, installed)
        return installed

    async def restore(
        self, new: Association, record: KeyRecord, put: Callable[[Siblings], Awaitable[None]]
    ) -> Association:
        """Put into force what goes on from another node, by ``put``; return it installed.

        ``record`` is what it is rebuilt from here, wiped by the caller. Raises as
        :meth:`install`, and whatever ``put`` raises.
        """

        async def locked() -> Association:
            async with self._shared.lock(new.registration):
                return await self._journalled(new, record, put)

        return await self._taking(new, locked())

    async def _put_into_force(
        self, mechanism: MechanismDriver, new: Association, request: Keys
    ) -> Association:
        """As :meth:`_journalled`, for keys that come with a request."""
        cluster = self._shared.cluster
        cluster.require_room(new.private_identity)
        record = None
        if new.ipsec_3gpp is not None and request.integrity_key is not None:
            # Who keys by hand has the keys as long as they hold.
            record = first_record(new, request.integrity_key, request.cipher_key)

        async def put(siblings: Siblings) -> None:
            cluster.require(new.endpoint)  # at the last instant: another node may have it by now
            if record is not None:
                cluster.seal_keys(new, record.integrity_key, record.cipher_key)
            await mechanism.install(siblings, new, request)

        return await self._journalled(new, record, put)

    async def _journalled(
        self,
        new: Association,
        record: KeyRecord | None,
        put: Callable[[Siblings], Awaitable[None]],
    ) -> Association:
        """Journal, mechanism, journal; the caller holds the lock and takes ``new`` back.

        What cannot be taken back stays in the table in phase REMOVING: its SPIs and ports are not
        free, and the reconciler takes it away.
        """
        shared = self._shared
        mechanism = shared.mechanisms[new.mechanism]
        begun = shared.clock.boottime()
        if shared.settled(new.registration):
            await self._endings.finish_removals(new.registration)
        if shared.records is not None and record is not None:
            await shared.records.put(new, record)
        await shared.journal.record([Put(new)])
        siblings = shared.settled(new.registration)
        try:
            await put(siblings)
        except LeftBehind as error:
            await self._leave_to_reconciler(new)
            raise error.refusal from error
        installed = structs.replace(new, phase=Phase.INSTALLED)
        try:
            await shared.journal.record([Put(installed)])
        except BaseException:
            try:
                await mechanism.remove((*siblings, installed), installed)
            except KernelRefused:
                await self._leave_to_reconciler(new)
            raise
        shared.table.put(installed)
        shared.observer.installed(new.mechanism, shared.clock.boottime() - begun)
        return installed

    async def _leave_to_reconciler(self, new: Association) -> None:
        removing = structs.replace(new, phase=Phase.REMOVING, end_reason=EndReason.KERNEL_REFUSED)
        self._shared.table.put(removing)
        self._shared.tell_problem(
            f"association {new.id} was refused and could not be taken back", "it is tried again"
        )
        self._shared.request_reconcile("an install could not be taken back")
        await self._shared.record_tolerant(Put(removing))

    async def roll_back_unanswered(self, task: asyncio.Task[Association]) -> None:
        """Take back what a task installs whose caller has left before the answer."""
        await asyncio.wait({task})
        if task.cancelled() or task.exception() is not None:
            return
        association = task.result()
        log.info("association %s: its caller left before the answer", association.id)
        await self._endings.end(association.id, EndReason.RELEASED)
