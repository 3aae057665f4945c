"""What a charon that was killed leaves in the kernel: SAs and policies that nobody rekeys or ends.

They are charon's and not ours as long as it lives. Of one that has died exactly those go that it
told us of: the SAs by address and SPI, and the policies with a child's own selectors and reqid.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from netlink.errors import DumpInterrupted, KernelError, OutcomeUnknown
from netlink.interface import Kernel
from netlink.model import DeletePolicy, DeleteSa, ObservedPolicy, Operation, SaId
from sad.model.ike_child import IkeChild
from sad.vici.values import ChildSa

log = logging.getLogger(__name__)

_GONE: Final = frozenset({"ESRCH", "ENOENT"})


async def remove_orphans(
    kernel: Kernel, children: Iterable[tuple[IkeChild, ChildSa]], living: Collection[int] = ()
) -> int:
    """Remove what is left of children; ``living`` are reqids of a charon that lives again.

    Return how many there were. What cannot be removed ends with its life_time.
    """
    left = tuple(children)
    try:
        policies = await kernel.dump_policies()
        operations = [*_sas(left), *_policies(left, policies, living)]
        outcomes = await kernel.commit(operations) if operations else ()
    except (KernelError, OutcomeUnknown, DumpInterrupted) as error:
        log.warning("SAs of a dead charon could not be removed: %s", type(error).__name__)
        return 0
    for outcome in outcomes:
        if outcome is not None and outcome.name not in _GONE:
            log.warning("something of a dead charon could not be removed: %s", outcome)
    return sum(outcome is None for outcome in outcomes)


def _sas(children: Iterable[tuple[IkeChild, ChildSa]]) -> Iterator[Operation]:
    for where, child in children:
        if child.spi_in:
            yield DeleteSa(SaId(where.local_address, child.spi_in))
        if child.spi_out:
            yield DeleteSa(SaId(where.peer_address, child.spi_out))


def _policies(
    children: Iterable[tuple[IkeChild, ChildSa]],
    policies: Iterable[ObservedPolicy],
    living: Collection[int],
) -> Iterator[Operation]:
    # Last, so that nothing passes in clear meanwhile.
    owners = {
        frozenset((where.local_address, where.peer_address)): set[int]() for where, _ in children
    }
    ports: dict[frozenset[str], set[int]] = {ends: set() for ends in owners}
    for where, child in children:
        ends = frozenset((where.local_address, where.peer_address))
        owners[ends].add(child.reqid)
        ports[ends].update(where.local_ports)
    for policy in policies:
        selector = policy.id.selector
        ends = frozenset((selector.source, selector.destination))
        template = policy.template
        if template is None or selector.owner or template.reqid not in owners.get(ends, ()):
            continue
        ours = {selector.source_port, selector.destination_port} & ports[ends]
        if ours and template.reqid not in living:
            yield DeletePolicy(policy.id)
