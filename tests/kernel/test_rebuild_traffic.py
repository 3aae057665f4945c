"""Somebody deletes or flushes our SAs: by setting the set works on, in ESP, for both sides.

The edge rebuilds, the user agent's daemon has the default: it ends what it lost.
"""

import functools
import json
import os
import socket
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netlink.secret import Secret
from sad.core.rebuilding import LEAP
from sad.model.algorithms import AlgorithmPair, derive_keys
from tests.support import eye
from tests.support.daemon import wait_until
from tests.support.make import CK, IK
from tests.support.pair import EDGE, UE, Pair, pair_of_daemons
from tests.support.sealing import SEALING, credential
from tests.support.sniffer import Packet, Sniffer

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("credentials")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credential(folder).items():
            patch.setenv(name, value)
        with pair_of_daemons(
            tmp_path_factory.mktemp("rebuild"), edge_settings='on_kernel_loss = "rebuild"\n'
        ) as found:
            yield found


@pytest.fixture
def edge(pair: Pair) -> Iterator[dict[str, Any]]:
    """Give an installed set with keys of both kinds, as the edge's daemon tells of it."""
    yield pair.install(encryption="aes-cbc")[0]
    for daemon in (pair.edge_daemon, pair.ue_daemon):
        for association in daemon.associations():
            daemon.call("Release", id=association["id"])


def lying(pair: Pair) -> set[tuple[Any, ...]]:
    """The edge's SAs with their keys: what a rebuild must bring back as it was."""
    return {
        (s.source, s.destination, s.spi, s.reqid, s.replay_window, s.auth_key, s.enc_key)
        for s in eye.states(pair.edge)
    }


def number_of(packet: Packet) -> int:
    """Return the ESP sequence number (RFC 4303 2.2)."""
    return int(struct.unpack_from("!I", packet.payload, 4)[0])


def send_again(pair: Pair, recorded: list[Packet]) -> int:
    """Send recorded packets from the UE's side; return how many the edge took for replays."""
    before = eye.statistics(pair.edge)["XfrmInStateSeqError"]
    with pair.ue.enter():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ESP)
    with raw:
        for packet in recorded:
            raw.sendto(packet.payload, (EDGE[4], 0))
    return eye.statistics(pair.edge)["XfrmInStateSeqError"] - before


def all_pass(pair: Pair, edge: dict[str, Any]) -> bool:
    return all(
        pair.udp(*row, b"MESSAGE") for row in pair.port_pairs(edge) + pair.cross_pairs(edge)
    )


def wait_until_all_pass(pair: Pair, edge: dict[str, Any]) -> None:
    """Send on each row until it carries, then on all pairs."""
    for row in pair.port_pairs(edge):
        wait_until(functools.partial(pair.udp_arrives, *row), "what was lost carries again")
    assert all_pass(pair, edge)


def test_deleted_sas_come_back_under_traffic_and_take_nothing_twice(
    pair: Pair, edge: dict[str, Any]
) -> None:
    """RFC 4303 3.4.3: both directions pass without a registration, recorded packets do not."""
    s = edge["ipsec3gpp"]
    before = lying(pair)
    with pair.edge.enter():
        sniffer = Sniffer(pair.cable.a)
    with sniffer:
        assert all_pass(pair, edge)
        recorded = [p for p in sniffer.esp() if p.spi == s["spiPs"]]
        sent = max(number_of(p) for p in sniffer.esp() if p.spi == s["spiUs"])
        for source, destination, spi in (
            (UE[4], EDGE[4], s["spiPs"]),
            (EDGE[4], UE[4], s["spiUs"]),
        ):
            identity = f"src {source} dst {destination} proto esp spi {spi}"
            pair.edge.run(["ip", "xfrm", "state", "delete", *identity.split()])
        wait_until_all_pass(pair, edge)

        assert recorded
        assert send_again(pair, recorded) == len(recorded)
        after = max(number_of(p) for p in sniffer.esp() if p.spi == s["spiUs"])
        assert after > LEAP > sent
        assert not sniffer.clear_on([s["portPs"], s["portPc"], s["portUs"], s["portUc"]])
    assert lying(pair) == before
    assert [a["id"] for a in pair.edge_daemon.associations()] == [edge["id"]]


