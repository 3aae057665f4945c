"""Adding SAs of a set again that somebody else has taken out of the kernel."""

from collections.abc import Sequence

from netlink.interface import Kernel
from netlink.model import SaKeys
from sad.core.desired import NamedSa
from sad.core.rebuilding import plan_rebuild
from sad.mechanisms.refusals import refusal_of, typed_refusals
from sad.model.association import Association
from sad.model.errors import Lost
from sad.model.key_record import KeyRecord


async def add_missing(
    kernel: Kernel,
    named: Sequence[NamedSa],
    association: Association,
    record: KeyRecord,
    keys: SaKeys,
) -> tuple[str, ...]:
    """Add what is missing and return its names; what stands is not touched. Wipes the keys.

    Raises Lost if somebody else's SA stands in the place of one, and KernelRefused: what was
    added until then is left to the ending of the set.
    """
    try:
        missing = [n for n in named if await _is_missing(kernel, n)]
        operations = plan_rebuild(missing, association, record, keys)
        with typed_refusals(f"SAs of association {association.id}"):
            outcomes = await kernel.commit(operations)
    finally:
        keys.integrity.wipe()
        keys.encryption.wipe()
    for operation, error in zip(operations, outcomes, strict=True):
        if error is not None:
            raise refusal_of(operation, error, named)
    return tuple(n.name for n in missing)


async def _is_missing(kernel: Kernel, named: NamedSa) -> bool:
    with typed_refusals(named.name):
        observed = await kernel.get_sa(named.sa.id)
    if observed is None:
        return True
    if observed.selector != named.sa.selector or observed.reqid != named.sa.reqid:
        raise Lost(named.name)
    return False
