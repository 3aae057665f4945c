"""The ownership of an endpoint: nodes, an etcd, and any order of what may happen between them."""

import dataclasses
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sad.cluster.events import (
    Action,
    Claim,
    ClaimLost,
    ClaimWon,
    Do,
    Event,
    Install,
    Installed,
    LeaseLost,
    Released,
    Renewed,
    Seen,
    Silent,
    StartedBlind,
    TakenOut,
    TakeoverGivenUp,
    TakeoverWanted,
    TimePassed,
)
from sad.cluster.ownership import TRANSITIONS, IllegalEvent, Lease, Ownership, step
from sad.model.cluster import OwnershipMode, OwnershipState

LEASE = Lease(ttl=3.0, margin=1.0)
STANDBY, TAKING, OWNER = OwnershipState.STANDBY, OwnershipState.TAKING, OwnershipState.OWNER
UNSURE, YIELDING = OwnershipState.UNSURE, OwnershipState.YIELDING
AUTOMATIC, MANUAL, FIXED = OwnershipMode.AUTOMATIC, OwnershipMode.MANUAL, OwnershipMode.FIXED
NODES = ("a", "b")


def at(**values: Any) -> Ownership:
    """An endpoint at node a."""
    return Ownership(**({"endpoint": "access", "node": "a", "mode": MANUAL} | values))


def after(ownership: Ownership, *events: Event, now: float = 0.0) -> Ownership:
    for event in events:
        ownership, _ = step(ownership, event, LEASE, now)
    return ownership


def owning(mode: OwnershipMode = MANUAL, epoch: int = 5) -> Ownership:
    """Node a owns it."""
    held = "a" if mode is AUTOMATIC else ""
    return at(
        mode=mode,
        state=OWNER,
        epoch=epoch,
        highest=epoch,
        claimed=True,
        renewed_at=0.0,
        seen=Seen(owner="a", epoch=epoch, held=held),
    )


@pytest.mark.parametrize(
    ("mode", "seen", "claims"),
    [
        (MANUAL, Seen(), False),
        (MANUAL, Seen(address_here=True), True),  # a new cluster: where the address is
        (MANUAL, Seen(owner="b", epoch=4, address_here=True), False),
        (MANUAL, Seen(owner="", epoch=4, address_here=True), False),  # released: to whoever asked
        (MANUAL, Seen(owner="a", epoch=4), True),  # its own of before a restart
        (AUTOMATIC, Seen(), True),
        (AUTOMATIC, Seen(owner="b", epoch=4, held="b"), False),
        (AUTOMATIC, Seen(owner="b", epoch=4), True),
        (AUTOMATIC, Seen(owner="b", epoch=4, asked_by="c"), False),
        (FIXED, Seen(), True),
        (FIXED, Seen(owner="b", epoch=4), False),
    ],
)
def test_who_claims_without_being_told(mode: OwnershipMode, seen: Seen, *, claims: bool) -> None:
    """By mode: the address, the lease, or nobody else."""
    ownership, actions = step(at(mode=mode), seen, LEASE, 0.0)
    assert (ownership.state is TAKING) is claims
    assert actions == ((Claim(expected=seen.epoch),) if claims else ())


def test_an_epoch_of_before_is_not_followed() -> None:
    """A backup shows an owner of long ago: a standby waits, an owner claims anew."""
    standby = at(highest=9)
    assert step(standby, Seen(owner="a", epoch=4), LEASE, 0.0)[1] == ()
    assert step(at(mode=AUTOMATIC, highest=9), Seen(epoch=4), LEASE, 0.0)[1] == ()
    kept, actions = step(owning(epoch=9), Seen(owner="b", epoch=4), LEASE, 0.0)
    assert kept.state is OWNER
    assert actions == (Claim(expected=4, over_lease=True),)
    assert after(kept, ClaimWon(6)).epoch == 6
    followed = after(standby, Seen(owner="b", epoch=6))
    assert followed.highest == 6


def test_an_owner_yields_when_another_has_claimed() -> None:
    """Its sets go out and are forgotten."""
    yielding, actions = step(owning(), Seen(owner="b", epoch=8), LEASE, 0.0)
    assert (yielding.state, actions) == (YIELDING, (Do.TAKE_OUT,))
    standby, actions = step(yielding, TakenOut(), LEASE, 0.0)
    assert (standby.state, standby.epoch, actions) == (STANDBY, 0, (Do.FORGET,))


def test_an_owner_that_is_asked_gives_it_after_its_sets_are_out() -> None:
    """Released last, so that whoever takes it over finds all of it in etcd."""
    seen = Seen(owner="a", epoch=5, asked_by="b")
    yielding, actions = step(owning(), seen, LEASE, 0.0)
    assert actions == (Do.TAKE_OUT,)
    out, actions = step(yielding, TakenOut(), LEASE, 0.0)
    assert (out.state, actions) == (YIELDING, (Do.RELEASE,))
    assert step(out, Seen(owner="a", epoch=5), LEASE, 0.0)[1] == ()
    standby, actions = step(out, Released(), LEASE, 0.0)
    assert (standby.state, standby.epoch, actions) == (STANDBY, 0, (Do.FORGET,))


