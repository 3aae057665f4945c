"""What must be after each call, said again and apart from the product: the matrix of the norms.

A world is the sets that live, oldest first. :func:`after` is what a call makes of it; a call that
was cut off leaves one of :func:`outcomes`. Deadlines are spans of real time: nobody knows at
which instant between call and answer the daemon looked at its clock.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

REG_AWAIT_AUTH: Final = 240.0
MARGIN: Final = 30.0
RETIRING: Final = 576.0  # 64*T1 with the T1 of SETTINGS
BACKSTOP: Final = 15.0
LINGER: Final = 600

#: Nothing may end by itself while a busy machine plays a scenario with all its restarts.
SETTINGS: Final = "[lifetimes]\nt1_milliseconds = 9000\nmax_linger_seconds = 600\n"

Span: TypeAlias = tuple[float, float]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SetModel:
    """One SA set. ``name`` is the peer's address and spi_uc, which the phone chose.

    ``identifier`` and ``own`` (spi_pc, spi_ps, port_pc) are the daemon's choice: unknown until an
    answer tells. ``offered_on`` is the set of its REGISTER, "" for an unprotected one, None once
    confirmed and for sets of Install.
    """

    name: tuple[str, int]
    identity: str
    port_uc: int
    port_us: int
    state: str
    deadline: Span
    offered_on: str | None = None
    identifier: str | None = None
    own: tuple[int, int, int] | None = None

    @property
    def registration(self) -> tuple[str, int]:
        return self.name[0], self.port_us


World: TypeAlias = tuple[SetModel, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call by its method, with the set that it names or makes."""

    method: str
    target: SetModel | None = None
    identifier: str | None = None
    seconds: int = 0
    whole: bool = False
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


def after(world: World, call: Call, span: Span) -> World:
    """Return the world after a call that ran within ``span``; a repeated one changes nothing."""
    if call.method in {"Install", "Offer"}:
        assert call.target is not None
        if not _is_new(world, call):
            return world
        rest = tuple(s for s in world if s not in replaced_by_offer(world, call))
        made = dataclasses.replace(call.target, deadline=_in(span, call.seconds or REG_AWAIT_AUTH))
        return (*rest, made)
    if call.method == "Reconcile":
        return world
    named = next((s for s in world if s.identifier == call.identifier), None)
    if named is None:
        return world
    change = {"Confirm": _confirm, "TakeIntoUse": _take, "Release": _release}[call.method]
    return change(world, named, call, span)


def outcomes(world: World, call: Call, span: Span) -> Iterator[World]:
    """Yield what may be after a call without an answer: nothing of it, or all.

    And an Offer that was to replace sets whose challenge nobody answered may have ended those
    (T33-7.3.1.4: the previous state is dropped, then the new challenge).
    """
    yield world
    yield after(world, call, span)
    if replaced := replaced_by_offer(world, call):
        yield tuple(s for s in world if s not in replaced)


def replaced_by_offer(world: World, call: Call) -> World:
    """Return the temporary sets that an Offer takes the place of (T33-7.3.1.4, T24-P-6)."""
    new = call.target
    if call.method != "Offer" or new is None or not _is_new(world, call):
        return ()
    return tuple(
        s
        for s in world
        if s.state == "temporary"
        and s.identity == new.identity
        and (
            s.registration == new.registration
            if new.offered_on
            else (s.name[0], s.port_uc) == (new.name[0], new.port_uc)
        )
    )


def _is_new(world: World, call: Call) -> bool:
    """Whether it is no repetition: the harness gives each REGISTER its own spi_uc."""
    assert call.target is not None
    return all(s.name != call.target.name for s in world)


def _confirm(world: World, named: SetModel, call: Call, span: Span) -> World:
    low, high = _in(span, call.seconds + MARGIN)
    confirmed = dataclasses.replace(
        named,
        state="established" if named.state == "temporary" else named.state,
        deadline=(max(named.deadline[0], low), max(named.deadline[1], high)),
        offered_on=None,
    )
    if named.offered_on == "":  # T24-P-8: in use at once, all older ones of the identity go
        confirmed = dataclasses.replace(confirmed, state="inUse")
        older = {s.name for s in _before(world, named) if s.identity == named.identity}
    elif named.offered_on is not None:  # matrix row 4
        same = (s for s in _before(world, named) if s.registration == named.registration)
        older = {s.name for s in same if s.identifier != named.offered_on}
    else:
        older = set()
    kept = (s for s in world if s.name not in older)
    return tuple(confirmed if s.name == named.name else s for s in kept)


def _take(world: World, named: SetModel, _call: Call, span: Span) -> World:
    if named.state != "established":
        return world
    older = {
        s.name
        for s in _before(world, named)
        if s.registration == named.registration and s.state != "temporary"
    }
    return tuple(
        dataclasses.replace(s, state="inUse")
        if s.name == named.name
        else _retire(s, RETIRING, span)
        if s.name in older
        else s
        for s in world
    )


def _release(world: World, named: SetModel, call: Call, span: Span) -> World:
    meant = {
        s.name
        for s in world
        if s.name == named.name or (call.whole and s.registration == named.registration)
    }
    if not call.seconds:
        return tuple(s for s in world if s.name not in meant)
    return tuple(_retire(s, call.seconds, span) if s.name in meant else s for s in world)


def _retire(set_: SetModel, seconds: float, span: Span) -> SetModel:
    low, high = _in(span, seconds)
    cut = (min(set_.deadline[0], low), min(set_.deadline[1], high))
    return dataclasses.replace(set_, state="retiring", deadline=cut)


def _before(world: World, named: SetModel) -> World:
    return world[: [s.name for s in world].index(named.name)]


def _in(span: Span, seconds: float) -> Span:
    return span[0] + seconds, span[1] + seconds
