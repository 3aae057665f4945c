"""What lies in the kernel is what was asked for: read back by iproute2, keys and all."""

import dataclasses
import re
import socket

import pytest

from netlink.model import (
    AddPolicy,
    Direction,
    Policy,
    PolicyAction,
    SecurityAssociation,
    ShortenSa,
)
from netlink.transforms import Combined
from tests.support import eye
from tests.support.contract_world import applied
from tests.support.xfrm_values import (
    PAIRS,
    Pair,
    add_sa,
    keys_for,
    name_of,
    policy,
    security_association,
)
from tests.support.xfrm_world import XfrmWorld


def seen_as(sa: SecurityAssociation) -> dict[str, object]:
    """Say how iproute2 prints the SA that :func:`add_sa` adds."""
    keys = keys_for(sa)
    return {
        "source": sa.source,
        "destination": sa.id.destination,
        "spi": sa.id.spi,
        "reqid": sa.reqid,
        "auth": sa.integrity.name if sa.integrity else "",
        "auth_key": keys.integrity.reveal().hex(),
        "enc": sa.encryption.name,
        "enc_key": keys.encryption.reveal().hex(),
        "hard_add": sa.hard_add_seconds,
        "hard_packets": sa.hard_packets,
    }


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
async def test_xfrm_keys_reach_the_kernel_unchanged(
    xfrm: XfrmWorld, pair: Pair, version: int
) -> None:
    """Each pair of algorithms has its names, its keys and the length of its ICV."""
    sa = security_association(0xC0FFEE01, version=version, pair=pair, hard_add_seconds=240)
    await applied(xfrm.kernel, add_sa(sa))

    (seen,) = eye.states(xfrm.namespace)
    expected = seen_as(sa)
    assert {name: getattr(seen, name) for name in expected} == expected
    assert "mode transport" in seen.text
    if isinstance(sa.encryption, Combined):  # the salt counts as key (T33-I-a)
        assert f"aead {sa.encryption.name} 0x{seen.enc_key} (160 bits) 128" in seen.text
    else:
        assert sa.integrity is not None
        key = f"0x{seen.auth_key} ({sa.integrity.key_bits} bits) {sa.integrity.icv_bits}"
        assert f"auth-trunc {sa.integrity.name} {key}" in seen.text
    assert "limit: soft (INF)(bytes), hard (INF)(bytes)" in seen.text
    assert "limit: soft (INF)(packets), hard (INF)(packets)" in seen.text


@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
async def test_xfrm_keys_stay_when_an_association_is_shortened(
    xfrm: XfrmWorld, pair: Pair
) -> None:
    """UPDSA with zero keys moves the limit and touches no key, so nobody need remember them."""
    sa = security_association(pair=pair, hard_add_seconds=1000, hard_packets=1 << 40)
    shorter = dataclasses.replace(sa, hard_add_seconds=500)
    await applied(xfrm.kernel, add_sa(sa), ShortenSa(shorter))

    (seen,) = eye.states(xfrm.namespace)
    expected = seen_as(shorter)
    assert {name: getattr(seen, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (0, "replay-window 0"),
        (32, "replay-window 32"),
        (64, "replay_window 64, bitmap-length 2"),
        (1000, "replay_window 1000, bitmap-length 32"),
    ],
)
async def test_xfrm_replay_window_has_its_form(xfrm: XfrmWorld, window: int, words: str) -> None:
    """A large window has a bitmap of its own, without extended sequence numbers."""
    await applied(xfrm.kernel, add_sa(security_association(replay_window=window)))

    (seen,) = eye.states(xfrm.namespace)
    assert words in " ".join(seen.text.split())
    assert re.search(r"\bflag .*\besn\b", seen.text) is None


def over_udp(wanted: Policy) -> Policy:
    """Name the protocol, because iproute2 prints the ports of UDP and not those of any."""
    selector = wanted.id.selector._replace(protocol=socket.IPPROTO_UDP)
    return dataclasses.replace(wanted, id=wanted.id._replace(selector=selector))


@pytest.mark.parametrize("version", [4, 6])
async def test_xfrm_policies_reach_the_kernel_unchanged(xfrm: XfrmWorld, version: int) -> None:
    """Selector, direction, priority, action and template are those that were asked for."""
    demand = over_udp(policy(5064, version=version, priority=2080))
    block = over_udp(policy(version=version, direction=Direction.IN, action=PolicyAction.BLOCK))
    await applied(xfrm.kernel, AddPolicy(demand), AddPolicy(block))

    source, destination = demand.id.selector.source, demand.id.selector.destination
    prefix = demand.id.selector.source_prefix
    head = f"src {source}/{prefix} dst {destination}/{prefix} proto udp dport"
    template = f"tmpl src {source} dst {destination} proto esp reqid {0x2000_1000}"
    seen = {" ".join(text.split()) for text in eye.policies(xfrm.namespace)}
    assert seen == {
        f"{head} 5060 dir in action block priority 1000 ptype main",
        f"{head} 5064 dir out priority 2080 ptype main {template} mode transport",
    }
