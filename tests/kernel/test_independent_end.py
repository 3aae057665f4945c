"""The edge against an end made of ``ip xfrm`` and openssl: every algorithm, large packets, IVs.

The tests of nonces are those of sad/docs/nonces.md: no IV twice among the SAs of a key.

Both ends are Linux kernels; the daemon rebuilds what it loses.
"""

import asyncio
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netlink.kernel import KernelIpsec
from netlink.model import MoveLifetime, SaId
from sad.core.nonces import BLOCK, PACKETS
from sip_hooks.client import CallError
from tests.support import eye
from tests.support.daemon import endpoint_settings, wait_until
from tests.support.independent_end import IndependentEnd, independent_end
from tests.support.make import ALL_PAIRS
from tests.support.nonces import masks, repeats, sent
from tests.support.pair import EDGE, UE
from tests.support.sniffer import Packet, Sniffer

pytestmark = pytest.mark.kernel

AEAD = pytest.mark.parametrize(
    ("integrity", "encryption", "name"),
    [("null", "aes-gcm", "rfc4106(gcm(aes))"), ("aes-gmac", "null", "rfc4543(gcm(aes))")],
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndependentEnd]:
    with independent_end(
        tmp_path_factory.mktemp("nonces"),
        settings='on_kernel_loss = "rebuild"\n',
        endpoints=endpoint_settings("six", (EDGE[6],), 5164, "5168-5171"),
    ) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_is_left(pair: IndependentEnd) -> Iterator[None]:
    yield
    pair.clear()


@pytest.fixture
def wire(pair: IndependentEnd) -> Iterator[Sniffer]:
    with pair.edge.enter():
        sniffer = Sniffer(pair.cable.a)
    with sniffer:
        yield sniffer


def spis_of(edge: dict[str, Any]) -> set[int]:
    s = edge["ipsec3gpp"]
    return {s["spiUc"], s["spiUs"], s["spiPc"], s["spiPs"]}


def of_set(wire: Sniffer, edge: dict[str, Any]) -> list[Packet]:
    """The captured packets of a set: all that were ever sent under its key."""
    return [p for p in wire.esp() if p.spi in spis_of(edge)]


def talk(pair: IndependentEnd, edge: dict[str, Any], rounds: int = 3) -> None:
    """Send on all four SAs."""
    for row in pair.port_pairs(edge) * rounds:
        assert pair.udp(*row, b"OPTIONS sip:nonce SIP/2.0")


@pytest.mark.parametrize(
    ("integrity", "encryption", "version"),
    # Families by turns; test_install_traffic has each pair on both.
    [(*pair, 4 + 2 * (index % 2)) for index, pair in enumerate(ALL_PAIRS)],
)
def test_independent_end_agrees_on_each_pair_of_algorithms(
    pair: IndependentEnd, wire: Sniffer, integrity: str, encryption: str, version: int
) -> None:
    """Annex I, T33-7.1: UDP on all port pairs, TCP from both sides, and nothing in clear."""
    edge = pair.install(version, integrity=integrity, encryption=encryption)
    for row in pair.port_pairs(edge) + pair.cross_pairs(edge):
        assert pair.udp(*row, b"OPTIONS sip:independent SIP/2.0")
    rows = pair.port_pairs(edge)
    for row in (rows[0], rows[2]):  # the UE connects, the edge connects
        assert pair.tcp(*row, b"REGISTER sip:independent SIP/2.0")

    s = edge["ipsec3gpp"]
    assert wire.clear_on([s["portPs"], s["portPc"], s["portUs"], s["portUc"]]) == []
    assert {p.spi for p in of_set(wire, edge)} == spis_of(edge)
    assert wire.saw_bytes(b"sip:independent") == (encryption == "null")
    statistics = eye.statistics(pair.edge)
    assert (statistics["XfrmInStateProtoError"], statistics["XfrmInNoPols"]) == (0, 0)


SIZES = pytest.mark.parametrize(
    ("integrity", "encryption"),
    [("null", "aes-gcm"), ("hmac-sha-256-128", "aes-cbc"), ("hmac-sha-1-96", "null")],
)


