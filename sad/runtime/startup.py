"""From the journal of before to a table that agrees with the kernel, and the orderly end."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final

from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.errors import KernelRefused
from sad.model.journal import Forget
from sad.model.views import DaemonState, ReconcileReport
from sad.runtime.endings import Endings
from sad.runtime.reconciler import Reconciler
from sad.runtime.state import Shared

log = logging.getLogger(__name__)

_ROWS_IN_A_TURN: Final = 64


async def restore(
    shared: Shared, reconciler: Reconciler, rows: Iterable[Association]
) -> ReconcileReport:
    """Adopt, repair or remove everything that an earlier life left; then the daemon is ready.

    An intent without a result is dropped: its answer never left, so nobody counts on it; what it
    put into the kernel belongs to nobody and goes. The same is true of an ending without a
    result, and of an association whose endpoint or mechanism is no longer configured.
    """
    dropped: list[Association] = []
    # The journal keeps no order, but "oldest first" decides who carries what is sent (T24-P-9).
    for number, association in enumerate(sorted(rows, key=lambda a: a.created_at)):
        if number % _ROWS_IN_A_TURN == 0:
            await asyncio.sleep(0)  # whoever asks for the status meanwhile gets it
        reason = _why_not(shared, association)
        if reason is None:
            shared.table.put(association)
            shared.deadlines.set(association.id, association.deadline_at)
        else:
            log.info("association %s is not adopted: %s", association.id, reason)
            dropped.append(association)
    if dropped:
        await _disconnect(shared, dropped)
        await shared.record_tolerant(*(Forget(a.id) for a in dropped))
    report = await reconciler.reconcile("start")
    if shared.records is not None:
        await shared.records.retain(a.id for a in shared.table)
    shared.daemon_state = DaemonState.READY
    log.info("%d associations live, %d dropped", len(shared.table), len(dropped))
    return report


async def _disconnect(shared: Shared, dropped: Sequence[Association]) -> None:
    """End the connections of what is not adopted, before the reconciler removes its SAs."""
    for name, mechanism in shared.mechanisms.items():
        gone = [a for a in dropped if a.mechanism == name]
        registrations = {a.registration for a in gone}
        remaining = [a for key in registrations for a in shared.table.of_registration(key)]
        await mechanism.disconnect(gone, remaining)


def _why_not(shared: Shared, association: Association) -> str | None:
    if association.phase is Phase.INSTALLING:
        return "its installation was not finished"
    if association.phase is Phase.REMOVING or association.state is AssociationState.ENDED:
        return "its removal was not finished"
    return why_not_served(shared, association)


def why_not_served(shared: Shared, association: Association) -> str | None:
    """Return why the settings have no place for an association; None if they have."""
    endpoint = shared.settings.endpoints.get(association.endpoint)
    if endpoint is None:
        return f"endpoint {association.endpoint} is no longer configured"
    path = association.path
    ports = endpoint.ports_of(association.mechanism)
    if path.local_address not in endpoint.addresses or not ports.issuperset(path.local_ports):
        return f"endpoint {association.endpoint} no longer has its address or ports"
    if association.mechanism not in shared.mechanisms:
        return f"mechanism {association.mechanism} is not known to this version"
    return None


async def stop(shared: Shared, endings: Endings) -> None:
    """Stop in order: SAs and policies stay, or go by setting."""
    shared.daemon_state = DaemonState.STOPPING
    await shared.background.drain()
    await shared.record_owed()
    if not shared.settings.remove_on_stop:
        log.info("%d associations stay in the kernel until their deadlines", len(shared.table))
        return
    await endings.end_all([a.id for a in shared.table], EndReason.SHUTDOWN)
    for keeper in shared.keepers:
        try:
            await keeper.lift(shared.standing_policies())
        except KernelRefused as error:
            shared.tell_refusal("the block policies could not be lifted", error)
