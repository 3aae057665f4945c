"""The block policies of an endpoint, written anew when another node gets it or has given it."""

from collections.abc import Mapping

from netlink.interface import Kernel
from netlink.model import Policy, PolicyId, UpdatePolicy
from sad.mechanisms.refusals import refusal_of, typed_refusals


async def rewrite(kernel: Kernel, standing: Mapping[PolicyId, Policy]) -> None:
    """Write block policies of endpoints, whatever stands in their place. Raises KernelRefused.

    One commit, so what is blocked is blocked at once, whatever the number of sets.
    """
    operations = [UpdatePolicy(policy) for policy in standing.values()]
    with typed_refusals("block policies of an endpoint"):
        outcomes = await kernel.commit(operations)
    for operation, error in zip(operations, outcomes, strict=True):
        if error is not None:
            raise refusal_of(operation, error)
