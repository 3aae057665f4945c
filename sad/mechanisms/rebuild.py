"""Adding SAs of a set again that somebody else has taken out of the kernel."""

from collections.abc import Sequence

from netlink.interface import Kernel
from sad.core.desired import NamedSa
from sad.core.rebuilding import plan_rebuild
from sad.mechanisms.refusals import refusal_of, typed_refusals
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association
from sad.model.errors import Lost
from sad.model.key_record import KeyRecord


async def add_missing(
    kernel: Kernel, named: Sequence[NamedSa], association: Association, record: KeyRecord
) -> tuple[str, ...]:
    """Add what is missing of SA1 to SA4 and return its names; what stands is not touched.

    Raises Lost if somebody else's SA stands in the place of one, and KernelRefused: what was
    added until then is left to the ending of the set.
    """
    missing = [n for n in named if await _is_missing(kernel, n)]
    s = association.sa_set
    pair = AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm)
    keys = derive_keys(pair, record.integrity_key, record.cipher_key)
    operations = plan_rebuild(missing, association, record, keys)
    try:
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
