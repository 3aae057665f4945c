"""Two user agents' calls, time, foreign hands and faults in any order, against the model.

The model (:mod:`tests.oracle`) is written from the standards and design 6 and 7. What runs at the
same time must come out as if one call had come after the other.
"""

import asyncio
import dataclasses
import errno
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from netlink.model import Direction
from sad.model.requests import Flow
from tests.oracle import sets as model
from tests.oracle.bench import NODE, Bench
from tests.oracle.calls import Call, Confirm, LosePolicy, LoseSa, Offer, Release, TakeIntoUse
from tests.oracle.serial import comparable, explain
from tests.oracle.sets import Contact, Proposal, SaSet, Sets, State
from tests.oracle.tables import differences, wanted_sas
from tests.support.make import EDGE_ADDRESS, UE_ADDRESS
from tests.support.shell import USER

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """One call as drawn; what it is made to depends on the sets that live then."""

    kind: str
    phone: int
    pick: int
    value: int


KINDS = (
    "initial",
    "initial",
    "on a set",
    "on a set",
    "repeated",
    "confirm",
    "confirm",
    "confirm",
    "refresh",
    "take",
    "take",
    "release",
    "release all",
    "linger",
    "lose SA",
    "lose policy",
)
PLANS = st.builds(
    Plan, st.sampled_from(KINDS), st.integers(0, 1), st.integers(0, 5), st.integers(0, 7)
)
TURNS = st.lists(st.integers(0, 6), max_size=12)
EXPIRES = (1, 60, 600, 600, 3600, 7200, 604_800, 90)
LINGERS = (1, 8, 32, 64, 100, 127, 128, 128)


