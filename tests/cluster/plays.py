"""What happens to phones when their node dies, hands over, or is cut off: played at any size.

Each play fails unless what the cluster promises was kept, and returns what it took in words.
"""

import asyncio
import contextlib
import dataclasses
import os
import shutil
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from netlink.secret import Secret
from sad.core.nonces import BLOCK
from sad.model.algorithms import AlgorithmPair, derive_keys
from tests.cluster.net import ADDRESS
from tests.cluster.phones import Said, Traffic, keys_of
from tests.cluster.searching import find, spellings
from tests.cluster.truth import KernelTruth
from tests.cluster.world import ClusterWorld, Node, cluster_world, sas_of
from tests.support import eye
from tests.support.daemon import wait_until
from tests.support.sniffer import Packet, Sniffer

#: What a message may be on its way when something happens to it, in seconds.
UNDER_WAY: Final = 0.5
_ESP: Final = 50
_RATE: Final = 50.0
#: Of ``[cluster]``: an owner that is only slow, on a machine that is loaded, stays the owner.
UNHURRIED: Final = """
lease_seconds = 6
lease_margin_seconds = 2.0
counters_interval_seconds = 0.2
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Takeover:
    """What one takeover took: seconds from the address's move to the first answer, and to all.

    ``window`` is that from the death to the last set in force, the one in which ``lost`` were
    sent.
    """

    to_first: float
    to_all: float
    window: float
    lost: int
    said: int

    def __str__(self) -> str:
        return (
            f"first answer {self.to_first:.2f} s after the address moved, all sets in force after "
            f"{self.to_all:.2f} s; {self.lost} of {self.said} messages lost, all of them sent in "
            f"the {self.window:.2f} s between"
        )


def take_over_from_the_dead(world: ClusterWorld, traffic: Traffic, victim: Node) -> Takeover:
    """Kill a node, move the address and all sets away from it; see that all get through."""
    heir = world.other(victim)
    before = world.drops(heir.machine, world.phones)
    victim.daemon.kill()
    killed_at = time.monotonic()
    moved_at = world.move_address(heir)
    heir.take_over(fenced=True)
    done_at = time.monotonic()
    world.wait_heard(traffic, since=done_at)
    first = traffic.first_answer_to_what_was_sent_after(moved_at)
    assert first is not None
    assert_nothing_is_dropped(world, heir, before)
    assert world.ids(heir) == {a["id"] for a in world.installed.values()}, "not the same sets"
    lost = traffic.lost()
    assert_all_within(lost, killed_at - UNDER_WAY, done_at)
    return Takeover(
        to_first=first - moved_at,
        to_all=done_at - moved_at,
        window=done_at - killed_at,
        lost=len(lost),
        said=len(traffic.said),
    )


def assert_all_within(lost: Sequence[Said], since: float, until: float) -> None:
    """At most the messages of the window are lost."""
    outside = [s for s in lost if not since <= s.sent_at <= until]
    shown = [f"phone {s.phone} at {s.sent_at - since:+.2f} s" for s in outside[:5]]
    assert not outside, f"{len(outside)} lost that were not sent in {until - since:.2f} s: {shown}"


def assert_nothing_is_dropped(world: ClusterWorld, node: Node, before: dict[str, int]) -> None:
    """No kernel took a packet for a replay or a forgery, by its counters and by each SA's."""
    assert world.drops(node.machine, world.phones) == before
    failures = {
        (machine.name, sa.id.spi): (sa.replay_failures, sa.integrity_failures)
        for machine in (node.machine, world.phones)
        for sa in asyncio.run(sas_of(machine))
        if sa.replay_failures or sa.integrity_failures
    }
    assert not failures, failures


# --- SIGKILL -------------------------------------------------------------------------------------


def sigkill(world: ClusterWorld, *, phones: int, rate: float) -> Takeover:
    """Kill the owner's daemon under traffic: the same phones get through the other node.

    What was recorded before and told to etcd is played to the heir, which takes none of it.
    """
    world.install(world.a, range(phones))
    world.wait_replicated(world.a)
    with world.traffic(rate) as traffic:
        with world.a.machine.enter():
            sniffer = Sniffer(world.a.machine.interface)
        with sniffer:
            wait_until(
                lambda: len({p.spi for p in _toward_the_edge(sniffer)}) == phones,
                "every phone was recorded",
                world.patience(traffic),
            )
            recorded = _toward_the_edge(sniffer)
        world.wait_counters_told()
        took = take_over_from_the_dead(world, traffic, world.a)
    assert_played_again_in_vain(world, recorded)
    standing = asyncio.run(world.b.counters())
    sent = [c.replay.sent for c in standing if c.id.destination != ADDRESS]
    assert min(sent) >= BLOCK > max(c.replay.received for c in standing)
    return took


def _toward_the_edge(sniffer: Sniffer) -> list[Packet]:
    return [p for p in sniffer.esp() if p.destination == ADDRESS]


def assert_played_again_in_vain(world: ClusterWorld, recorded: Sequence[Packet]) -> None:
    """RFC 4303 3.4.3: an attacker's copies of what the other node took are replays here."""
    before = eye.statistics(world.b.machine)["XfrmInStateSeqError"]
    with world.phones.enter():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, _ESP)
    with raw:
        for packet in recorded:
            raw.sendto(packet.payload, (ADDRESS, 0))
    after = eye.statistics(world.b.machine)["XfrmInStateSeqError"]
    assert after - before == len(recorded), f"{after - before} of {len(recorded)} were refused"


# --- many in a row -------------------------------------------------------------------------------


