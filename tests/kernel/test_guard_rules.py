"""The guard on a kernel with ESP: clear text is dropped and counted, ESP passes."""

from collections.abc import Iterator

import pytest

from sad.guard.backends import Backend
from tests.support.clear_text import (
    EDGE,
    SERVER,
    UE,
    World,
    check_clear_text,
    check_foreign_rules,
    check_loopback_without_policies,
    tcp_is_dropped,
    tcp_passes,
    udp_is_dropped,
    udp_passes,
    ways,
    world,
)


@pytest.fixture
def at() -> Iterator[World]:
    with world() as built:
        yield built


@pytest.fixture
def backend(at: World) -> Backend:
    """Give a packet filter that this kernel has: no filter is a failure, not a skip."""
    usable = at.usable()
    assert usable, "this kernel has neither nf_tables nor ip_tables for the guard"
    return usable[0]


def test_clear_text_is_dropped_and_counted(at: World, backend: Backend) -> None:
    """IPS-8, T33-7.1-e: UDP and TCP, both versions, both directions, ``lo`` included."""
    check_clear_text(at, backend)


def test_loopback_is_guarded_where_policies_are_bypassed(at: World, backend: Backend) -> None:
    """On IPv4 ``lo`` a block policy is bypassed; the guard is not."""
    check_loopback_without_policies(at, backend)


def test_rules_of_others_are_not_touched(at: World, backend: Backend) -> None:
    """Applying, applying again and removing leaves the rest of the rule set as it was."""
    check_foreign_rules(at, backend)


def protect(at: World, version: int) -> None:
    """Install an SA pair and policies for UDP and TCP on the server port, both directions."""
    edge, ue = EDGE[version], UE[version]
    length = 32 if version == 4 else 128
    states, policies = [], {at.edge: list[str](), at.ue: list[str]()}
    for spi, source, destination in ((0x1001, ue, edge), (0x1002, edge, ue)):
        states.append(
            f"xfrm state add src {source} dst {destination} proto esp spi {spi} mode transport "
            f'auth-trunc hmac(sha1) 0x{"5a" * 20} 96 enc ecb(cipher_null) ""'
        )
        for transport in ("udp", "tcp"):
            port = f"{'dport' if destination == edge else 'sport'} {SERVER}"
            for node, own in ((at.edge, edge), (at.ue, ue)):
                direction = "in" if destination == own else "out"
                policies[node].append(
                    f"xfrm policy add src {source}/{length} dst {destination}/{length} "
                    f"proto {transport} {port} dir {direction} "
                    f"tmpl src {source} dst {destination} proto esp mode transport"
                )
    for node in (at.edge, at.ue):
        node.run(["ip", "-batch", "-"], stdin="\n".join([*states, *policies[node], ""]))


@pytest.mark.parametrize("version", [4, 6])
def test_esp_passes_the_guard_until_somebody_flushes_the_spd(
    at: World, backend: Backend, version: int
) -> None:
    """Design section 7: protected packets pass both ways; without policies nothing leaks."""
    protect(at, version)
    at.apply(backend)
    incoming, outgoing = (ways(at, version)[name][0] for name in ("in", "out"))
    for way in (incoming, outgoing):
        udp_passes(way)
        udp_passes(way, b"x" * 3000)
        tcp_passes(way)
    assert set(at.dropped(backend).values()) == {0}

    for node in (at.edge, at.ue):
        node.run(["ip", "xfrm", "policy", "flush"])

    for way, inbound in ((incoming, True), (outgoing, False)):

        def counted(key: tuple[str, bool] = (EDGE[version], inbound)) -> int:
            return at.dropped(backend)[key]

        udp_is_dropped(way, counted)
        tcp_is_dropped(way, counted)
