"""Reconcile by identity: adopt, repair, remove, report; never anything that is not ours."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from msgspec import structs

from netlink.model import (
    AddPolicy,
    CurrentLifetime,
    DeletePolicy,
    DeleteSa,
    ObservedPolicy,
    ObservedSa,
    Policy,
    UpdatePolicy,
)
from sad.core.desired import endpoint_policies, policies_of, sas_of
from sad.core.reconcile import Comparison, Findings, Instant
from sad.core.table import AssociationTable
from sad.model.association import Association, Phase
from sad.model.endpoint import Role
from sad.model.tls_connection import TlsConnection
from tests.support.make import (
    EDGE_ADDRESS,
    LAYOUT,
    LIFETIMES,
    UE_ADDRESS,
    association,
    endpoint,
    second_set,
)

NOW, REALTIME = 100.0, 1_700_000_000.0


def seen_sas(*associations: Association) -> list[ObservedSa]:
    return [
        ObservedSa(
            id=n.sa.id,
            source=n.sa.source,
            reqid=n.sa.reqid,
            selector=n.sa.selector,
            mode=n.sa.mode,
            hard_add_seconds=n.sa.hard_add_seconds,
            hard_packets=n.sa.hard_packets,
            current=CurrentLifetime(bytes=0, packets=0, add_time=int(REALTIME), use_time=0),
            replay_window=128,
            replay_failures=0,
            integrity_failures=0,
        )
        for a in associations
        for n in sas_of(a, LAYOUT, LIFETIMES, NOW)
    ]


def seen_policies(policies: list[Policy]) -> list[ObservedPolicy]:
    return [
        ObservedPolicy(
            id=p.id,
            action=p.action,
            priority=p.priority,
            index=8 * n,
            template=p.template,
            hard_add_seconds=p.hard_add_seconds,
            add_time=int(REALTIME),
        )
        for n, p in enumerate(policies)
    ]


def find(
    associations: list[Association], sas: list[ObservedSa], policies: list[ObservedPolicy]
) -> Findings:
    table = AssociationTable()
    for a in associations:
        table.put(a)
    return Findings.together(list(compare(table, sas, policies)))


def compare(
    table: AssociationTable, sas: list[ObservedSa], policies: list[ObservedPolicy]
) -> Iterator[Findings]:
    """Go through a whole comparison, piece by piece, as the daemon does."""
    at = Instant(now=NOW, realtime=REALTIME)
    standing = endpoint_policies(endpoint(), LAYOUT)
    comparison = Comparison(table, standing, LAYOUT, LIFETIMES, REALTIME - NOW)
    for _ in comparison.take(sas, policies):
        pass
    yield comparison.judge_standing()
    for registration in comparison.registrations():
        yield comparison.judge(registration, at)
    yield from comparison.strays()


STANDING = list(endpoint_policies(endpoint(), LAYOUT).values())
SETS = [association(), second_set()]
ALL = list(policies_of(SETS, LAYOUT, LIFETIMES).values()) + STANDING


def test_a_kernel_as_it_should_be_needs_nothing() -> None:
    """Both sets are adopted and nothing is touched."""
    found = find(SETS, seen_sas(*SETS), seen_policies(ALL))

    assert found.adopted == tuple(a.id for a in SETS)
    assert (dict(found.lost), found.overdue, found.mislimited) == ({}, (), ())
    assert found.repairs == found.removals == ()


def test_an_empty_kernel_gets_the_block_policies_first_of_all() -> None:
    """Fail closed from the first moment."""
    found = find([], [], [])

    assert [o.policy for o in found.repairs if isinstance(o, AddPolicy)] == STANDING


def test_a_missing_sa_makes_its_association_lost_and_names_the_row() -> None:
    """Keys are not kept, so a lost SA cannot be made again."""
    found = find(SETS, seen_sas(*SETS)[1:], seen_policies(ALL))

    assert found.lost == {SETS[0].id: ("SA1",)}
    assert found.adopted == (SETS[1].id,)


def test_an_sa_that_somebody_put_in_our_place_is_not_ours() -> None:
    """Same SPI, other reqid: the association is lost, the foreign SA is untouched."""
    sas = seen_sas(*SETS)
    foreign = dataclasses.replace(sas[0], reqid=7, selector=sas[0].selector._replace(owner=0))

    found = find(SETS, [foreign, *sas[1:]], seen_policies(ALL))

    assert set(found.lost) == {SETS[0].id}
    assert found.removals == ()


def test_missing_and_altered_policies_are_repaired() -> None:
    """A policy needs no key: it is made again or corrected."""
    altered = dataclasses.replace(seen_policies(ALL)[1], priority=1)

    found = find(SETS, seen_sas(*SETS), [altered, *seen_policies(ALL)[2:]])

    assert [type(o) for o in found.repairs] == [AddPolicy, UpdatePolicy]


def test_what_is_ours_and_belongs_to_nobody_goes() -> None:
    """Stale objects of an earlier life are removed whole (peers: 0.1, the 136-SA cleaner)."""
    found = find([SETS[0]], seen_sas(*SETS), seen_policies(ALL))

    assert {type(o) for o in found.removals} == {DeleteSa, DeletePolicy}
    assert len(found.removals) == 4 + 7


def test_nothing_without_our_tag_is_ever_a_finding() -> None:
    """Design 7: nothing of anyone else is ever touched."""

    def foreign(thing: Any) -> Any:
        selector = thing.selector if hasattr(thing, "selector") else thing.id.selector
        other = selector._replace(owner=143956232)
        if hasattr(thing, "selector"):
            return dataclasses.replace(thing, selector=other)
        return dataclasses.replace(thing, id=thing.id._replace(selector=other))

    sas = [foreign(s) for s in seen_sas(*SETS)]
    policies = [foreign(p) for p in seen_policies(ALL)]

    found = find([], sas, policies + seen_policies(STANDING))
    assert (found.repairs, found.removals) == ((), ())


def test_what_is_under_somebodys_hands_is_left_alone() -> None:
    """An install or removal in progress is neither missed nor stray."""
    for phase in (Phase.INSTALLING, Phase.REMOVING):
        busy = structs.replace(SETS[1], phase=phase)
        for sas, policies in (
            (seen_sas(*SETS), ALL),
            (seen_sas(SETS[0]), [*policies_of([SETS[0]], LAYOUT, LIFETIMES).values(), *STANDING]),
        ):
            found = find([SETS[0], busy], sas, seen_policies(policies))
            assert (found.repairs, found.removals, dict(found.lost)) == ((), (), {})


def test_an_association_past_its_deadline_is_overdue() -> None:
    """T24-P-12: whatever the kernel holds, its time is over."""
    late = association(deadline_at=NOW)

    assert find([late], seen_sas(late), []).overdue == (late.id,)


def test_a_kernel_limit_that_differs_from_the_deadline_is_found() -> None:
    """A crash between journal and kernel leaves the limit of before: it is moved."""
    sas = seen_sas(association())
    shorter = [dataclasses.replace(sas[0], hard_add_seconds=5), *sas[1:]]
    endless = [dataclasses.replace(sas[0], hard_add_seconds=0), *sas[1:]]

    for observed in (shorter, endless):
        assert find([association()], observed, []).mislimited == (association().id,)


def test_a_policy_that_would_end_before_its_sets_is_renewed() -> None:
    """A wall clock that was set by years takes the policies' own limits with it."""
    old = [
        dataclasses.replace(p, add_time=p.add_time - 10 * 365 * 86_400) for p in seen_policies(ALL)
    ]

    found = find(SETS, seen_sas(*SETS), old)

    assert {type(o) for o in found.repairs} == {UpdatePolicy}
    renewed = [o.policy for o in found.repairs if isinstance(o, UpdatePolicy)]
    assert renewed == list(policies_of(SETS, LAYOUT, LIFETIMES).values())


