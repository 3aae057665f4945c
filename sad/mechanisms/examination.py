"""The comparison of the kernel with the table, in slices that leave the loop its turns.

The counterpart of :mod:`sad.core.reconcile`, which decides; here are the dumps and the clock.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from netlink.interface import Kernel
from sad.core.reconcile import Comparison, Findings, Instant
from sad.mechanisms.refusals import typed_refusals

SLICE_SECONDS: Final = 0.004
#: Registrations that are adopted between two looks at the clock: a look can cost more than one.
_ADOPTED_AT_ONCE: Final = 32


class _Slice:
    """A stretch of work without a turn of the loop."""

    def __init__(self) -> None:
        self._end = time.monotonic() + SLICE_SECONDS

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._end

    async def end(self) -> None:
        """Give everybody a turn and begin anew."""
        await asyncio.sleep(0)
        self._end = time.monotonic() + SLICE_SECONDS


async def examine(
    kernel: Kernel, comparison: Comparison, instant: Callable[[], Instant]
) -> AsyncIterator[Findings]:
    """Dump the kernel and yield what differs, slice by slice.

    Between the judgement of a slice and its yield nothing else runs: what must be done about it
    is sent before the next ``await`` of the receiver that gives the loop a turn.
    """
    with typed_refusals("the dump of SAs and policies"):
        sas = await kernel.dump_sas(comparison.recognition.sas)
        policies = await kernel.dump_policies(comparison.recognition.policies)
    slice_ = _Slice()
    for _ in comparison.take(sas, policies):
        if slice_.over:
            await slice_.end()
    del sas, policies
    pieces = [comparison.judge_standing()]
    adopted: list[str] = []
    at = instant()
    for registration in comparison.registrations():
        known = comparison.adopt(registration, at)
        if known is None:
            pieces.append(comparison.judge(registration, at))
        else:
            adopted.append(known)
            if len(adopted) % _ADOPTED_AT_ONCE:
                continue
        if slice_.over:
            yield Findings.together([Findings(adopted=tuple(adopted)), *pieces])
            await slice_.end()
            pieces, adopted, at = [], [], instant()
    yield Findings.together([Findings(adopted=tuple(adopted)), *pieces])
    await slice_.end()
    for strays in comparison.strays():
        yield strays
        if slice_.over:
            await slice_.end()
