"""From the daemon's values to the shapes of what operators ask. Pure.

A part of :mod:`sad.api.conversion`.
"""

from sad.api import messages
from sad.api.instants import microseconds
from sad.model.inspection import (
    CheckResult,
    Finding,
    FlowExplanation,
    HistoryStep,
    PacketFate,
    PolicyState,
    PoolUse,
)


def history(steps: tuple[HistoryStep, ...]) -> tuple[messages.HistoryStep, ...]:
    """Show the steps of a life."""
    return tuple(
        messages.HistoryStep(step=s.step, at=microseconds(s.at), times=s.times) for s in steps
    )


def policies(states: tuple[PolicyState, ...]) -> tuple[messages.PolicyState, ...]:
    """Show policies."""
    return tuple(
        messages.PolicyState(
            direction=p.direction,
            action=p.action,
            source=p.source,
            destination=p.destination,
            protocol=p.protocol or None,
            priority=p.priority,
            reqid=p.reqid,
            ours=p.ours,
        )
        for p in states
    )


def pools(uses: tuple[PoolUse, ...]) -> tuple[messages.PoolUse, ...]:
    """Show pools."""
    return tuple(
        messages.PoolUse(name=p.name, endpoint=p.endpoint or None, used=p.used, size=p.size)
        for p in uses
    )


def findings(found: tuple[Finding, ...]) -> tuple[messages.Finding, ...]:
    """Show findings."""
    return tuple(messages.Finding(what=f.what, text=f.text) for f in found)


def explanation(explained: FlowExplanation) -> messages.ExplainOut:
    """Show why packets are protected or not."""
    return messages.ExplainOut(
        association=explained.association_id or None,
        endpoint=explained.endpoint or None,
        fates=tuple(map(_fate, explained.fates)),
    )


def _fate(fate: PacketFate) -> messages.PacketFate:
    return messages.PacketFate(
        direction="in" if fate.inbound else "out",
        verdict=fate.verdict,
        findings=findings(fate.findings),
        hint=fate.hint,
    )


def check(results: tuple[CheckResult, ...]) -> messages.CheckOut:
    """Show what was looked at."""
    return messages.CheckOut(
        results=tuple(
            messages.CheckResult(what=r.what, fitness=r.fitness, text=r.text, hint=r.hint)
            for r in results
        )
    )