def test_what_may_have_been_released_is_claimed_anew() -> None:
    """A release whose answer was lost may be done later: it compares the epoch of before."""
    standby = after(owning(), Seen(owner="a", epoch=5, asked_by="b"), TakenOut(), Released())
    assert step(standby, Seen(owner="a", epoch=5), LEASE, 0.0)[1] == (Claim(expected=5),)


def test_a_lease_ends_at_the_owner_first() -> None:
    """From the sending of the last renewal, less the margin; manual ones have none."""
    renewed = after(owning(AUTOMATIC), Renewed(10.0), now=10.2)
    assert after(renewed, TimePassed(), now=11.99).state is OWNER
    assert not renewed.may_serve(LEASE, 12.0)
    assert after(renewed, TimePassed(), now=12.0).state is YIELDING
    assert after(owning(MANUAL), TimePassed(), now=1e9).state is OWNER
    assert after(owning(AUTOMATIC), LeaseLost()).state is YIELDING
    assert after(owning(MANUAL), LeaseLost()).state is OWNER


def test_an_owner_of_a_lease_goes_on_with_its_own_if_nobody_was_in_between() -> None:
    """The epoch stays, and with it what was set aside."""
    gone = after(owning(AUTOMATIC), TimePassed(), TakenOut(), now=5.0)
    assert (gone.state, gone.epoch) == (STANDBY, 5)
    again, actions = step(gone, Seen(owner="a", epoch=5), LEASE, 6.0)
    assert actions == (Claim(expected=5, keep_epoch=True),)
    assert step(again, ClaimWon(5), LEASE, 6.0)[1] == (Install(set_aside=True),)
    assert step(gone, Seen(owner="b", epoch=7, held="b"), LEASE, 6.0)[1] == (Do.FORGET,)


def test_a_start_without_etcd() -> None:
    """What was this node's and needs no lease is served; nothing else."""
    assert after(at(epoch=5), StartedBlind()).state is UNSURE
    assert after(at(epoch=0), StartedBlind()).state is STANDBY
    assert after(at(mode=AUTOMATIC, epoch=5), StartedBlind()).state is STANDBY


def test_a_takeover_asks_an_owner_and_takes_what_is_fenced() -> None:
    """Only --fenced claims over an owner."""
    seen = after(at(), Seen(owner="b", epoch=4))
    asking, actions = step(seen, TakeoverWanted(fenced=False), LEASE, 0.0)
    assert (asking.state, actions) == (STANDBY, (Do.ASK,))
    assert step(asking, Seen(owner="", epoch=6, asked_by="a"), LEASE, 0.0)[1] == (
        Claim(expected=6),
    )
    assert step(asking, TakeoverGivenUp(), LEASE, 0.0)[1] == (Do.ASK_NO_MORE,)
    taking, actions = step(seen, TakeoverWanted(fenced=True), LEASE, 0.0)
    assert (taking.state, actions) == (TAKING, (Claim(expected=4, over_lease=True),))


def test_the_table_is_all_there_is() -> None:
    """Every state has a row; what has no entry is refused."""
    assert set(TRANSITIONS) == set(OwnershipState)
    with pytest.raises(IllegalEvent, match="ClaimWon while standby"):
        step(at(), ClaimWon(1), LEASE, 0.0)


@dataclasses.dataclass
class Etcd:
    """What etcd holds of one endpoint, and the leases."""

    revision: int = 1
    owner: str = ""
    epoch: int = 0
    held: str = ""
    held_revision: int = 0
    asked: str = ""
    leases: dict[str, float] = dataclasses.field(default_factory=dict)

    def expire(self, now: float) -> None:
        for node, until in list(self.leases.items()):
            if until <= now:
                del self.leases[node]
                if self.held == node:
                    self.revision += 1
                    self.held, self.held_revision = "", 0
                if self.asked == node:
                    self.asked = ""


