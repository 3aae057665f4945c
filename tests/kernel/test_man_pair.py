"""ipsec-man between two edges: SIP in ESP, rotation, the end of a key, restarts, lost SAs."""

import contextlib
import io
import os
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from sad.ctl.__main__ import main
from tests.support import eye
from tests.support.daemon import Daemon, wait_until
from tests.support.key_files import (
    ENCRYPTION_KEY,
    INTEGRITY_KEY,
    NEXT_ENCRYPTION_KEY,
    NEXT_INTEGRITY_KEY,
)
from tests.support.man_world import (
    PORT,
    A,
    B,
    ManWorld,
    Traffic,
    man_world,
    set_for,
)
from tests.support.namespaces import Namespace
from tests.support.sniffer import Sniffer

pytestmark = pytest.mark.kernel

#: What is sent moves after a second, and the old set retires within two.
LIFETIMES = "[lifetimes]\nkey_switch_seconds = 1\nt1_milliseconds = 32\n"
NEXT = {
    "name": "new",
    "spi_in": 4098,
    "spi_out": 8194,
    "integrity_key": NEXT_INTEGRITY_KEY,
    "encryption_key": NEXT_ENCRYPTION_KEY,
}
KEYS = f"{INTEGRITY_KEY}\n{ENCRYPTION_KEY}\n"
NEXT_KEYS = (
    f"# of the new set\nintegrity_key = {NEXT_INTEGRITY_KEY}\n"
    f"encryption_key = {NEXT_ENCRYPTION_KEY}\n"
)


@pytest.fixture(scope="module")
def edges() -> Iterator[ManWorld]:
    with man_world(LIFETIMES) as built:
        yield built


@pytest.fixture
def world(edges: ManWorld) -> Iterator[ManWorld]:
    standing = [len(eye.policies(side)) for side in (edges.a, edges.b)]
    yield edges
    edges.clean()
    for side, count in zip((edges.a, edges.b), standing, strict=True):
        assert eye.states(side) == []
        assert len(eye.policies(side)) == count


@pytest.mark.parametrize(
    ("integrity", "encryption", "sizes", "version"),
    [
        ("hmac-sha-256-128", "aes-cbc-256", (32, 32), 4),
        ("hmac-sha-1-96", "null", (20, 0), 6),
    ],
)
def test_man_two_edges_exchange_sip_in_esp(
    world: ManWorld, integrity: str, encryption: str, sizes: tuple[int, int], version: int
) -> None:
    """R3329-2.4-man-a, R3329-2.4-ipsec-a, IPS-2: no window, the keys of the file, no clear text.

    Each direction has a key of its own.
    """
    keys = {
        f"{kind}_key{way}": os.urandom(size).hex() or None
        for kind, size in zip(("integrity", "encryption"), sizes, strict=True)
        for way in ("_in", "_out")
    }
    keys |= {"integrity_key": None, "encryption_key": None}
    given = set_for(
        600, keys | {"integrity": integrity, "encryption": encryption}, version=version
    )
    world.write("peer.toml", given, version=version)
    world.reload()
    world.wait_in_force("old")

    for side in (world.a, world.b):
        seen = {s.spi: s for s in eye.states(side)}
        assert set(seen) == {4097, 8193}
        assert {s.replay_window for s in seen.values()} == {0}
        assert seen[4097].auth_key == keys["integrity_key_in"]
        assert seen[8193].auth_key == keys["integrity_key_out"]
        if encryption != "null":
            assert seen[4097].enc_key == keys["encryption_key_in"]
        assert all(590 <= s.hard_add <= 620 for s in seen.values())
    with world.a.enter():
        sniffer = Sniffer(world.cable.a)
    with sniffer:
        assert world.passes(version)
        assert [p.spi for p in sniffer.esp()] == [8193, 4097]
        assert sniffer.clear_on({PORT}) == []
    # IPS-8: other ports of the endpoint, and clear text to the peer's, stay shut.
    assert world.is_silent(version, (5068, PORT))
    assert world.is_silent(version, (5060, PORT))