def test_a_flushed_set_comes_back_with_its_keys(pair: Pair, edge: dict[str, Any]) -> None:
    """The peer, whose SAs stand, goes on as if nothing had been."""
    before = lying(pair)
    assert all_pass(pair, edge)
    pair.edge.run(["ip", "xfrm", "state", "flush"])
    wait_until_all_pass(pair, edge)

    assert lying(pair) == before
    keys = derive_keys(AlgorithmPair("hmac-sha-1-96", "aes-cbc"), Secret(IK), Secret(CK))
    expected = (keys.integrity.reveal().hex(), keys.encryption.reveal().hex())
    assert {row[-2:] for row in before} == {expected}


def test_what_was_flushed_without_a_daemon_comes_back_at_its_start(
    pair: Pair, edge: dict[str, Any]
) -> None:
    """With the credential the keys outlive ``kill -9``; no file shows one of them."""
    before = lying(pair)
    pair.edge_daemon.kill()
    pair.edge.run(["ip", "xfrm", "state", "flush"])

    pair.edge_daemon.start()

    assert lying(pair) == before
    assert all_pass(pair, edge)
    written = list(_files(pair.edge_daemon.folder))
    assert any(path.name == "sealed.sqlite" for path in written)
    content = b"".join(path.read_bytes() for path in written).lower()
    for key in (IK, CK, SEALING):
        assert key.lower() not in content
        assert key.hex().encode() not in content


def test_by_default_it_ends(pair: Pair, edge: dict[str, Any]) -> None:
    """The UE's daemon keeps no keys: its set ends, the edge's is not concerned."""
    pair.ue.run(["ip", "xfrm", "state", "flush"])

    wait_until(lambda: not pair.ue_daemon.associations(), "the lost set ends")
    assert eye.states(pair.ue) == []
    assert not any(path.name == "sealed.sqlite" for path in _files(pair.ue_daemon.folder))
    assert [a["id"] for a in pair.edge_daemon.associations()] == [edge["id"]]


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(root, name)).is_file())


def test_a_reboot_is_survived_with_the_state_on_a_disk(pair: Pair, edge: dict[str, Any]) -> None:
    """Another boot id, an empty kernel: the sets carry again for the time that was left."""
    before, ends_at = lying(pair), edge["expiresAt"]
    pair.edge_daemon.kill()
    pair.edge.run(["ip", "xfrm", "state", "flush"])
    pair.edge.run(["ip", "xfrm", "policy", "flush"])
    _make_of_an_earlier_boot(pair.edge_daemon.folder / "state" / "journal.sqlite", seconds=40)

    pair.edge_daemon.start()

    (again,) = pair.edge_daemon.associations()
    assert again["id"] == edge["id"]
    assert again["expiresAt"] / 1e6 == pytest.approx(ends_at / 1e6 - 40, abs=1.5)
    assert lying(pair) == before
    assert all_pass(pair, edge)


def _make_of_an_earlier_boot(path: Path, *, seconds: float) -> None:
    """Have the journal speak of a boot that began so long before this one, and of no later."""
    with sqlite3.connect(path) as connection:
        (boot_id,) = connection.execute("SELECT value FROM meta WHERE key = 'boot_id'").fetchone()
        (began,) = connection.execute("SELECT value FROM meta WHERE key = 'began'").fetchone()
        (body,) = connection.execute("SELECT body FROM association").fetchone()
        row = json.loads(body) | {"created_at": 1.0, "confirmed_at": 0.0}
        connection.execute("UPDATE association SET body = ?", (json.dumps(row).encode(),))
        connection.executemany(
            "REPLACE INTO meta VALUES (?, ?)",
            [
                ("boot_id", f"earlier {boot_id.partition(' ')[2]}"),
                ("began", repr(float(began) - seconds)),
            ],
        )
    connection.close()
