"""Adding SAs of a set again that somebody else has taken out of the kernel."""

from collections.abc import Callable, Sequence

from netlink.interface import Kernel
from netlink.model import AddSa
from sad.core.desired import NamedSa
from sad.mechanisms.refusals import refusal_of, typed_refusals
from sad.model.association import Association
from sad.model.errors import Lost


async def add_missing(
    kernel: Kernel,
    named: Sequence[NamedSa],
    association: Association,
    plan: Callable[[Sequence[NamedSa]], tuple[AddSa, ...]],
) -> tuple[str, ...]:
    """Add what is missing and return its names; what stands is not touched.

    ``plan`` says how it is added. Raises Lost if somebody else's SA stands in the place of one,
    and KernelRefused: what was added until then is left to the ending of the set.
    """
    missing = [n for n in named if await _is_missing(kernel, n)]
    operations = plan(missing)
    with typed_refusals(f"SAs of association {association.id}"):
        outcomes = await kernel.commit(operations)
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
