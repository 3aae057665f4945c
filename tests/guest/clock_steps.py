"""Steps of the wall clock, by which the kernel counts its limits; ours run on CLOCK_BOOTTIME.

The kernel looks at a limit one second after it was set, and then when it is reached (kernel
notes, section 4): a step before that look is the dangerous one.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.make import CK, IK
from tests.support.many_sets import boottime, contents
from tests.support.namespaces import Namespace
from tests.support.pair import EDGE, Pair, pair_of_daemons

HOUR = 3600.0
BACKSTOP = 2
#: The kernel's first look is one second away; whole seconds and a slow guest come on top.
KERNEL_HAS_LOOKED = 2.5
#: The kernel counts whole seconds, and so does ``secondsLeft``.
ROUNDING = 3.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    settings = f"[lifetimes]\nbackstop_seconds = {BACKSTOP}\n"
    with pair_of_daemons(tmp_path_factory.mktemp("clock"), settings=settings) as found:
        yield found


@pytest.fixture(autouse=True)
def clock_as_before() -> Iterator[None]:
    """Set the wall clock back by what CLOCK_BOOTTIME says."""
    offset = time.time() - boottime()
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, boottime() + offset)


@pytest.fixture
def edge(pair: Pair) -> Daemon:
    """Give the edge's daemon with nothing of the tests before."""
    for daemon in (pair.edge_daemon, pair.ue_daemon):
        for association in daemon.associations():
            daemon.call("Release", id=association["id"])
    return pair.edge_daemon


def install(daemon: Daemon, number: int, lifetime: int) -> str:
    """Install the set of one of several user agents; return its id."""
    answer = daemon.call(
        "Install",
        endpoint="access",
        registration={"privateIdentity": f"ue{number}@ims", "publicIdentities": []},
        mechanism="ipsec-3gpp",
        ipsec3gpp={
            "ueAddress": f"10.20.0.{number}",
            "pcscfAddress": EDGE[4],
            "spiUc": 1000 + 2 * number,
            "spiUs": 1001 + 2 * number,
            "portUc": 7000,
            "portUs": 7001,
            "integrityAlgorithm": "hmac-sha-1-96",
            "encryptionAlgorithm": "null",
            "integrityKey": IK.hex(),
            "cipherKey": CK.hex(),
        },
        lifetimeSeconds=lifetime,
    )
    return str(answer["association"]["id"])


def step(seconds: float, *daemons: Daemon) -> None:
    """Set the wall clock; wait until each daemon has compared because of it."""
    before = [_heard(daemon) for daemon in daemons]
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
    wait_until(
        lambda: all(_heard(d) > n for d, n in zip(daemons, before, strict=True)),
        "they heard of the step",
    )


def _heard(daemon: Daemon) -> int:
    return daemon.words().count("reconcile (the wall clock was set)")


def living(daemon: Daemon) -> dict[str, dict[str, Any]]:
    return {a["id"]: a for a in daemon.associations()}


async def assert_kernel_follows(daemon: Daemon, namespace: Namespace) -> None:
    """Each SA's limit lies the backstop beyond what the daemon tells people."""
    alive = living(daemon)
    ends_of = {
        (p[address], p[spi]): a["expiresAt"] / 1e6
        for a in alive.values()
        for p in [a["ipsec3gpp"]]
        for address, spi in (
            ("ueAddress", "spiUc"),
            ("ueAddress", "spiUs"),
            ("pcscfAddress", "spiPc"),
            ("pcscfAddress", "spiPs"),
        )
    }
    sas = (await contents(namespace)).sas
    assert {(sa.id.destination, sa.id.spi) for sa in sas} == ends_of.keys()
    for sa in sas:
        limit = sa.current.add_time + sa.hard_add_seconds
        wanted = ends_of[sa.id.destination, sa.id.spi] + BACKSTOP
        assert abs(limit - wanted) <= ROUNDING
    for association in alive.values():
        left = association["expiresAt"] / 1e6 - time.time()
        assert abs(left - association["secondsLeft"]) <= ROUNDING


async def test_an_hour_forward_ends_nothing_early(pair: Pair, edge: Daemon) -> None:
    """Design 6: after an install, a lengthening, a shortening and a packet; all just before."""
    used, _ = pair.install(lifetime=600)
    source, destination = pair.port_pairs(used)[0]
    lengthened = install(edge, 11, 60)
    shortened = install(edge, 12, 1200)
    fresh = install(edge, 13, 300)
    edge.call("Confirm", id=lengthened, expiresSeconds=900)
    edge.call("Release", id=shortened, lingerSeconds=100)
    assert pair.udp(source, destination, b"MESSAGE before the step")
    begun, before = boottime(), living(edge)
    assert before.keys() == {used["id"], lengthened, shortened, fresh}

    step(HOUR, edge, pair.ue_daemon)
    await assert_kernel_follows(edge, pair.edge)
    wait_until(lambda: boottime() > begun + KERNEL_HAS_LOOKED, "the kernel's own look")

    after = living(edge)
    await assert_kernel_follows(edge, pair.edge)
    assert after.keys() == before.keys()
    for association_id, association in after.items():
        gone = before[association_id]["secondsLeft"] - association["secondsLeft"]
        assert 0 <= gone <= boottime() - begun + 1
        assert association["createdAt"] == before[association_id]["createdAt"]
    assert pair.udp(source, destination, b"MESSAGE after the step")


async def test_an_hour_back_lets_nothing_live_longer(pair: Pair, edge: Daemon) -> None:
    """T24-P-12: with the daemon at its deadline, without it by the kernel's mended limit."""
    ends = boottime() + 3
    short = install(edge, 21, 3)
    unattended = install(edge, 22, 4)
    long = install(edge, 23, 600)

    step(-HOUR, edge)
    await assert_kernel_follows(edge, pair.edge)
    wait_until(lambda: short not in living(edge), "the short one's end")
    assert ends <= boottime()
    edge.kill()

    async def left() -> set[str]:
        return {sa.id.destination for sa in (await contents(pair.edge)).sas} - {EDGE[4]}

    while "10.20.0.22" in await left():
        assert boottime() < ends + 1 + BACKSTOP + ROUNDING, "it outlived its limit"
    edge.start()
    assert living(edge).keys() == {long}
    assert unattended in edge.words()
    await assert_kernel_follows(edge, pair.edge)


async def test_a_step_that_nobody_heard_is_mended_at_the_start(pair: Pair, edge: Daemon) -> None:
    """Design 8: a daemon that was dead meanwhile adopts with the deadlines of before."""
    held = install(edge, 31, 600)
    (before,) = living(edge).values()
    begun = boottime()
    wait_until(lambda: boottime() > begun + KERNEL_HAS_LOOKED, "the kernel's own look")
    for seconds in (HOUR, -HOUR):
        edge.kill()
        time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)

        edge.start()

        (after,) = living(edge).values()
        assert after["id"] == held
        assert 0 <= before["secondsLeft"] - after["secondsLeft"] <= boottime() - begun + 1
        await assert_kernel_follows(edge, pair.edge)
