"""What operators ask beyond the table: an association whole, a packet's fate, the node's fitness.

Reads the kernel's tables whole, which takes its time where there are many: nothing that SIP
software waits for comes here, and what was read is searched in a thread, so that the loop goes on.
"""

import asyncio

from sad.core.flow_explanation import fate_of, policies_between
from sad.model.association import Association
from sad.model.inspection import (
    CheckResult,
    Finding,
    FlowExplanation,
    HistoryStep,
    PolicyState,
)
from sad.model.requests import Flow
from sad.model.views import ReconcileReport
from sad.runtime.checking import Checks
from sad.runtime.dry_run import dry_run
from sad.runtime.ports import KernelTables
from sad.runtime.state import Shared


class Operations:
    """Answers operators."""

    def __init__(self, shared: Shared, kernel: KernelTables, checks: Checks) -> None:
        self._shared = shared
        self._kernel = kernel
        self._checks = checks

    async def inspect(
        self, association: Association
    ) -> tuple[tuple[PolicyState, ...], tuple[HistoryStep, ...]]:
        """Return the policies between the hosts of an association, and its last steps."""
        history = self._shared.history.of(association.id)
        if association.tls is not None:  # the kernel's policies say nothing of it
            return (), history
        path = association.path
        found = await asyncio.to_thread(
            policies_between,
            path.local_address,
            path.peer_address,
            await self._kernel.dump_policies(),
            self._shared.settings.layout.owner,
        )
        return found, history

    async def explain(self, flow: Flow) -> FlowExplanation:
        """Say why packets of a flow are protected or not, by what the kernel holds now."""
        shared = self._shared
        policies = await self._kernel.dump_policies()
        sas = await self._kernel.dump_sas()
        owner = shared.settings.layout.owner
        association = shared.table.find(flow)
        endpoint = next(
            (
                e.name
                for e in shared.settings.endpoints.values()
                if flow.local_address in e.addresses and flow.local_port in e.ports
            ),
            "",
        )
        return FlowExplanation(
            association_id=association.id if association else "",
            endpoint=endpoint,
            fates=(
                await asyncio.to_thread(fate_of, flow, policies, sas, inbound=True, owner=owner),
                await asyncio.to_thread(fate_of, flow, policies, sas, inbound=False, owner=owner),
            ),
        )

    async def dry_run(self, reason: str) -> tuple[ReconcileReport, tuple[Finding, ...]]:
        """Compare the kernel with the journal and say what differs."""
        return await dry_run(self._shared, reason)

    async def check(self) -> tuple[CheckResult, ...]:
        """Look at the node."""
        return await self._checks.run()