@SIZES
@pytest.mark.parametrize("version", [4, 6])
def test_independent_end_gets_large_packets(
    pair: IndependentEnd, wire: Sniffer, integrity: str, encryption: str, version: int
) -> None:
    """A REGISTER larger than the MTU is one ESP packet in fragments; a TCP segment never is.

    The kernel takes what ESP adds off the MSS (RFC 4303 3.3.4: fragments are made outside).
    """
    edge = pair.install(version, integrity=integrity, encryption=encryption)
    rows = pair.port_pairs(edge)
    for size in (1380, 1440, 1500, 4000):  # around the MTU of 1500, and far beyond
        for row in rows:
            assert pair.udp(*row, b"R" * size)
    fragments = [p for p in wire.packets() if p.fragment]
    assert {p.protocol for p in fragments} == {50}
    assert len(fragments) >= 4 * 3  # three of each row's last

    wire.forget()
    for row in (rows[0], rows[2]):
        assert pair.tcp(*row, bytes(range(256)) * 64)
    sizes = [(p.size, p.fragment) for p in wire.esp()]
    assert not any(fragment for _, fragment in sizes)
    assert 1400 < max(size for size, _ in sizes) <= 1500


def test_independent_end_of_ipv6_alone(pair: IndependentEnd, wire: Sniffer) -> None:
    """An endpoint and a user agent without IPv4; whoever comes with it is refused (T33-7.1-b)."""
    edge = pair.install(6, integrity="null", encryption="aes-gcm", endpoint="six")
    assert edge["ipsec3gpp"]["portPs"] == 5164
    talk(pair, edge, rounds=1)
    assert {p.spi for p in of_set(wire, edge)} == spis_of(edge)
    with pytest.raises(CallError) as refused:
        pair.install_edge(4, endpoint="six")
    assert refused.value.name.endswith("BadParameter")


