"""What is told by its bytes is what a comparison of values finds right, and nothing else.

Both ways are taken with the same tables, whole or with anything changed, and must find the same.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from netlink.model import CurrentLifetime, Encapsulation, Mode, Policy, SecurityAssociation
from netlink.uapi import NLMSG_HDRLEN
from netlink.walk import Buffer
from sad.core.desired import endpoint_policies, policies_of, sas_of
from sad.core.reconcile import Comparison, Findings, Instant
from sad.core.table import AssociationTable
from sad.model.association import Association, Phase, RegistrationKey
from sad.model.endpoint import Role
from tests.support.fake_kernel import StoredPolicy, StoredSa, observe_policy, observe_sa
from tests.support.make import (
    ALL_PAIRS,
    LAYOUT,
    LIFETIMES,
    association,
    endpoint,
    sa_set,
    second_set,
)
from tests.support.shown import shown_policy, shown_sa

NOW, REALTIME = 100.0, 1_700_000_000.0
STANDING = endpoint_policies(endpoint(), LAYOUT)


class Tables(NamedTuple):
    """A kernel's two tables."""

    sas: list[StoredSa]
    policies: list[StoredPolicy]


def tables_with(*registrations: tuple[Association, ...]) -> Tables:
    """Return a kernel that holds the sets of registrations as they were installed."""
    sas = [
        StoredSa(
            n.sa,
            b"\1" * (0 if n.sa.integrity is None else n.sa.integrity.key_bits // 8),
            b"\1" * (n.sa.encryption.key_bits // 8),
            CurrentLifetime(bytes=0, packets=0, add_time=int(REALTIME), use_time=0),
            0.0,
            None,  # type: ignore[arg-type]  # no dump shows it
        )
        for sets in registrations
        for a in sets
        for n in sas_of(a, LAYOUT, LIFETIMES, NOW)
    ]
    policies = [
        *STANDING.values(),
        *(p for sets in registrations for p in policies_of(sets, LAYOUT, LIFETIMES).values()),
    ]
    return Tables(sas, [StoredPolicy(p, 8 * n, int(REALTIME)) for n, p in enumerate(policies)])


def table_of(*associations: Association) -> AssociationTable:
    table = AssociationTable()
    for one in associations:
        table.put(one)
    return table


class Found(NamedTuple):
    """What a comparison found, and of how many entries it had to make a value."""

    findings: Findings
    values: int


def compare(
    table: AssociationTable,
    kernel: Tables,
    *,
    recognising: bool = True,
    meanwhile: Callable[[], None] = lambda: None,
    busy: frozenset[RegistrationKey] = frozenset(),
) -> Found:
    """Compare as the daemon does; ``meanwhile`` happens between the dumps and the judgement."""
    comparison = Comparison(table, STANDING, LAYOUT, LIFETIMES, REALTIME - NOW)
    known = comparison.recognition
    sas = [s for s in kernel.sas if not (recognising and holds(known.sas.holds, sa_entry(s)))]
    policies = [
        p
        for p in kernel.policies
        if not (recognising and holds(known.policies.holds, policy_entry(p)))
    ]
    for _ in comparison.take(map(observe_sa, sas), map(observe_policy, policies)):
        pass
    meanwhile()
    at = Instant(now=NOW, realtime=REALTIME, busy=busy)
    pieces = [comparison.judge_standing()]
    for registration in comparison.registrations():
        adopted = comparison.adopt(registration, at)
        if adopted is None:
            pieces.append(comparison.judge(registration, at))
        else:
            pieces.append(Findings(adopted=(adopted,)))
    pieces += comparison.strays()
    return Found(Findings.together(pieces), len(sas) + len(policies))


def holds(known: Callable[[Buffer, int, int], bool], entry: bytearray) -> bool:
    return known(entry, NLMSG_HDRLEN, len(entry))


def sa_entry(s: StoredSa) -> bytearray:
    return shown_sa(s.sa, s.integrity_key, s.encryption_key, s.current)


def policy_entry(p: StoredPolicy) -> bytearray:
    return shown_policy(p.policy, p.add_time)


V6 = sa_set(ue_address="2001:db8::2", pcscf_address="2001:db8::1")
KINDS = {
    "IPv4": association(),
    "IPv6": association(sa_set=V6),
    "user agent": association(sa_set=sa_set(role=Role.UE)),
} | {
    f"{alg}/{ealg}": association(sa_set=sa_set(integrity_algorithm=alg, encryption_algorithm=ealg))
    for alg, ealg in ALL_PAIRS
}


@pytest.mark.parametrize("one", KINDS.values(), ids=KINDS)
def test_of_a_set_as_it_should_be_no_value_is_made(one: Association) -> None:
    """Design 7: adopted by identity, with the endpoint's own policies alone looked at."""
    found = compare(table_of(one), tables_with((one,)))

    assert found == (Findings(adopted=(one.id,)), len(STANDING))


def test_sets_are_told_in_any_order_of_the_tables() -> None:
    """The kernel owes no order: entries of several sets may lie strewn."""
    other = association(
        id="other",
        sa_set=sa_set(ue_address="10.10.0.3", spi_pc=90001, spi_ps=90002),
        reqid_in=0x2000_0011,
        reqid_out=(0x2000_0012, 0x2000_0013),
    )
    first, second = tables_with((association(),)), tables_with((other,))
    strewn = Tables(
        [s for pair in zip(first.sas, second.sas, strict=True) for s in pair],
        [p for pair in zip(first.policies, second.policies, strict=True) for p in pair],
    )
    found = compare(table_of(association(), other), strewn)

    assert found.findings.adopted == (association().id, "other")
    assert found.values == 2 * len(STANDING)


@pytest.mark.parametrize(
    "sets",
    [
        (association(), second_set()),
        (association(phase=Phase.INSTALLING),),
        (association(phase=Phase.REMOVING),),
        (association(deadline_at=NOW - 1),),
        (association(sa_set=sa_set(port_uc=6300, port_us=6300)),),
    ],
    ids=["two sets", "installing", "removing", "overdue", "one port"],
)
def test_what_is_not_plain_is_judged_as_before(sets: tuple[Association, ...]) -> None:
    """Whatever shares something, is under somebody's hands or is due is compared as values."""
    table, kernel = table_of(*sets), tables_with(sets)

    assert compare(table, kernel).findings == compare(table, kernel, recognising=False).findings


def test_a_set_that_changes_behind_its_dump_is_judged_later() -> None:
    """What was seen speaks of the set as it was: whoever changed it is asked when he is done."""
    one = association()
    table = table_of(one)
    later = structs.replace(one, deadline_at=2000.0)
    found = compare(table, tables_with((one,)), meanwhile=lambda: table.put(later))
    assert found.findings == Findings(unjudged=(one.registration,))

    table = table_of(one)
    found = compare(table, tables_with((one,)), meanwhile=lambda: table.put(second_set()))
    assert found.findings == Findings(unjudged=(one.registration,))


def test_a_set_that_comes_behind_its_dump_is_no_reason_to_repair() -> None:
    """It lies in the kernel by then, and in no dump: as before, it is asked for again."""
    table = table_of()
    found = compare(table, tables_with(), meanwhile=lambda: table.put(association()))

    assert set(found.findings.lost) == {association().id}


def test_a_busy_registration_is_left_alone() -> None:
    """Somebody's hands are on its policies."""
    one = association()
    busy = frozenset({one.registration})
    table, kernel = table_of(one), tables_with((one,))

    found = compare(table, kernel, busy=busy)
    assert found.findings == compare(table, kernel, recognising=False, busy=busy).findings


def test_a_dump_that_begins_anew_forgets_what_was_seen() -> None:
    """The table changed under the first attempt: only the last one counts."""
    one = association()
    comparison = Comparison(table_of(one), STANDING, LAYOUT, LIFETIMES, REALTIME - NOW)
    known = comparison.recognition
    kernel = tables_with((one,))
    for attempt in (kernel.sas, kernel.sas[1:]):
        known.sas.begin()
        assert all(holds(known.sas.holds, sa_entry(s)) for s in attempt)
    known.policies.begin()
    for p in kernel.policies:
        holds(known.policies.holds, policy_entry(p))

    seen = known.seen_of(one)
    assert seen is not None
    assert not seen.whole
    at = Instant(now=NOW, realtime=REALTIME)
    assert comparison.adopt(one.registration, at) is None
    assert set(comparison.judge(one.registration, at).lost) == {one.id}


# --- anything changed ----------------------------------------------------------------------------

SA_CHANGES: dict[str, Callable[[SecurityAssociation], SecurityAssociation]] = {
    "destination": lambda sa: dataclasses.replace(sa, id=sa.id._replace(destination="10.10.0.9")),
    "spi": lambda sa: dataclasses.replace(sa, id=sa.id._replace(spi=77_777)),
    "source": lambda sa: dataclasses.replace(sa, source="10.10.0.9"),
    "reqid": lambda sa: dataclasses.replace(sa, reqid=sa.reqid + 1),
    "owner": lambda sa: dataclasses.replace(sa, selector=sa.selector._replace(owner=7)),
    "selector": lambda sa: dataclasses.replace(sa, selector=sa.selector._replace(protocol=17)),
    "prefix": lambda sa: dataclasses.replace(sa, selector=sa.selector._replace(source_prefix=24)),
    "port": lambda sa: dataclasses.replace(
        sa, selector=sa.selector._replace(source_port=5064, source_port_mask=0xFFFF)
    ),
    "tunnel": lambda sa: dataclasses.replace(sa, mode=Mode.TUNNEL),
    "in UDP": lambda sa: dataclasses.replace(
        sa, mode=Mode.TUNNEL, encapsulation=Encapsulation(source_port=4500, destination_port=4500)
    ),
    "packets": lambda sa: dataclasses.replace(sa, hard_packets=12),
    "no limit": lambda sa: dataclasses.replace(sa, hard_add_seconds=0),
    "longer": lambda sa: dataclasses.replace(sa, hard_add_seconds=sa.hard_add_seconds + 10),
    "window": lambda sa: dataclasses.replace(sa, replay_window=32),
}
POLICY_CHANGES: dict[str, Callable[[Policy], Policy]] = {
    "priority": lambda p: dataclasses.replace(p, priority=p.priority + 1),
    "port": lambda p: dataclasses.replace(
        p, id=p.id._replace(selector=p.id.selector._replace(source_port=1))
    ),
    "owner": lambda p: dataclasses.replace(
        p, id=p.id._replace(selector=p.id.selector._replace(owner=7))
    ),
    "reqid": lambda p: dataclasses.replace(
        p, template=p.template and dataclasses.replace(p.template, reqid=9)
    ),
    "no template": lambda p: dataclasses.replace(p, template=None),
    "no limit": lambda p: dataclasses.replace(p, hard_add_seconds=0),
    "short": lambda p: dataclasses.replace(p, hard_add_seconds=20),
}


@given(data=st.data())
def test_whatever_differs_both_ways_find_the_same(data: st.DataObject) -> None:
    """Nothing that is wrong in the kernel is taken for right because most of it is right."""
    one = data.draw(st.sampled_from(tuple(KINDS.values())))
    kernel = tables_with((one,))
    for stored, changes, name in (
        (kernel.sas, SA_CHANGES, "sa"),
        (kernel.policies, POLICY_CHANGES, "policy"),
    ):
        _change(data, stored, changes, name)
    table = table_of(one)

    told, judged = compare(table, kernel), compare(table, kernel, recognising=False)
    assert told.findings == judged.findings


def _change(data: st.DataObject, stored: Any, changes: dict[str, Any], name: str) -> None:
    """Change, take away, double or age some entries of one table, and lay them in any order."""
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(stored) - 1))
        what = data.draw(st.sampled_from((*changes, "gone", "older", "newer")))
        entry = stored[place]
        if what == "gone":
            if len(stored) > 1:
                del stored[place]
        elif what in {"older", "newer"}:
            seconds = data.draw(st.integers(1, 10)) * (1 if what == "newer" else -1)
            if name == "sa":
                add_time = entry.current.add_time + seconds
                current = dataclasses.replace(entry.current, add_time=add_time)
                stored[place] = dataclasses.replace(entry, current=current)
            else:
                stored[place] = dataclasses.replace(entry, add_time=entry.add_time + seconds)
        else:
            changed = changes[what](getattr(entry, name))
            stored[place] = dataclasses.replace(entry, **{name: changed})
    stored[:] = data.draw(st.permutations(stored))
