"""Calls that run at the same time must come out as if one had come after the other.

The judge: some order of the calls explains every answer and what is there afterwards.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sad.model.views import Offered
from tests.oracle.calls import (
    FAULTS,
    Answer,
    Call,
    LoseSa,
    Offer,
    Release,
    as_granted,
    refusal_name,
    set_of,
)
from tests.oracle.sets import Outcome, SaSet, Sets


@dataclass(frozen=True, slots=True)
class Happened:
    """Calls that ran together with their answers (an exception: refused).

    ``faulty``: kernel or journal failed meanwhile, so that any may have been refused for it.
    """

    calls: Sequence[Call]
    answers: Sequence[Answer]
    faulty: bool = False


def explain(before: Sets, happened: Happened, now: float, seen: Mapping[str, SaSet]) -> Sets:
    """Return what is there by the order that explains all of it; AssertionError if none does."""
    tried: list[str] = []
    explained: list[Sets] = []
    for order in itertools.permutations(range(len(happened.calls))):
        for after in _ends(before, order, happened, now, tried):
            if comparable(after) == seen:
                explained.append(after)
                continue
            tried.append(_difference(after, seen))
    if explained:
        # Of what was made together the daemon's list tells which is older (T24-P-8).
        return next((e for e in explained if list(comparable(e)) == list(seen)), explained[0])
    said = "\n".join(
        f"  {call} -> {answer!r}"
        for call, answer in zip(happened.calls, happened.answers, strict=True)
    )
    sets = "\n".join(f"  {s}" for s in before)
    why = "\n".join(f"  {t}" for t in dict.fromkeys(tried))
    raise AssertionError(f"no order explains\n{said}\nwith, before,\n{sets}\nbecause\n{why}")


def comparable(sets: Sets) -> dict[str, SaSet]:
    """Return sets by name without what the daemon forgets at Confirm."""
    return {s.name: _told(s) for s in sets}


def _told(one: SaSet) -> SaSet:

    return dataclasses.replace(
        one, proposal=dataclasses.replace(one.proposal, on=None, transaction=0)
    )


def _difference(after: Sets, seen: Mapping[str, SaSet]) -> str:
    wanted = comparable(after)
    parts = [f"{name} should be there: {wanted[name]}" for name in wanted.keys() - seen.keys()]
    parts += [f"{name} should be gone: {seen[name]}" for name in seen.keys() - wanted.keys()]
    parts += [
        f"{seen[name]} should be {wanted[name]}"
        for name in seen.keys() & wanted.keys()
        if seen[name] != wanted[name]
    ]
    return "; ".join(parts)


def _ends(
    sets: Sets, order: Sequence[int], happened: Happened, now: float, tried: list[str]
) -> Iterator[Sets]:
    if not order:
        yield sets
        return
    number, *rest = order
    call, answer = happened.calls[number], happened.answers[number]
    for outcome in _outcomes(call, sets, happened, now):
        why = _mismatch(call, outcome, answer)
        if why is None:
            yield from _ends(_filled(call, outcome, answer), rest, happened, now, tried)
        else:
            tried.append(why)


def _outcomes(call: Call, sets: Sets, happened: Happened, now: float) -> Iterator[Outcome]:
    ideal = call.expect(sets, now)
    yield ideal
    foreign = any(isinstance(c, LoseSa) for c in happened.calls)
    if happened.faulty or foreign:
        yield Outcome(sets, FAULTS)
        # What it would have replaced is gone, or what it was to end is ended later on.
        yield Outcome(tuple(s for s in ideal.sets if s.name), FAULTS)
        if isinstance(call, Release):  # each set of a registration is released by itself
            for some in _subsets(sets, ideal.sets):
                yield Outcome(some, FAULTS)


def _subsets(before: Sets, after: Sets) -> Iterator[Sets]:
    becomes = {s.name: s for s in after}
    changed = [s.name for s in before if becomes.get(s.name) != s]
    for count in range(1, len(changed)):
        for done in itertools.combinations(changed, count):
            some = (becomes.get(s.name) if s.name in done else s for s in before)
            yield tuple(s for s in some if s is not None)


def _mismatch(call: Call, outcome: Outcome, answer: Answer) -> str | None:
    refused = refusal_name(answer)
    if outcome.refused:
        if refused in outcome.refused:
            return None
        return f"{call} should be refused by {set(outcome.refused)}, not {refused or 'done'}"
    if refused is not None:
        return f"{call} should be done, not {answer!r}"
    return call.mismatch(outcome, answer)


def _filled(call: Call, outcome: Outcome, answer: Answer) -> Sets:
    if not isinstance(call, Offer) or not isinstance(answer, Offered):
        return outcome.sets
    granted = set_of(answer.association, call.proposal)
    return tuple(s if s.name else as_granted(s, granted) for s in outcome.sets)