class Cluster(RuleBasedStateMachine):
    """Nodes that hear late, claims whose answers come late or never, leases that end."""

    mode = AUTOMATIC

    @initialize()
    def begin(self) -> None:
        self.now = 100.0
        self.etcd = Etcd()
        self.nodes = {n: at(node=n, mode=self.mode) for n in NODES}
        self.claims: dict[str, tuple[Claim, int]] = {}
        self.held_seen = dict.fromkeys(NODES, 0)
        self.deeds: dict[str, list[Action]] = {n: [] for n in NODES}
        self.renewals: dict[str, float] = {}
        self.releases: list[tuple[str, int]] = []
        self.late = False

    def feed(self, node: str, event: Event) -> None:
        self.nodes[node], actions = step(self.nodes[node], event, LEASE, self.now)
        for action in actions:
            match action:
                case Claim():
                    self.claims[node] = action, self.held_seen[node]
                case Do.ASK:
                    if node in self.etcd.leases:
                        self.etcd.asked = node
                case Do.ASK_NO_MORE:
                    self.etcd.asked = ""
                case Do.FORGET:
                    pass
                case _:
                    self.deeds[node].append(action)

    @rule(node=st.sampled_from(NODES), address=st.booleans())
    def a_node_asks_etcd(self, node: str, address: bool) -> None:
        if node in self.claims:
            return  # it asks and claims in turn
        etcd = self.etcd
        self.held_seen[node] = etcd.held_revision
        self.feed(
            node,
            Seen(
                owner=etcd.owner,
                epoch=etcd.epoch,
                held=etcd.held,
                asked_by=etcd.asked,
                address_here=address,
            ),
        )

    @rule(node=st.sampled_from(NODES), answered=st.booleans())
    def a_claim_arrives(self, node: str, answered: bool) -> None:
        if node not in self.claims:
            return
        (claim, held_revision), etcd = self.claims.pop(node), self.etcd
        leased = self.nodes[node].leased
        holds = etcd.epoch == claim.expected and (not leased or node in etcd.leases)
        if leased and not claim.over_lease:
            holds = holds and etcd.held_revision == held_revision
        if not holds:
            self.feed(node, ClaimLost())
            return
        etcd.revision += 1
        if not claim.keep_epoch:
            etcd.owner, etcd.epoch = node, etcd.revision
        if leased:
            etcd.held, etcd.held_revision = node, etcd.revision
        if etcd.asked == node:
            etcd.asked = ""
        self.feed(node, ClaimWon(etcd.epoch) if answered else ClaimLost())

    @rule(node=st.sampled_from(NODES))
    def a_renewal_is_sent(self, node: str) -> None:
        self.renewals.setdefault(node, self.now)

    @rule(node=st.sampled_from(NODES), answered=st.booleans())
    def a_renewal_arrives(self, node: str, answered: bool) -> None:
        sent_at = self.renewals.pop(node, None)
        if sent_at is None:
            return
        known = node in self.etcd.leases
        self.etcd.leases[node] = self.now + LEASE.ttl
        if not known:
            self.feed(node, LeaseLost())  # it was another lease that it had
        if answered:
            self.feed(node, Renewed(sent_at))

    @rule(node=st.sampled_from(NODES))
    def a_node_is_well(self, node: str) -> None:
        """It hears of everything and does everything, as nodes mostly do."""
        self.a_renewal_is_sent(node)
        self.a_renewal_arrives(node, answered=True)
        for _ in range(2):
            self.a_node_asks_etcd(node, address=True)
            self.a_claim_arrives(node, answered=True)
            while self.deeds[node]:
                self.a_deed_is_done(node)

    @rule(node=st.sampled_from(NODES))
    def a_node_hears_nothing(self, node: str) -> None:
        self.feed(node, Silent())

    @rule(node=st.sampled_from(NODES))
    def a_deed_is_done(self, node: str) -> None:
        if not self.deeds[node]:
            return
        deed = self.deeds[node].pop(0)
        match deed:
            case Install():
                if self.nodes[node].state in (TAKING, YIELDING):
                    self.feed(node, Installed())
            case Do.TAKE_OUT:
                self.feed(node, TakenOut())
            case _:
                self.releases.append((node, self.nodes[node].epoch))
                if not self.late:
                    self.a_release_arrives()
                self.feed(node, Released())
                self.late = not self.late

    @rule()
    def a_release_arrives(self) -> None:
        """Maybe long after its node has given up waiting for the answer."""
        if not self.releases:
            return
        node, epoch = self.releases.pop()
        if self.etcd.epoch == epoch:
            self.etcd.revision += 1
            self.etcd.owner, self.etcd.epoch = "", self.etcd.revision
            if self.mode is AUTOMATIC and self.etcd.held == node:
                self.etcd.held, self.etcd.held_revision = "", 0

    @rule(node=st.sampled_from(NODES))
    def somebody_wants_it(self, node: str) -> None:
        self.feed(node, TakeoverWanted(fenced=False))

    @rule(tenths=st.sampled_from((3, 12, 19, 25, 31, 38)))
    def time_passes(self, tenths: int) -> None:
        for _ in range(tenths):
            self.now += 0.1
            for node in NODES:  # the owner's timer strikes before etcd's count ends
                self.feed(node, TimePassed())
            self.etcd.expire(self.now)

    @invariant()
    def it_is_never_served_by_two(self) -> None:
        serving = [n for n, o in getattr(self, "nodes", {}).items() if o.holds]
        assert len(serving) <= 1, serving

    @invariant()
    def whoever_serves_may_write(self) -> None:
        """The epoch of a node that serves is etcd's, or it is another's and the node is behind."""
        for node, ownership in getattr(self, "nodes", {}).items():
            if ownership.holds and self.etcd.owner == node:
                assert ownership.epoch <= self.etcd.epoch


class ByHand(Cluster):
    """The same without leases."""

    mode = MANUAL


TestAutomatic = Cluster.TestCase
TestManual = ByHand.TestCase
TestAutomatic.settings = TestManual.settings = hypothesis_settings(
    max_examples=40, stateful_step_count=40, deadline=None
)