def test_what_has_found_an_owner_since_the_dump_is_not_stray() -> None:
    """A user agent comes back while a long comparison goes on: its policies are its own again."""
    table = AssociationTable()
    pieces = compare(table, seen_sas(*SETS), seen_policies(ALL))
    assert next(pieces) == Findings()  # the standing ones

    table.put(SETS[0])
    removals = {o for piece in pieces for o in piece.removals}

    kept = policies_of(SETS[:1], LAYOUT, LIFETIMES)
    assert not removals & {DeletePolicy(i) for i in kept}
    assert not removals & {DeleteSa(n.sa.id) for n in sas_of(SETS[0], LAYOUT, LIFETIMES, NOW)}
    assert len(removals) == 4 + 7


def test_a_registration_that_ended_since_the_dump_is_nobodys_business() -> None:
    """Its own ending has removed it: nothing of it is missed."""
    table = AssociationTable()
    table.put(SETS[0])
    pieces = compare(table, [], seen_policies(STANDING))
    next(pieces)
    table.remove(SETS[0].id)

    assert Findings.together(list(pieces)) == Findings()


def test_what_has_no_sas_is_not_compared_with_the_kernel() -> None:
    """A TLS connection lies in no SAD: it is neither missed nor judged, and owns no policy."""
    table = AssociationTable()
    connection = TlsConnection(
        role=Role.EDGE,
        local_address=EDGE_ADDRESS,
        local_port=5061,
        peer_address=UE_ADDRESS,
        peer_port=40000,
    )
    table.put(association(mechanism="tls", ipsec_3gpp=None, tls=connection, reqid_out=()))
    comparison = Comparison(table, {}, LAYOUT, LIFETIMES, REALTIME - NOW)
    list(comparison.take((), ()))

    assert comparison.registrations() == ()
    assert list(comparison.strays()) == []