class Lifetimes(RuleBasedStateMachine):
    """The daemon and the model, side by side; rules that need no power over kernel and time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bench = Bench()
        self.sets: Sets = ()
        self.identities = ("alice@ims.example", "bob@ims.example")
        self.addresses = (UE_ADDRESS, UE_ADDRESS)
        self.drawn = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Have it done in the machine's loop."""
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 60))

    def teardown(self) -> None:
        self.run(self.bench.kill())
        self.loop.close()

    @property
    def now(self) -> float:
        """The daemon's clock."""
        return self.bench.clock.boottime()

    # --- beginning -------------------------------------------------------------------------------

    @initialize(behind_one_address=st.booleans())
    def begin(self, *, behind_one_address: bool) -> None:
        """Begin with two phones, each at its address or both behind one."""
        self.addresses = (UE_ADDRESS, UE_ADDRESS if behind_one_address else "10.10.0.3")

        async def start() -> None:
            await self.bench.open()
            await self.bench.bring_strangers()
            await self.bench.start()

        self.run(start())

    # --- calls -----------------------------------------------------------------------------------

    @rule(plan=PLANS)
    def one_call(self, plan: Plan) -> None:
        """One after the other."""
        self.happen([plan], ())

    @rule(plans=st.lists(PLANS, min_size=2, max_size=3), turns=TURNS)
    def calls_together(self, plans: list[Plan], turns: list[int]) -> None:
        """Started in one turn of the loop; kernel and journal answer late."""
        self.happen(plans, turns)

    @rule(phone=st.integers(0, 1), value=st.integers(0, 7))
    def register_on_a_set(self, phone: int, value: int) -> None:
        """Matrix rows 3 to 5 in a row: what chance seldom brings about."""
        for kind in ("on a set", "confirm newest", "take newest")[: 1 + value % 3]:
            self.happen([Plan(kind, phone, value, value)], ())

    @rule(phone=st.integers(0, 1), value=st.integers(0, 7))
    def register_in_clear(self, phone: int, value: int) -> None:
        """Matrix rows 1 and 2."""
        for kind in ("initial", "confirm newest"):
            self.happen([Plan(kind, phone, value, value)], ())

    @rule(plans=st.lists(PLANS, min_size=1, max_size=2), number=st.integers(1, 4), turns=TURNS)
    def journal_full_for_one_call(self, plans: list[Plan], number: int, turns: list[int]) -> None:
        """Design 8: what cannot be recorded is not done; what ends ends all the same."""
        journal = self.bench.journal
        journal.failing = {journal.calls + number}
        self.happen(plans, turns, faulty=True)
        journal.failing = set()

    def happen(self, plans: Sequence[Plan], turns: Sequence[int], *, faulty: bool = False) -> None:
        """Make calls of what was drawn, have them happen, and find the order that explains."""
        calls = [call for call in map(self.call, plans) if call is not None]
        happened = self.run(self.bench.together(calls, turns, faulty=faulty))
        self.sets = explain(self.sets, happened, self.now, self.bench.listed())

    def call(self, plan: Plan) -> Call | None:
        """Return the call of a plan, None where there is nothing that it could be about."""
        mine = [s for s in self.sets if s.proposal.identity == self.identities[plan.phone]]
        if plan.kind == "initial":
            return Offer(self.proposal(plan))
        if plan.kind == "lose policy":
            return self.policy_to_lose(plan)
        temporary = [s for s in mine if s.state is State.TEMPORARY]
        if plan.kind == "repeated":
            mine = temporary
        if not mine:
            return None
        one = mine[-1 if plan.kind.endswith("newest") else plan.pick % len(mine)]
        match plan.kind:
            case "on a set":
                settled = [s for s in mine if s.state is not State.TEMPORARY]
                return self.offer_on(settled[plan.pick % len(settled)], plan) if settled else None
            case "repeated":
                on = model.named(self.sets, one.proposal.on or "")
                # Where its set has gone a retransmission cannot come on it.
                return Offer(one.proposal, on) if one.proposal.on is None or on else None
            case "confirm" | "confirm newest" | "refresh":
                return Confirm(one.name, EXPIRES[plan.value])
            case "take" | "take newest":
                return TakeIntoUse(one.name)
            case "release":
                return Release(one.name)
            case "release all":
                return Release(one.name, linger=64 * (plan.value % 2), whole=True)
            case "linger":
                return Release(one.name, linger=LINGERS[plan.value])
            case "lose SA":
                sas = sorted(wanted_sas((one,), NODE), key=lambda i: (i.destination, i.spi))
                return LoseSa(one.name, sas[plan.value % 4])
            case other:
                raise AssertionError(other)

    def proposal(self, plan: Plan) -> Proposal:
        """Return what a phone proposes in clear: its ports, or after a reboot others."""
        self.drawn += 1
        base = 6300 + 1000 * plan.phone + 100 * (plan.value % 2)
        return Proposal(
            identity=self.identities[plan.phone],
            contact=Contact(self.addresses[plan.phone], base),
            port_uc=base + 1 + plan.pick % 3,
            spi_uc=20_000 + 2 * self.drawn,
            spi_us=20_001 + 2 * self.drawn,
            transaction=self.drawn,
        )

    def offer_on(self, on: SaSet, plan: Plan) -> Offer:
        """Return what a phone proposes on a set: the contact stays (T33-7.1-g)."""
        proposed = self.proposal(plan)
        port_uc = on.contact.port_us + 1 + plan.value
        proposal = dataclasses.replace(proposed, contact=on.contact, port_uc=port_uc, on=on.name)
        return Offer(proposal, on)

    def policy_to_lose(self, plan: Plan) -> LosePolicy | None:
        """Return any policy of ours, the blocks of the endpoint too."""
        _, policies = self.run(self.bench.dumps())
        ours = [p.id for p in policies if p.id.selector.owner == NODE.owner]
        return LosePolicy(ours[(7 * plan.pick + plan.value) % len(ours)]) if ours else None

    # --- foreign hands, restarts -----------------------------------------------------------------

    @rule()
    def sad_is_flushed(self) -> None:
        """Somebody's ``ip xfrm state flush``: keys are not kept, so every set ends."""
        self.bench_flush(sas=True)
        self.sets = ()

    @rule()
    def spd_is_flushed(self) -> None:
        """Somebody's ``ip xfrm policy flush``: all of it comes back, the blocks too."""
        self.bench_flush(sas=False)

    def bench_flush(self, *, sas: bool) -> None:
        """Flush, and give the strangers back what is theirs."""

        async def flush() -> None:
            self.bench.flush(sas=sas)
            await self.bench.bring_strangers()
            await self.bench.settle()

        self.run(flush())

    @rule()
    def daemon_is_killed_and_started(self) -> None:
        """Design 8: a life after ``kill -9`` goes on with all that was there."""

        async def restart() -> None:
            await self.bench.kill()
            await self.bench.start()

        self.run(restart())

    # --- what holds always -----------------------------------------------------------------------

    @precondition(lambda self: self.bench.started)
    @invariant()
    def daemon_kernel_and_journal_agree_with_the_model(self) -> None:
        """Sets, states, deadlines; SAs, policies, reqids, limits; rows; flows."""
        assert self.bench.listed() == comparable(self.sets)
        self.check_kernel()
        report = self.run(self.bench.second_look())
        assert (report.repaired, report.removed, report.ended) == (0, 0, 0), report
        self.check_journal()
        self.check_flows()

    def check_kernel(self) -> None:
        """Nothing of ours is more or less than the model says; strangers are untouched."""
        sas, policies = self.run(self.bench.dumps())
        clock = self.bench.clock
        found = differences(
            self.sets,
            NODE,
            sas,
            policies,
            to_realtime=clock.realtime() - clock.boottime(),
            realtime=clock.realtime(),
        )
        assert not found, "\n".join(found)
        assert [sa.id.spi for sa in sas if sa.selector.owner != NODE.owner] == [4242]
        strangers = [p for p in policies if p.id.selector.owner != NODE.owner]
        assert [(p.priority, p.id.direction) for p in strangers] == [(7, Direction.OUT)]

    def check_journal(self) -> None:
        """Design 8: but a row that says "removing" may stay where the journal was full.

        ``policies_until`` may be later than the journal says: it is then renewed once too often.
        """
        table = {a.id: structs.replace(a, policies_until=0) for a in self.bench.table()}
        rows = {
            i: structs.replace(a, policies_until=0) for i, a in self.bench.journal.rows.items()
        }
        left = [a for i, a in rows.items() if i not in table]
        assert {i: rows.get(i) for i in table} == table
        assert not left or self.bench.journal.refused, left

    def check_flows(self) -> None:
        """T24-P-9: what is sent goes on the set that the model says."""
        for one in self.sets:
            if not one.granted:
                continue
            flow = Flow(
                peer_address=one.contact.address,
                peer_port=one.contact.port_us,
                local_address=EDGE_ADDRESS,
                local_port=NODE.port_ps,
            )
            carrier = model.carrying(model.of_contact(self.sets, one.contact))
            assert carrier is not None
            assert self.bench.shell.service.find(USER, flow).outbound.id == carrier.name