def many_in_a_row(folder: Path, *, phones: int, rate: float, rounds: int) -> str:
    """Take over again and again: by asking the owner, after its death, after a loss of power."""
    spans = []
    with cluster_world(folder) as world:
        nodes = {"a": world.a.machine, "b": world.b.machine}
        world.install(world.a, range(phones))
        world.wait_replicated(world.a)
        owner = world.a
        with KernelTruth(nodes) as truth, world.traffic(rate) as traffic:
            for number in range(rounds):
                heir = world.other(owner)
                before = world.drops(heir.machine, world.phones)
                begun = time.monotonic()
                if number % 3 == 0:
                    heir.take_over()
                    world.move_address(heir)
                else:
                    owner.daemon.kill()
                    truth.power_off(owner.name)
                    if number % 3 == 2:
                        lose_power(owner)
                    world.move_address(heir)
                    heir.take_over(fenced=True)
                done = time.monotonic()
                spans.append(done - begun)
                world.wait_heard(traffic, since=done)
                assert_nothing_is_dropped(world, heir, before)
                if number % 3:
                    owner.daemon.start()  # and finds that it is no longer the owner
                assert owner.sa_count() == 0, f"{owner.name} still has SAs"
                assert heir.sa_count() == 4 * phones
                world.wait_replicated(heir)
                owner = heir
            ids = world.ids(owner)
        truth.assert_never_two()
        assert ids == {a["id"] for a in world.installed.values()}
    return (
        f"{rounds} takeovers of {phones} sets in a row, none lost; median "
        f"{statistics.median(spans):.2f} s, longest {max(spans):.2f} s"
    )


def lose_power(node: Node) -> None:
    """What a loss of power takes: the kernel's tables, and what lies below /run."""
    for table in ("state", "policy"):
        node.machine.run(["ip", "xfrm", table, "flush"])
    shutil.rmtree(node.daemon.folder / "state")


# --- partitions ----------------------------------------------------------------------------------


def partitions(folder: Path, *, phones: int, rounds: int, members: int = 3) -> str:
    """Cut the owner off, in turn from everybody and from etcd alone: never two own a set."""
    spans = []
    with cluster_world(folder, takeover="automatic", members=members, settings=UNHURRIED) as world:
        with KernelTruth({"a": world.a.machine, "b": world.b.machine}) as truth:
            owner = world.owner()
            world.move_address(owner)
            world.install(owner, range(phones))
            world.wait_replicated(owner)
            for number in range(rounds):
                owner = world.owner()
                heir = world.other(owner)
                begun = time.monotonic()
                with _cut_off(world, owner, from_all=number % 2 == 0):
                    _wait_for_the_change(owner, heir, 4 * phones)
                    spans.append(time.monotonic() - begun)
                _wait_until_it_knows(owner)
                world.move_address(heir)
                with world.traffic(_RATE) as traffic:
                    world.wait_heard(traffic, since=0.0)
                world.wait_replicated(heir)
            assert world.ids(heir) == {a["id"] for a in world.installed.values()}
        truth.assert_never_two()
    return (
        f"{rounds} partitions with {members} members of etcd, {len(truth.log)} times an SA came "
        f"or went, never one at two nodes; the other node had all after "
        f"{statistics.median(spans):.1f} s (longest {max(spans):.1f} s)"
    )


@contextlib.contextmanager
def _cut_off(world: ClusterWorld, node: Node, *, from_all: bool) -> Iterator[None]:
    """Pull a node's cable, or only lose its way to the other machines of etcd."""
    others = [m.address for m in world.etcd_machines if m is not node.machine]
    if from_all:
        world.network.unplug(node.machine)
    else:
        node.machine.hear_nothing_from(*others)
    yield
    if from_all:
        world.network.plug(node.machine)
    else:
        node.machine.hear_again(*others)


def _wait_for_the_change(owner: Node, heir: Node, sas: int) -> None:
    wait_until(lambda: owner.sa_count() == 0, f"{owner.name} has let go")
    wait_until(lambda: heir.owns and heir.sa_count() == sas, f"{heir.name} has them")


def _wait_until_it_knows(node: Node) -> None:
    wait_until(lambda: not node.owns, f"{node.name} knows that it is not the owner")


# --- what lies in etcd ---------------------------------------------------------------------------


def search_etcd(world: ClusterWorld, owner: Node) -> str:
    """No key of a set is readable in etcd's files, in any spelling; what is put there in clear is.

    Some sets are released before, so that their old rows lie there, too. Ends etcd: then
    everything is in its files.
    """
    for number in list(world.installed)[::3]:
        owner.daemon.call("Release", id=world.installed[number]["id"])
    world.wait_replicated(owner)
    control = {f"control {n}": os.urandom(16) for n in range(3)}
    texts = [text for marker in control.values() for _, text in spellings(marker)]
    world.etcd.put("/test/controls", b"\n".join(texts))
    world.etcd.stop()
    secrets = control | {"sealing key": world.sealing_key}
    for number in world.installed:
        secrets |= _secrets_of(number)
    found = find(world.etcd.directory, secrets)
    names = {name for name, _ in spellings(b"0123456789abcdef")}
    assert found == dict.fromkeys(control, names), "a secret, or a control that was not found"
    return f"{len(secrets) - len(control)} secrets in {len(names)} spellings: none in etcd's files"


def _secrets_of(number: int) -> dict[str, bytes]:
    """Return IK, CK and what they become in ESP (TS 33.203 Annex I)."""
    integrity, cipher = keys_of(number)
    keys = derive_keys(
        AlgorithmPair("hmac-sha-1-96", "aes-cbc"), Secret(integrity), Secret(cipher)
    )
    return {
        f"IK of {number}": integrity,
        f"CK of {number}": cipher,
        f"integrity key of {number}": keys.integrity.reveal(),
        f"encryption key of {number}": keys.encryption.reveal(),
    }
