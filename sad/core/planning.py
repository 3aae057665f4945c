"""How to get from what lies in the kernel to what should: differences of the desired state.

The order never lets clear text pass: SAs come before the policies that demand them and go before
them.
"""

from collections.abc import Sequence

from netlink.model import (
    AddPolicy,
    AddSa,
    DeletePolicy,
    DeleteSa,
    Operation,
    PolicyId,
    ReplayState,
    SaKeys,
    UpdatePolicy,
)
from sad.core.desired import (
    NamedSa,
    policies_of,
    policies_of_set,
    sas_of,
    settle_policies,
)
from sad.core.set_bundle import first_install
from sad.model.association import Association
from sad.model.rules import Layout, Lifetimes


def plan_install(
    siblings: Sequence[Association],
    new: Association,
    keys: SaKeys,
    layout: Layout,
    lifetimes: Lifetimes,
    now: float,
    *,
    outbound_keys: SaKeys | None = None,
    outbound_start: ReplayState | None = None,
) -> Sequence[Operation]:
    """Return the operations that add a set to a registration: SAs first, then policies.

    ``keys`` are those of all its SAs, unless the outbound ones have ``outbound_keys``. Outbound
    sequence numbers begin behind ``outbound_start``. Of a first set they are a bundle.
    """
    if not siblings and outbound_keys is None and outbound_start is None:
        return first_install(new, keys, layout, lifetimes, now)
    tell = layout.tell_counters
    operations: list[Operation] = [
        AddSa(sa=named.sa, keys=keys, tell_counters=tell)
        if named.inbound
        else AddSa(
            sa=named.sa,
            keys=outbound_keys or keys,
            replay=outbound_start,
            tell_counters=tell,
        )
        for named in sas_of(new, layout, lifetimes, now)
    ]
    operations += plan_policies(siblings, (*siblings, new), layout, lifetimes)
    if new.deadline_at + lifetimes.backstop > new.policies_until:
        # What it shares was written long ago, and would end before it.
        shared = policies_of(siblings, layout, lifetimes).keys()
        becomes = policies_of((*siblings, new), layout, lifetimes)
        operations += [UpdatePolicy(p) for i, p in becomes.items() if i in shared]
    return tuple(operations)


def plan_policies(
    before: Sequence[Association],
    after: Sequence[Association],
    layout: Layout,
    lifetimes: Lifetimes,
) -> list[Operation]:
    """Return the policy operations between two states of a registration: add, update, delete."""
    if not before and len(after) == 1:
        return [AddPolicy(p) for p in policies_of_set(after[0], layout, lifetimes)]
    if not after and len(before) == 1:
        return [DeletePolicy(p.id) for p in policies_of_set(before[0], layout, lifetimes)]
    if settle_policies(before) == settle_policies(after):
        return []
    was = policies_of(before, layout, lifetimes)
    becomes = policies_of(after, layout, lifetimes)
    operations: list[Operation] = [AddPolicy(p) for i, p in becomes.items() if i not in was]
    operations += [UpdatePolicy(p) for i, p in becomes.items() if i in was and was[i] != p]
    operations += [DeletePolicy(i) for i in was if i not in becomes]
    return operations


def plan_remove(
    sets: Sequence[Association], gone: Association, layout: Layout, lifetimes: Lifetimes
) -> tuple[Operation, ...]:
    """Return the operations that take one set out of a registration.

    Shared policies move to what remains first, so that nothing of it is lost; then outbound SAs,
    then inbound ones (a late packet of the peer still decrypts), the set's own policies last:
    while they stand, clear text does not pass.
    """
    remaining = [a for a in sets if a.id != gone.id]
    policies = plan_policies(sets, remaining, layout, lifetimes)
    named = sas_of(gone, layout, lifetimes, gone.deadline_at)
    deletions: list[Operation] = [DeleteSa(n.sa.id) for n in named if not n.inbound]
    deletions += [DeleteSa(n.sa.id) for n in named if n.inbound]
    return (
        *(o for o in policies if not isinstance(o, DeletePolicy)),
        *deletions,
        *(o for o in policies if isinstance(o, DeletePolicy)),
    )


def undo_of(operation: Operation) -> Operation | None:
    """Return what takes back a succeeded operation of an install, or None for the rest."""
    if isinstance(operation, AddSa):
        return DeleteSa(operation.sa.id)
    if isinstance(operation, AddPolicy):
        return DeletePolicy(operation.policy.id)
    return None


def describe(operation: Operation, named: Sequence[NamedSa]) -> str:
    """Name what an operation touches, for errors: no keys, the words of the tables."""
    if isinstance(operation, AddPolicy | UpdatePolicy):
        return _describe_policy(operation.policy.id)
    if isinstance(operation, DeletePolicy):
        return _describe_policy(operation.id)
    sa_id = (
        operation.sa.id
        if not isinstance(operation, DeleteSa) and hasattr(operation, "sa")
        else operation.id
    )
    row = next((n.name for n in named if n.sa.id == sa_id), "SA")
    return f"{row} to {sa_id.destination} spi {sa_id.spi:#010x}"


def _describe_policy(policy_id: PolicyId) -> str:
    s = policy_id.selector
    direction = policy_id.direction.name.lower()
    return (
        f"policy {direction} {s.source} port {s.source_port or 'any'} to "
        f"{s.destination} port {s.destination_port or 'any'}"
    )