def test_man_at_not_after_the_sas_are_gone_and_nothing_passes(world: ManWorld) -> None:
    """RFC 3329 2.5: the key's validity ends the association, in clear nothing passes either."""
    given = set_for(3)
    ends = time.time() + 3
    world.write("peer.toml", given)
    world.reload()
    world.wait_in_force("old")
    assert world.passes()

    for daemon, side in ((world.a_daemon, world.a), (world.b_daemon, world.b)):
        wait_until(lambda d=daemon: not d.associations(), "the key has expired")  # type: ignore[misc]  # mypy: defaults of lambdas
        assert time.time() >= ends
        assert eye.states(side) == []
        assert "keyExpired" in daemon.words() or "key expired" in daemon.words()
    assert world.is_silent()


def test_man_rotation_under_traffic_loses_none(world: ManWorld) -> None:
    """RFC 3329 2.5: 100 messages a second each way, and none is lost over the rotation.

    The new set is received on before it is sent on, the old one after it.
    """
    first = set_for(4.5)
    world.write("peer.toml", first)
    world.reload()
    world.wait_in_force("old")
    with world.a.enter():
        sniffer = Sniffer(world.cable.a)
    with sniffer, Traffic(world, 100) as traffic:
        world.write("peer.toml", first, set_for(600, NEXT, begins=0.5))
        world.reload()
        world.wait_in_force("old", "new")
        world.wait_in_force("new")
        settled = traffic.sent[0]
        wait_until(lambda: traffic.sent[0] >= settled + 50, "it goes on after the rotation")
        spis = [p.spi for p in sniffer.esp()]
        clear = sniffer.clear_on({PORT})

    assert traffic.lost == [[], []]
    assert min(traffic.sent) >= 250
    assert set(spis) == {4097, 8193, 4098, 8194}
    assert set(spis[-50:]) == {4098, 8194}  # the last ones go on the new set alone
    assert clear == []


def test_man_a_restart_and_a_flush_lose_nothing(world: ManWorld) -> None:
    """Design 8: SAs are adopted; what somebody deletes or flushes is made again of the key set.

    With later sequence numbers: a peer that looked at them would take no packet for an old one.
    """
    world.write("peer.toml", set_for(600, {"name": "restarted"}))
    world.reload()
    world.wait_in_force("restarted")
    (before,) = world.a_daemon.associations()
    assert world.passes()

    world.a_daemon.kill()
    world.a_daemon.start()
    (after,) = world.a_daemon.associations()
    assert after["id"] == before["id"]
    assert world.passes()
    assert sequence(world.a, 8193) == 2

    policies = len(eye.policies(world.a))
    world.a.run(["ip", "xfrm", "state", "flush"])
    world.a.run(["ip", "xfrm", "policy", "flush"])
    wait_until(
        lambda: (len(eye.states(world.a)), len(eye.policies(world.a))) == (2, policies),
        "SAs and policies are made again",
    )
    (rebuilt,) = world.a_daemon.associations()
    assert rebuilt["id"] == before["id"]
    assert world.passes()
    assert sequence(world.a, 8193) == (1 << 24) + 1


