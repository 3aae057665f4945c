"""Why a packet is protected or not, read from the kernel's tables as the kernel reads them."""

from typing import Any

import pytest

from netlink.model import (
    CurrentLifetime,
    Direction,
    Mode,
    ObservedPolicy,
    ObservedSa,
    PolicyAction,
    PolicyId,
    SaId,
    Selector,
    Template,
)
from sad.core.flow_explanation import fate_of, policies_between
from sad.model.inspection import Verdict
from sad.model.requests import Flow

OWNER = 0x5AD0
EDGE, UE = "192.0.2.1", "198.51.100.7"
FLOW = Flow(peer_address=UE, peer_port=6300, local_address=EDGE, local_port=5064)


def policy(**changes: Any) -> ObservedPolicy:
    """An allow policy of ours for exactly the flow, inbound."""
    selector = Selector(
        source=UE,
        source_prefix=32,
        destination=EDGE,
        destination_prefix=32,
        source_port=6300,
        source_port_mask=0xFFFF,
        destination_port=5064,
        destination_port_mask=0xFFFF,
        owner=OWNER,
    )
    direction = changes.pop("direction", Direction.IN)
    if direction is Direction.OUT:
        selector = selector._replace(
            source=EDGE, destination=UE, source_port=5064, destination_port=6300
        )
    selector = selector._replace(**changes.pop("selector", {}))
    values: dict[str, Any] = {
        "id": PolicyId(direction, selector),
        "action": PolicyAction.ALLOW,
        "priority": 2000,
        "index": 8,
        "template": Template(source=selector.source, destination=selector.destination, reqid=77),
        "hard_add_seconds": 0,
        "add_time": 0,
    } | changes
    return ObservedPolicy(**values)


BLOCK = {
    "selector": {
        "source": "0.0.0.0",
        "source_prefix": 0,
        "source_port": 0,
        "source_port_mask": 0,
        "destination_port_mask": 0xFFFC,
    },
    "action": PolicyAction.BLOCK,
    "priority": 4_000_000_000,
    "template": None,
}


def sa(*, inbound: bool = True, **changes: Any) -> ObservedSa:
    source, destination = (UE, EDGE) if inbound else (EDGE, UE)
    values: dict[str, Any] = {
        "id": SaId(destination, 0x1234),
        "source": source,
        "reqid": 77,
        "selector": Selector(
            source=source, source_prefix=32, destination=destination, destination_prefix=32
        ),
        "mode": Mode.TRANSPORT,
        "hard_add_seconds": 0,
        "hard_packets": 0,
        "current": CurrentLifetime(bytes=1200, packets=3, add_time=1, use_time=2),
        "replay_window": 128,
        "replay_failures": 0,
        "integrity_failures": 0,
    } | changes
    return ObservedSa(**values)


def fate(*policies: ObservedPolicy, sas: tuple[ObservedSa, ...] = (), inbound: bool = True) -> Any:
    return fate_of(FLOW, policies, sas, inbound=inbound, owner=OWNER)


def test_a_flow_with_policy_and_sa_is_protected() -> None:
    """IPS-8: and what came in clear would be dropped."""
    found = fate(policy(**BLOCK), policy(), sas=(sa(), sa(inbound=False)))

    assert found.verdict is Verdict.PROTECTED
    assert [f.what for f in found.findings] == ["policy", "SA", "counter"]
    assert "SPI 0x00001234: packets 3, bytes 1200, integrity failures 0" in found.findings[1].text
    assert found.hint == ""


def test_keys_that_differ_are_said_to() -> None:
    """K12: ESP arrives, nothing decrypts."""
    silent = CurrentLifetime(bytes=0, packets=0, add_time=1, use_time=0)
    found = fate(policy(), sas=(sa(current=silent, integrity_failures=4),))

    assert found.hint == "SPI 0x00001234: ESP arrives, integrity fails: the keys differ"
    assert fate(policy(), sas=(sa(current=silent),)).hint == "no ESP has arrived on it yet"


def test_outbound_without_its_sa_is_dropped() -> None:
    """The kernel counts it, and reconcile mends it."""
    found = fate(policy(direction=Direction.OUT), sas=(sa(),), inbound=False)

    assert found.verdict is Verdict.DROPPED
    assert "XfrmOutNoStates" in found.findings[-1].text
    assert "sadctl reconcile" in found.hint


def test_clear_text_to_a_protected_port_is_dropped() -> None:
    """K11: the port block of the endpoint covers it, and names its counter."""
    found = fate(policy(**BLOCK))

    assert found.verdict is Verdict.DROPPED
    assert "block 0.0.0.0/0 -> 192.0.2.1:5064-5067" in found.findings[0].text
    assert "XfrmInPolBlock" in found.findings[1].text


def test_a_foreign_policy_that_wins_is_the_finding() -> None:
    """The smaller priority wins, of equal ones the older, whoever made it."""
    bypass = policy(selector={"owner": 0}, priority=100, template=None, index=16)
    found = fate(policy(), bypass, sas=(sa(),))

    assert found.verdict is Verdict.CLEAR
    assert "of somebody else" in found.findings[0].text
    assert found.hint == "who installed this policy?"
    older = policy(selector={"owner": 0}, index=1, template=None)
    assert fate(policy(), older, sas=(sa(),)).verdict is Verdict.CLEAR


def test_what_no_policy_covers_passes_in_clear() -> None:
    """Other ports, another family, another direction."""
    for other in (
        policy(selector={"destination_port": 5066}),
        policy(direction=Direction.OUT),
        policy(selector={"source": "198.51.100.8"}),
        policy(selector={"source": "2001:db8::", "source_prefix": 32}),
    ):
        found = fate(other)
        assert found.verdict is Verdict.CLEAR
        assert "no policy covers it" in found.findings[0].text


@pytest.mark.parametrize(("prefix", "covered"), [(24, True), (0, True), (29, False)])
def test_prefixes_are_looked_at(prefix: int, *, covered: bool) -> None:
    """An address lies within a network or not."""
    found = fate(policy(selector={"source": "198.51.100.16", "source_prefix": prefix}))

    assert (found.verdict is not Verdict.CLEAR) is covered


def test_the_policies_between_two_hosts_are_told_in_the_kernels_order() -> None:
    """Inbound first, then by priority; the endpoint's block is not theirs."""
    udp = policy(selector={"protocol": 17}, direction=Direction.OUT)
    told = policies_between(EDGE, UE, [policy(**BLOCK), udp, policy()], OWNER)

    ends = f"{UE}:6300", f"{EDGE}:5064"
    assert [(p.direction, p.source, p.destination, p.protocol, p.ours) for p in told] == [
        ("in", *ends, 0, True),
        ("out", *reversed(ends), 17, True),
    ]
    assert {p.reqid for p in told} == {77}
