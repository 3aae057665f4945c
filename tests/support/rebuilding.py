"""A shell that rebuilds what its kernel loses, and short words for what lies there."""

import asyncio
from typing import Any

from netlink.model import DeleteSa, KernelEvent, SaId
from sad.model.association import Association
from sad.model.views import DaemonState
from sad.runtime.startup import restore
from sad.store.sealed import IN_MEMORY, SealedRecords
from sad.store.sealing_key import key_for_this_life
from tests.support.shell import SOMEBODY_ELSES_PORT, Shell


def memory() -> SealedRecords:
    return SealedRecords.open(IN_MEMORY, key_for_this_life())


def rebuilding(**changes: Any) -> Shell:
    """A daemon that rebuilds, and hears of the kernel what the real one hears."""
    shell = Shell(**({"records": memory()} | changes))

    def deliver(event: KernelEvent) -> None:
        shell.reconciler.notice(event, shell.kernel.port_id)

    shell.tables.subscribe(deliver)
    return shell


async def start(shell: Shell) -> Shell:
    shell.shared.daemon_state = DaemonState.STARTING
    await restore(shell.shared, shell.reconciler, list(shell.journal.rows.values()))
    return shell


def sas_of(shell: Shell, association: Association) -> dict[SaId, Any]:
    s = association.sa_set
    spis = {*s.local_spis, *s.peer_spis}
    return {i: stored for i, stored in shell.tables.sas.items() if i.spi in spis}


def inbound(association: Association) -> SaId:
    """SA1: to our server port."""
    return SaId(association.sa_set.local_address, association.sa_set.local_spis[1])


def outbound(association: Association) -> SaId:
    """SA3: to the peer's server port."""
    return SaId(association.sa_set.peer_address, association.sa_set.peer_spis[1])


def take_away(shell: Shell, *ids: SaId) -> None:
    for sa_id in ids:
        shell.tables.apply(DeleteSa(sa_id), SOMEBODY_ELSES_PORT)


def everything(shell: Shell) -> Any:
    """What lies in the kernel, keys and limits included, sequence numbers not."""
    sas = {
        i: (s.sa.reqid, s.sa.selector, s.integrity_key, s.encryption_key, s.limit)
        for i, s in shell.tables.sas.items()
    }
    return sas, shell.snapshot


async def settled(shell: Shell) -> None:
    """Let the notices of what was taken away arrive, then compare."""
    await asyncio.sleep(0)
    await shell.reconciler.reconcile("a test")
