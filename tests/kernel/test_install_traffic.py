"""An installed set carries SIP's packets, and nothing else passes: a real kernel on both sides."""

from collections.abc import Iterator

import pytest

from netlink.secret import Secret
from sad.model.algorithms import AlgorithmPair, derive_keys
from tests.support import eye
from tests.support.daemon import wait_until
from tests.support.make import ALL_PAIRS, CK, IK
from tests.support.pair import (
    EDGE,
    EDGE_SERVER,
    UE,
    UE_CLIENTS,
    UE_SERVER,
    Pair,
    pair_of_daemons,
)
from tests.support.sniffer import Sniffer

pytestmark = pytest.mark.kernel

PROTECTED = {EDGE_SERVER, 5068, 5069, UE_SERVER, *UE_CLIENTS}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair_of_daemons(tmp_path_factory.mktemp("pair")) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_is_left(pair: Pair) -> Iterator[None]:
    yield
    for daemon in (pair.edge_daemon, pair.ue_daemon):
        for association in daemon.associations():
            daemon.call("Release", id=association["id"])
    assert eye.states(pair.edge) == []
    assert eye.states(pair.ue) == []


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("integrity", "encryption"), ALL_PAIRS)
def test_each_algorithm_pair_has_the_vectors_keys_and_carries_sip(
    pair: Pair, integrity: str, encryption: str, version: int
) -> None:
    """Norms 11, 13, 17: keys in the kernel equal the vectors; UDP on all four rows, TCP both ways.

    The wire shows ESP with the SPI of the row, and never the text.
    """
    edge, _ = pair.install(version, integrity=integrity, encryption=encryption)
    keys = derive_keys(AlgorithmPair(integrity, encryption), Secret(IK), Secret(CK))
    for side in (pair.edge, pair.ue):
        seen = eye.states(side)
        assert len(seen) == 4
        assert {s.auth_key for s in seen} == {keys.integrity.reveal().hex()}
        assert {s.enc_key for s in seen} == {keys.encryption.reveal().hex()}
        assert {s.replay_window for s in seen} == {128}  # T33-7.1-j
        assert all(s.hard_add >= 120 for s in seen)

    s = edge["ipsec3gpp"]
    spis = [s["spiPs"], s["spiUc"], s["spiUs"], s["spiPc"]]
    with pair.edge.enter():
        sniffer = Sniffer(pair.cable.a)
    with sniffer:
        for (source, destination), spi in zip(pair.port_pairs(edge), spis, strict=True):
            before = len(sniffer.esp())
            assert pair.udp(source, destination, b"OPTIONS sip:row SIP/2.0")
            assert [p.spi for p in sniffer.esp()[before:]] == [spi]
        rows = pair.port_pairs(edge)
        # A TCP connection takes the two rows of its ports: there and back.
        for (source, destination), used in ((rows[0], spis[:2]), (rows[2], spis[2:])):
            before = len(sniffer.esp())
            assert pair.tcp(source, destination, b"REGISTER sip:row SIP/2.0")
            # The last packets of the connection before may still come in between.
            assert {p.spi for p in sniffer.esp()[before:]} >= set(used)
        assert sniffer.clear_on(PROTECTED) == []
        if encryption != "null":
            assert not sniffer.saw_bytes(b"sip:row")


@pytest.mark.parametrize("version", [4, 6])
def test_cross_pairs_pass(pair: Pair, version: int) -> None:
    """INTEROP-1: u.s to p.s, u.c to p.c and back go through the set, not in clear."""
    edge, _ = pair.install(version)

    with pair.edge.enter():
        sniffer = Sniffer(pair.cable.a)
    with sniffer:
        for source, destination in pair.cross_pairs(edge):
            assert pair.udp(source, destination, b"NOTIFY sip:cross SIP/2.0")
        assert len(sniffer.esp()) == 4
        assert sniffer.clear_on(PROTECTED) == []