def test_man_keys_of_an_operator_come_and_go_and_no_key_shows(world: ManWorld) -> None:
    """``sadctl key``: add, list, rotate, remove.

    Secrets never show: in no log, journal, output or error of the daemon and of sadctl, looked for
    as bytes, hex and base64 after everything that these tests have done.
    """
    common = [
        "--integrity",
        "hmac-sha-256-128",
        "--encryption",
        "aes-cbc-128",
        "--not-after",
        "+1h",
    ]
    for daemon, peer, spis in (
        (world.a_daemon, B[4], ("4097", "8193")),
        (world.b_daemon, A[4], ("8193", "4097")),
    ):
        arguments = ["--endpoint", "peering", "--peer", peer, "--spi-in", spis[0]]
        arguments += ["--spi-out", spis[1], "--local-ports", "5064", "--peer-ports", "5064"]
        said = sadctl(daemon, "key", "add", "old", *arguments, *common, keys=KEYS)
        assert said.code == 0, said.err
    world.wait_in_force("old")
    assert world.passes()

    for daemon, spis in ((world.a_daemon, ("4098", "8194")), (world.b_daemon, ("8194", "4098"))):
        arguments = ["--spi-in", spis[0], "--spi-out", spis[1], "--not-after", "+2h"]
        said = sadctl(daemon, "key", "rotate", "old", "new", *arguments, keys=NEXT_KEYS)
        assert said.code == 0, said.err
    world.wait_in_force("new")
    assert world.passes()

    refused = sadctl(world.a_daemon, "key", "rotate", "old", "third", *arguments, keys=KEYS)
    assert refused.code == 1
    listed = sadctl(world.a_daemon, "key", "list").out
    assert [line.split()[0] for line in listed.splitlines()] == ["old", "new"]
    shown = [refused.err, listed]
    (association,) = world.a_daemon.associations()
    verbs = (["key", "list", "--json"], ["status", "--json"], ["list", "--json"])
    shown += [sadctl(d, *verb).out for d in (world.a_daemon, world.b_daemon) for verb in verbs]
    shown.append(sadctl(world.a_daemon, "show", association["id"], "--json").out)
    assert all(shown)
    assert_no_key_is_in(world, [text.encode() for text in shown])
    for daemon in (world.a_daemon, world.b_daemon):
        assert sadctl(daemon, "key", "remove", "new").code == 0
        assert sadctl(daemon, "key", "remove", "old").code == 0
        assert not daemon.associations()
    assert world.is_silent()


def assert_no_key_is_in(world: ManWorld, texts: list[bytes]) -> None:
    """Look for the keys in texts and in every file of the daemons but the key files."""
    for daemon in (world.a_daemon, world.b_daemon):
        files = [f for f in daemon.folder.rglob("*") if f.is_file() and f.suffix != ".toml"]
        assert {f.name for f in files} >= {"sad.log", "journal.sqlite", "key-uses.json"}
        texts += [f.read_bytes() for f in files]
    for digits in (INTEGRITY_KEY, ENCRYPTION_KEY, NEXT_INTEGRITY_KEY, NEXT_ENCRYPTION_KEY):
        key = bytes.fromhex(digits)
        for place, form in enumerate(forms(key)):
            assert not any(form in text for text in texts)
            # And they would be found: bare, and wherever base64 can begin.
            around = b"x" * (place % 3) + key + b"yy"
            assert form in around + digits.encode() + digits.upper().encode() + b64encode(around)


def forms(key: bytes) -> list[bytes]:
    """A key as it might show: bytes, hex, base64 at each of the three places it can begin."""
    # What depends on the bytes around it is cut off.
    inside = [b64encode(bytes(n) + key)[4 if n else 0 : -4] for n in range(3)]
    return [key, key.hex().encode(), key.hex().upper().encode(), *inside]


def sequence(side: Namespace, spi: int) -> int:
    """The last sequence number that an SA has sent."""
    text = next(s.text for s in eye.states(side) if s.spi == spi)
    found = re.search(r"oseq 0x([0-9a-f]+)", text)
    assert found is not None
    return int(found[1], 16)


class Said(NamedTuple):
    code: int
    out: str
    err: str


def sadctl(daemon: Daemon, *arguments: str, keys: str = "") -> Said:
    """Run ``sadctl`` in this process, with keys on a descriptor."""
    reading, writing = os.pipe()
    os.write(writing, keys.encode())
    os.close(writing)
    given = ["--key-fd", str(reading)] if keys else []
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*arguments, *given, "--socket", str(daemon.socket)])
    finally:
        os.close(reading)
    return Said(code, out.getvalue(), err.getvalue())
