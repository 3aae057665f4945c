"""What should lie in the kernel against what does: the same function at start and ever after.

Identity decides (SaId, PolicyId with our owner tag); nothing without our tag is ever a finding.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from netlink.model import (
    AddPolicy,
    DeletePolicy,
    DeleteSa,
    ObservedPolicy,
    ObservedSa,
    Operation,
    Policy,
    PolicyId,
    SaId,
    UpdatePolicy,
)
from sad.core.desired import NamedSa, policies_of, sas_of
from sad.core.table import AssociationTable
from sad.model.association import Association, Phase, RegistrationKey
from sad.model.rules import Layout, Lifetimes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What differs.

    ``adopted`` are whole in the kernel; ``lost`` miss an SA (id -> rows missing); ``overdue`` are
    past their deadline; ``mislimited`` have a kernel limit that differs from their deadline;
    ``repairs`` add or correct policies; ``removals`` are ours and belong to nobody.
    """

    adopted: tuple[str, ...]
    lost: Mapping[str, tuple[str, ...]]
    overdue: tuple[str, ...]
    mislimited: tuple[str, ...]
    repairs: tuple[Operation, ...]
    removals: tuple[Operation, ...]


#: The kernel counts whole seconds and policies up to one second early (kernel notes, section 4).
_LIMIT_TOLERANCE_SECONDS = 3.0


def diff(
    table: AssociationTable,
    standing: Mapping[PolicyId, Policy],
    observed_sas: Iterable[ObservedSa],
    observed_policies: Iterable[ObservedPolicy],
    layout: Layout,
    lifetimes: Lifetimes,
    *,
    now: float,
    realtime: float,
    busy: AbstractSet[RegistrationKey] = frozenset(),
) -> Findings:
    """Compare. ``standing`` are the endpoints' block policies.

    Associations that are installing or being removed are under somebody's hands, and so are the
    policies of ``busy`` registrations: their objects are neither missed nor stray.
    """
    ours = {o.id: o for o in observed_sas if o.selector.owner == layout.owner}
    policies = {o.id: o for o in observed_policies if o.id.selector.owner == layout.owner}
    adopted: list[str] = []
    lost: dict[str, tuple[str, ...]] = {}
    overdue: list[str] = []
    mislimited: list[str] = []
    claimed: set[SaId] = set()
    for association in table:
        named = sas_of(association, layout, lifetimes, now)
        claimed.update(n.sa.id for n in named)
        if association.phase is not Phase.INSTALLED:
            continue
        missing = tuple(n.name for n in named if not _is_the_sa(n, ours.get(n.sa.id)))
        if association.deadline_at <= now:
            overdue.append(association.id)
        elif missing:
            lost[association.id] = missing
        else:
            adopted.append(association.id)
            limit = realtime + (association.deadline_at - now) + lifetimes.backstop
            if any(_limit_differs(ours[n.sa.id], limit) for n in named):
                mislimited.append(association.id)
    wanted, touched = _wanted_policies(table, layout, lifetimes, busy)
    wanted.update(standing)
    return Findings(
        adopted=tuple(adopted),
        lost=lost,
        overdue=tuple(overdue),
        mislimited=tuple(mislimited),
        repairs=tuple(_repairs(wanted, policies)),
        removals=(
            *(DeleteSa(i) for i in ours if i not in claimed),
            *(DeletePolicy(i) for i in policies if i not in wanted and i not in touched),
        ),
    )


def _is_the_sa(named: NamedSa, observed: ObservedSa | None) -> bool:
    sa = named.sa
    return (
        observed is not None
        and observed.source == sa.source
        and observed.reqid == sa.reqid
        and observed.mode == sa.mode
        and observed.selector == sa.selector
    )


def _limit_differs(observed: ObservedSa, limit: float) -> bool:
    held = observed.current.add_time + observed.hard_add_seconds
    return observed.hard_add_seconds == 0 or abs(held - limit) > _LIMIT_TOLERANCE_SECONDS


def _wanted_policies(
    table: AssociationTable,
    layout: Layout,
    lifetimes: Lifetimes,
    busy: AbstractSet[RegistrationKey],
) -> tuple[dict[PolicyId, Policy], set[PolicyId]]:
    """Return the policies of settled registrations, and the ids that unsettled ones may hold."""
    by_registration: dict[RegistrationKey, list[Association]] = {}
    for association in table:
        by_registration.setdefault(association.registration, []).append(association)
    wanted: dict[PolicyId, Policy] = {}
    touched: set[PolicyId] = set()
    for registration, sets in by_registration.items():
        policies = policies_of(sets, layout, lifetimes)
        if registration not in busy and all(a.phase is Phase.INSTALLED for a in sets):
            wanted.update(policies)
        else:
            touched.update(policies)
    return wanted, touched


def _repairs(
    wanted: Mapping[PolicyId, Policy], observed: Mapping[PolicyId, ObservedPolicy]
) -> Sequence[Operation]:
    operations: list[Operation] = []
    for policy_id, policy in wanted.items():
        found = observed.get(policy_id)
        if found is None:
            operations.append(AddPolicy(policy))
        elif (found.action, found.priority, found.template) != (
            policy.action,
            policy.priority,
            policy.template,
        ):
            operations.append(UpdatePolicy(policy))
    return operations