def test_both_sets_of_a_re_registration_pass_each_others_policies(pair: Pair) -> None:
    """Design 7: one inbound reqid per registration; T33-7.1-g: the server ports stay."""
    first, _ = pair.install()
    second, _ = pair.install(client=1, spis=(27775, 27776))
    assert second["ipsec3gpp"]["portPc"] != first["ipsec3gpp"]["portPc"]

    for association in (first, second):
        for source, destination in pair.port_pairs(association):
            assert pair.udp(source, destination, b"MESSAGE sip:both SIP/2.0")
    assert len(eye.states(pair.edge)) == 8

    for daemon in (pair.edge_daemon, pair.ue_daemon):
        daemon.call("Release", id=daemon.associations()[0]["id"])
    for source, destination in pair.port_pairs(second):
        assert pair.udp(source, destination, b"MESSAGE sip:second SIP/2.0")


@pytest.mark.parametrize("version", [4, 6])
def test_clear_text_to_and_from_protected_ports_is_dropped_and_counted(
    pair: Pair, version: int
) -> None:
    """IPS-8, T33-7.1-e: from the wire and from local senders, before and during an association."""
    stranger, protected = (UE[version], 45000), (EDGE[version], EDGE_SERVER)

    def dropped(direction: str, source: tuple[str, int], destination: tuple[str, int]) -> bool:
        counter = f"Xfrm{direction}PolBlock"
        before = eye.statistics(pair.edge)[counter]
        arrived = pair.udp_arrives(source, destination)
        return not arrived and eye.statistics(pair.edge)[counter] > before

    assert dropped("In", stranger, protected)
    assert dropped("Out", protected, stranger)
    pair.install(version)
    # The UE's own kernel blocks what its local senders would send in clear to port_ps.
    assert not pair.udp_arrives(stranger, protected)
    assert dropped("Out", protected, stranger)
    # A local sender that took the wrong socket: 5060 to the UE's protected port.
    assert dropped("Out", (EDGE[version], 5060), (UE[version], UE_SERVER))


def test_an_association_ends_on_time_and_the_kernel_is_empty(pair: Pair) -> None:
    """T24-P-12: the lifetime over, SAs and policies are gone and nothing passes."""
    standing = len(eye.policies(pair.edge))
    edge, _ = pair.install(lifetime=2)
    source, destination = pair.port_pairs(edge)[0]
    assert pair.udp(source, destination, b"in time")

    wait_until(lambda: not pair.edge_daemon.associations(), "the association has expired")

    assert eye.states(pair.edge) == []
    assert len(eye.policies(pair.edge)) == standing
    assert not pair.udp_arrives(source, destination)


def test_confirm_lengthens_and_linger_shortens_without_keys(pair: Pair) -> None:
    """Design 6: NEWAE lengthens, UPDSA with zero keys shortens; traffic and keys stay."""
    edge, _ = pair.install(lifetime=None, encryption="aes-cbc")
    assert edge["state"] == "temporary"
    pair.ue_daemon.call("Confirm", id=pair.ue_daemon.associations()[0]["id"], expiresSeconds=600)
    keys = {s.auth_key for s in eye.states(pair.edge)}
    source, destination = pair.port_pairs(edge)[0]
    assert pair.udp(source, destination, b"before")

    confirmed = pair.edge_daemon.call("Confirm", id=edge["id"], expiresSeconds=600)["association"]
    assert (confirmed["state"], confirmed["secondsLeft"] >= 629) == ("established", True)
    counters = pair.edge_daemon.call("Get", id=edge["id"])["counters"]
    assert next(c for c in counters if c["name"] == "SA1")["packets"] == 1  # counters survive
    assert pair.udp(source, destination, b"lengthened")

    released = pair.edge_daemon.call("Release", id=edge["id"], lingerSeconds=3)["associations"]
    assert released[0]["state"] == "retiring"
    assert pair.udp(source, destination, b"lingering")
    assert {s.auth_key for s in eye.states(pair.edge)} == keys
    wait_until(lambda: not pair.edge_daemon.associations(), "the linger is over")
    assert eye.states(pair.edge) == []
