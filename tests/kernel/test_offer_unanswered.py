"""Matrix row 8 on a real kernel: a challenge that nobody answers takes nothing with it."""

import time
from collections.abc import Iterator

import pytest

from tests.support import eye
from tests.support.daemon import wait_until
from tests.support.offering import Phone
from tests.support.pair import Pair, pair_of_daemons

pytestmark = pytest.mark.kernel

AWAIT_SECONDS = 3


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    settings = f"[lifetimes]\nreg_await_auth_seconds = {AWAIT_SECONDS}\n"
    with pair_of_daemons(tmp_path_factory.mktemp("unanswered"), settings=settings) as found:
        yield found


def spis(pair: Pair) -> set[int]:
    return {s.spi for s in eye.states(pair.edge)}


def of(association: dict[str, dict[str, int]]) -> set[int]:
    return {association["ipsec3gpp"][name] for name in ("spiUc", "spiUs", "spiPc", "spiPs")}


def test_an_unanswered_challenge_ends_alone(pair: Pair) -> None:
    """T24-P-6, T24-UE-2, matrix row 8; every line says what the kernel holds.

    UE                edge            kernel        policies
    | REGISTER, 200 ---> |            A             n + 10
    | REGISTER on A ---> |            A             n + 10
    | <--------- 401     |            A, T          n + 17
    |  (reg-await-auth)  |            A             n + 10, A as before to the last word
    | MESSAGE on A ----> | passes     A             n + 10
    """
    standing = len(eye.policies(pair.edge))
    phone = Phone(pair)
    a = phone.registered(0)
    assert spis(pair) == of(a)
    policies = sorted(eye.policies(pair.edge))
    limits = {s.spi: s.hard_add for s in eye.states(pair.edge)}
    assert len(policies) == standing + 10

    t = phone.challenged(1, on=a)
    begun = time.monotonic()
    assert spis(pair) == of(a) | of(t)
    assert len(eye.policies(pair.edge)) == standing + 17

    wait_until(lambda: spis(pair) == of(a), "the temporary set ends")
    assert time.monotonic() - begun >= AWAIT_SECONDS - 1
    assert sorted(eye.policies(pair.edge)) == policies
    assert {s.spi: s.hard_add for s in eye.states(pair.edge)} == limits
    (left,) = pair.edge_daemon.associations()
    assert (left["id"], left["state"]) == (a["id"], "inUse")
    assert phone.carries(a)

    for daemon in (pair.edge_daemon, pair.ue_daemon):
        for association in daemon.associations():
            daemon.call("Release", id=association["id"])
    assert eye.states(pair.edge) == []
    assert len(eye.policies(pair.edge)) == standing
