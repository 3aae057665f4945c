"""``sadctl reconcile --dry-run``: what a comparison would find and do, with nothing done.

The same examination as :mod:`sad.runtime.reconciler`; its findings are told instead of mended.
"""

from collections.abc import Iterator
from typing import Final

from netlink.model import AddPolicy, DeletePolicy, DeleteSa, Operation, Policy, UpdatePolicy
from sad.core.reconcile import Findings
from sad.model.inspection import Finding
from sad.model.views import ReconcileReport
from sad.runtime.state import Shared

#: A table that somebody flushed has more differences than anybody reads.
MOST: Final = 1000


async def dry_run(shared: Shared, reason: str) -> tuple[ReconcileReport, tuple[Finding, ...]]:
    """Compare and return what would be done."""
    slices: list[Findings] = []
    for keeper in shared.keepers:
        slices += [
            slice_
            async for slice_ in keeper.examine(
                shared.table, shared.standing_policies(), shared.busy
            )
        ]
    found = Findings.together(slices)
    report = ReconcileReport(
        at=shared.clock.realtime(),
        reason=reason,
        adopted=len(found.adopted),
        repaired=len(found.repairs) + len(found.mislimited),
        removed=len(found.removals),
        ended=len(found.overdue) + len(found.lost),
    )
    told = _told(found, rebuilds=shared.records is not None)
    return report, tuple(finding for finding, _ in zip(told, range(MOST), strict=False))


def _told(found: Findings, *, rebuilds: bool) -> Iterator[Finding]:
    for association_id, rows in found.lost.items():
        what = "rebuild or end" if rebuilds else "end"
        yield Finding(
            what=what, text=f"association {association_id}: the kernel lost {', '.join(rows)}"
        )
    for association_id in found.overdue:
        yield Finding(what="end", text=f"association {association_id}: its time is over")
    for association_id in found.mislimited:
        text = f"association {association_id}: the kernel's limit is not its deadline"
        yield Finding(what="repair", text=text)
    for operation in found.repairs:
        yield Finding(what="repair", text=_operation_text(operation))
    for operation in found.removals:
        yield Finding(what="remove", text=f"{_operation_text(operation)} that belongs to nobody")


def _operation_text(operation: Operation) -> str:
    match operation:
        case AddPolicy(policy):
            return f"{_policy_text(policy)} is missing"
        case UpdatePolicy(policy):
            return f"{_policy_text(policy)} is not as it must be"
        case DeletePolicy(policy_id):
            selector = policy_id.selector
            ends = f"{selector.source} -> {selector.destination}"
            return f"policy {policy_id.direction.name.lower()} {ends}"
        case DeleteSa(sa_id):
            return f"SA {sa_id.destination} SPI 0x{sa_id.spi:08x}"
        case _:
            return type(operation).__name__


def _policy_text(policy: Policy) -> str:
    selector = policy.id.selector
    ports = f"{selector.source_port} -> {selector.destination_port}"
    return (
        f"policy {policy.id.direction.name.lower()} {selector.source} -> {selector.destination} "
        f"(ports {ports})"
    )