@AEAD
@pytest.mark.parametrize("version", [4, 6])
def test_aead_nonces_differ_across_the_four_associations(
    pair: IndependentEnd, wire: Sniffer, integrity: str, encryption: str, name: str, version: int
) -> None:
    """T33-I-b: each SA XORs with 64 bits of its own; their blocks and all IVs are different.

    The kernel holds one key for all four, a limit of packets for each, and built seqiv.
    """
    edge = pair.install(version, integrity=integrity, encryption=encryption)
    talk(pair, edge)

    packets = of_set(wire, edge)
    found = masks(packets)
    assert set(found) == spis_of(edge)
    assert [len(values) for values in found.values()] == [1] * 4
    (values,) = [sorted(next(iter(v)) for v in found.values())]
    assert all(a // BLOCK != b // BLOCK for a, b in itertools.pairwise(values))
    assert repeats(packets) == []
    assert len({sent(p).iv for p in packets}) == len(packets) == 12

    states = eye.states(pair.edge)
    assert {(sa.enc, sa.hard_packets) for sa in states} == {(name, PACKETS)}
    assert len({sa.enc_key for sa in states}) == 1
    assert f"seqiv({name})" in Path("/proc/crypto").read_text()


def test_aead_nonces_of_every_set_are_drawn_anew(pair: IndependentEnd, wire: Sniffer) -> None:
    """The same keys again and again: whatever the kernel drew, no block and no IV comes again."""
    seen: list[int] = []
    packets: list[Packet] = []
    for _ in range(4):
        edge = pair.install(integrity="null", encryption="aes-gcm")
        talk(pair, edge, rounds=1)
        fresh = of_set(wire, edge)[-4:]
        packets += fresh
        seen += [value for values in masks(fresh).values() for value in values]
        pair.clear()
        wire.forget()

    assert len(seen) == 16
    assert len({value // BLOCK for value in seen}) == 16
    assert repeats(packets) == []


def test_aead_nonces_go_on_in_another_block_after_a_rebuild(
    pair: IndependentEnd, wire: Sniffer
) -> None:
    """A rebuilt SA has the old key, other random bits, and numbers from the next block."""
    edge = pair.install(integrity="null", encryption="aes-gcm")
    s = edge["ipsec3gpp"]
    talk(pair, edge)
    identity = f"src {EDGE[4]} dst {UE[4]} proto esp spi {s['spiUs']}"
    pair.edge.run(["ip", "xfrm", "state", "delete", *identity.split()])
    wait_until(lambda: len(eye.states(pair.edge)) == 4, "the lost SA is back")
    talk(pair, edge)

    packets = of_set(wire, edge)
    rebuilt = [sent(p) for p in packets if p.spi == s["spiUs"]]
    assert [one.sequence for one in rebuilt] == [1, 2, 3, BLOCK + 1, BLOCK + 2, BLOCK + 3]
    lives = masks(packets)
    assert {spi: len(v) for spi, v in lives.items()} == {
        spi: 2 if spi == s["spiUs"] else 1 for spi in spis_of(edge)
    }
    assert len({one.iv // BLOCK for one in rebuilt}) == 2
    assert repeats(packets) == []
    assert {sa.hard_packets for sa in eye.states(pair.edge)} == {PACKETS}


def test_aead_nonces_end_with_the_limit_of_packets(pair: IndependentEnd, wire: Sniffer) -> None:
    """The kernel sends exactly as many packets as it may; after that the SA is another one.

    The counter is set to two below the limit, as if the rest had been sent.
    """
    edge = pair.install(integrity="aes-gmac", encryption="null")
    s = edge["ipsec3gpp"]
    sa_id = SaId(UE[4], s["spiUs"])
    row = pair.port_pairs(edge)[2]

    async def nearly_there() -> None:
        with pair.edge.enter():
            kernel = await KernelIpsec.open()
        observed = await kernel.get_sa(sa_id)
        assert observed is not None
        assert observed.hard_packets == PACKETS
        counted = {
            "bytes": 0,
            "packets": PACKETS - 2,
            "add_time": observed.current.add_time,
            "use_time": observed.current.use_time,
        }
        moved = MoveLifetime(
            id=sa_id,
            source=EDGE[4],
            reqid=observed.reqid,
            current=type(observed.current)(**counted),
        )
        assert await kernel.commit([moved]) == (None,)
        kernel.close()

    asyncio.run(nearly_there())
    assert pair.udp(*row, b"the last but one")
    assert pair.udp(*row, b"the last")
    pair.udp_arrives(*row)  # one too many: it ends the SA
    wait_until(lambda: pair.udp_arrives(*row), "the set carries again")

    numbers = [sent(p).sequence for p in of_set(wire, edge) if p.spi == s["spiUs"]]
    assert numbers[:2] == [1, 2]
    assert all(number > BLOCK for number in numbers[2:])
    assert repeats(of_set(wire, edge)) == []


def test_aead_nonces_checker_sees_an_injected_repeat(pair: IndependentEnd, wire: Sniffer) -> None:
    """The proof can fail: a packet with a used IV is found, one that is seen twice is not."""
    edge = pair.install(integrity="null", encryption="aes-gcm")
    talk(pair, edge, rounds=1)
    first = next(p for p in of_set(wire, edge) if p.source == UE[4])
    with pair.ue.enter():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ESP)
    with raw:
        raw.sendto(first.payload, (EDGE[4], 0))  # a replay, to the bit
        wait_until(lambda: len(of_set(wire, edge)) == 5, "the replay is on the wire")
        assert repeats(of_set(wire, edge)) == []
        # Another number, the same IV: what a broken generator would send.
        forged = first.payload[:4] + (77).to_bytes(4, "big") + first.payload[8:]
        raw.sendto(forged, (EDGE[4], 0))
        wait_until(lambda: len(of_set(wire, edge)) == 6, "the forged packet is on the wire")

    ((known, repeated),) = repeats(of_set(wire, edge))
    assert (known, repeated) == (sent(first), sent(first)._replace(sequence=77))
    assert len(masks(of_set(wire, edge))[first.spi]) == 2
