"""200 TLS connections with client certificates through a real Kamailio, on this machine's kernel.

Profile rfc3329: each phone agrees on tls, registers over it and stays. One registration ends with
its contact's time, some phones hang up; nobody else hears of either.
"""

import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sip_hooks.secagree.digest import hash_a1
from tests.edge.agreement_world import DOMAIN, LIST, AgreementWorld, agreement_world
from tests.edge.tls_ue import TlsUe
from tests.host.endings import BOUND_WITHIN, ENDED_WITHIN, Ended
from tests.support.daemon import wait_until

PHONES, CLOSING = 200, 10
#: This one registers last, for a second.
SHORT = f"phone{PHONES // 2}"
HOP = f"sip:{DOMAIN}"
CLIENT = "sip:phone.example.org"

pytestmark = pytest.mark.timeout(120)


@dataclass
class Crowd:
    """All phones in the order in which they came; ``spans`` is how long each binding took."""

    world: AgreementWorld
    phones: list[TlsUe]
    ended: Ended
    spans: list[float]

    def ids(self) -> dict[int, str]:
        """The associations by the port of their phone."""
        return {a["tls"]["peerPort"]: a["id"] for a in self.world.daemon.associations()}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """Connect and register them one after another, but the one whose time will be short."""
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(agreement_world(mechanisms=f"tls;q=0.3, {LIST}"))
        exact = "[lifetimes]\nregistration_margin_seconds = 0\n[[endpoint]]"
        world.daemon.reload(world.daemon.config.read_text().replace("[[endpoint]]", exact))
        names = [f"phone{number}" for number in range(PHONES)]
        known = [(f"{n}@{DOMAIN}", hash_a1(n, DOMAIN, "secret")) for n in names]
        world.kamailio.rpcs(("htable.sets", ("sad_users", *pair)) for pair in known)
        shows = world.authority.issue(f"URI:{CLIENT}", of_client=True)
        files = shows.write(Path(tmp_path_factory.mktemp("client")))
        made = Crowd(world, [], Ended(world.daemon), [])
        for name in names:
            ue = stack.enter_context(world.tls_ue(name, shows=files))
            ue.agree("REGISTER")
            made.spans.append(_seconds_to_bind(made, ue))
            made.phones.append(ue)
            if name != SHORT:
                _register(ue, 600)
        yield made


def _seconds_to_bind(crowd: Crowd, ue: TlsUe) -> float:
    """From a request that proves nothing yet to the news that its connection is bound."""
    request = ue.secured("REGISTER", HOP, [("Expires", "600")])
    sent_at = time.monotonic()
    assert ue.exchange(request).status == 401
    wait_until(lambda: ue.local[1] in crowd.ended.bound, "its connection is bound")
    return crowd.ended.bound[ue.local[1]] - sent_at


def _register(ue: TlsUe, expires: int) -> None:
    """Register; a nonce may be too old on a machine that is slow."""
    for _ in range(2):
        request = ue.secured("REGISTER", HOP, [("Expires", str(expires))])
        status = ue.exchange(request).status
        if status == 200:
            return
    raise AssertionError(status)


def _serves(ue: TlsUe) -> bool:
    return ue.exchange(ue.secured("OPTIONS", HOP)).status == 200


def test_each_is_bound_within_50_ms_of_its_first_request(crowd: Crowd) -> None:
    """Design 9, R3329-2.4-tls-a: from the phone's sending on, TLS and Kamailio in between."""
    assert len(crowd.ids()) == len(crowd.spans) == PHONES
    bound = crowd.world.daemon.associations()
    assert {a["tls"]["identity"] for a in bound} == {CLIENT}
    assert len({a["registration"]["privateIdentity"] for a in bound}) == PHONES
    print(f"\nbound: {_told(crowd.spans)}")
    assert statistics.median(crowd.spans) < BOUND_WITHIN, _told(crowd.spans)


def test_one_expires_and_the_others_go_on(crowd: Crowd) -> None:
    """Design 9, T33-O.4: its registration is over: that connection ends, and none of the 199."""
    (short,) = [ue for ue in crowd.phones if ue.user == SHORT]
    others = [ue for ue in crowd.phones if ue is not short]
    before = crowd.ids()
    mine = before.pop(short.local[1])
    registered = {a["id"] for a in crowd.world.daemon.associations() if a["confirmedAt"]}
    assert registered == set(before.values())
    _register(short, 1)
    assert crowd.ended.wait_for(mine)[1] == "expired"
    with pytest.raises(OSError):
        short.receive()
    assert all(map(_serves, others))
    assert crowd.ids() == before
    assert set(crowd.ended.heard) == {mine}


def test_those_who_hang_up_end_within_100_ms_and_nobody_else(crowd: Crowd) -> None:
    """R3329-2.5: by the kernel's notice, once Kamailio has closed its end."""
    staying, before = crowd.ids(), set(crowd.ended.heard)
    closing, spans = set[str](), list[float]()
    for ue in crowd.phones[:CLOSING]:
        mine = staying.pop(ue.local[1])
        closing.add(mine)
        assert ue.connection is not None
        closed_at = time.monotonic()
        ue.connection.close()
        at, reason = crowd.ended.wait_for(mine)
        assert reason == "connectionClosed"
        spans.append(at - closed_at)
    print(f"\nended: {_told(spans)}")
    assert statistics.median(spans) < ENDED_WITHIN, _told(spans)
    assert crowd.ids() == staying
    assert all(_serves(ue) for ue in crowd.phones if ue.local[1] in staying)
    assert set(crowd.ended.heard) - before == closing


def _told(spans: list[float]) -> str:
    return f"median {1000 * statistics.median(spans):.1f} ms, longest {1000 * max(spans):.1f} ms"