class TimedLifetimes(Lifetimes):
    """And the rules that need it."""

    @rule(plans=st.lists(PLANS, min_size=1, max_size=2), number=st.integers(1, 40), turns=TURNS)
    def kernel_refuses_a_message(self, plans: list[Plan], number: int, turns: list[int]) -> None:
        """Design 7: a set is all or nothing."""
        self.bench.shell.kernel.fail_message(number, errno.ENOMEM)
        self.happen(plans, turns, faulty=True)
        self.bench.shell.kernel.heal()

    @rule(plan=PLANS, applied=st.integers(0, 14))
    def answers_are_lost(self, plan: Plan, applied: int) -> None:
        """Design 7: success is only what the kernel confirmed."""
        self.bench.shell.kernel.lose_answers(applied=applied)
        self.happen([plan], (), faulty=True)
        self.bench.shell.kernel.heal()

    @rule(seconds=st.sampled_from([0.5, 1, 29.5, 128, 240, 3600, 50_000]))
    def time_passes(self, seconds: float) -> None:
        """T24-P-12: what is over goes."""
        self.elapse(seconds)

    @precondition(lambda self: self.sets)
    @rule(pick=st.integers(0, 5), off=st.sampled_from([-1.0, -0.001, 0.0, 0.001, 1.0, 15.5, 20.0]))
    def time_passes_to_a_deadline(self, pick: int, off: float) -> None:
        """Just before it nothing ends, at it all of it."""
        one = self.sets[pick % len(self.sets)]
        self.elapse(max(0.0, one.deadline - self.now + off))

    def elapse(self, seconds: float) -> None:
        """Let time pass for both."""
        self.run(self.bench.elapse(seconds))
        self.sets = model.passed(self.sets, self.now)

    @rule()
    def notices_are_lost(self) -> None:
        """An overrun alone changes nothing."""

        async def overrun() -> None:
            self.bench.tables.overrun()
            await self.bench.settle()

        self.run(overrun())

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0, 239.0, 250.0]))
    def daemon_is_restarted(self, seconds: float) -> None:
        """Design 8: a life after ``kill -9`` goes on with all that is not over."""

        async def restart() -> None:
            await self.bench.kill()
            self.bench.clock.advance(seconds)
            await self.bench.start()

        self.run(restart())
        self.sets = model.passed(self.sets, self.now)
