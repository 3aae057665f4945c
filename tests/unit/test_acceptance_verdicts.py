"""What the acceptance run says of scenarios, packets and keys; no machine is needed."""

import base64
import dataclasses
import struct

import pytest

from tests.acceptance import capture
from tests.acceptance.first_hop import kamailio
from tests.acceptance.plan import CLEAR_PROBE, EDGE, UE
from tests.acceptance.runner import Result, table, verdict
from tests.acceptance.scenarios.last import forms
from tests.support.sniffer import Packet

KEY = bytes(range(100, 120))
ESP, TCP, UDP = 50, 6, 17


def packet(
    protocol: int, source: str, destination: str, ports: tuple[int, int], payload: bytes = b""
) -> Packet:
    return Packet(protocol, source, destination, *ports, spi=0, payload=payload)


@pytest.mark.parametrize(
    ("words", "seconds", "told", "status"),
    [
        ([""], 5, "passed: 1 of 1 scenarios; 5 s", 0),
        (["", "AssertionError: no"], 5, "FAILED: 1 of 2 scenarios; 5 s", 1),
        (["", None], 5, "FAILED: 1 of 2 scenarios; 5 s", 1),
        ([], 5, "FAILED: 0 of 0 scenarios; 5 s", 1),
    ],
)
def test_a_run_passes_only_when_every_scenario_ran_and_passed(
    words: list[str | None], seconds: float, told: str, status: int
) -> None:
    """What ran nowhere proves nothing: it fails the run like what went wrong."""
    results = [Result(f"number {n}", word, 1.0) for n, word in enumerate(words)]

    assert table(results, seconds).splitlines()[-1] == told
    assert verdict(results) == status


def test_a_failed_scenario_says_why_in_the_table() -> None:
    """The last line of what went wrong stands below its row."""
    told = table([Result("expiry", "Traceback\nAssertionError: 4 SAs", 1.0)], 1.0)

    assert "AssertionError: 4 SAs" in told


@pytest.mark.parametrize("version", [4, 6])
def test_clear_text_on_a_protected_port_is_seen_both_ways(version: int) -> None:
    """Design 7: neither direction, neither transport."""
    edge, ue = EDGE[version], UE[version]
    seen = [
        packet(UDP, edge, ue, (5068, 20000)),
        packet(TCP, ue, edge, (20000, 5064)),
        packet(UDP, edge, ue, (5064, 20000), b"from the edge, " + CLEAR_PROBE),
    ]
    unseen = [
        packet(UDP, ue, edge, (5060, 5060)),
        packet(ESP, ue, edge, (0, 0)),
        packet(UDP, ue, edge, (20000, 5064), b"on purpose: " + CLEAR_PROBE),
    ]

    assert capture.clear([*unseen, *seen]) == seen


@pytest.mark.parametrize(("flags", "is_reset"), [(0x14, True), (0x04, True), (0x10, False)])
def test_a_reset_inside_esp_is_told_by_its_flag(flags: int, is_reset: bool) -> None:
    """ESP with null encryption: SPI, sequence number, then the TCP segment."""
    segment = struct.pack("!HHIIBBHHH", 5064, 20000, 1, 1, 5 << 4, flags, 0, 0, 0)
    inside = struct.pack("!II", 0x10000, 7) + segment

    assert capture.is_reset_inside(packet(ESP, EDGE[4], UE[4], (0, 0), inside)) == is_reset
    assert not capture.is_reset_inside(packet(TCP, EDGE[4], UE[4], (5064, 20000), inside))


def in_udp(payload: bytes, ports: tuple[int, int] = (4500, 41000)) -> Packet:
    """What a NAT makes of the edge's port 4500: a UDP header, then the payload."""
    header = struct.pack("!HHHH", *ports, 8 + len(payload), 0)
    return packet(UDP, EDGE[4], UE[4], ports, header + payload)


def test_what_passes_through_a_nat_is_told_apart() -> None:
    """RFC 3948 2: ESP by its SPI, IKE by four zero bytes, a keep-alive packet by its one byte."""
    esp = in_udp(struct.pack("!II", 0x10000, 7) + bytes(40))
    ike = in_udp(bytes(4) + bytes(40))
    keep_alive = in_udp(b"\xff")
    padded = dataclasses.replace(keep_alive, payload=keep_alive.payload + bytes(17))
    elsewhere = in_udp(struct.pack("!II", 0x10000, 7) + bytes(40), (4501, 41000))
    packets = [esp, ike, keep_alive, padded, elsewhere, packet(ESP, EDGE[4], UE[4], (0, 0))]

    assert capture.encapsulated(packets) == [esp]
    assert capture.keep_alives(packets) == [keep_alive, padded]


def test_the_first_hop_is_the_shipped_example_with_switches_and_users() -> None:
    """What is on in the machine is what users take a # off; users stand there by H(A1) alone."""
    text = kamailio(("WITH_TLS",), {"alice": "0123"})

    assert "\n#!define WITH_TLS\n" in text
    assert "\n##!define WITH_IPSEC\n" in text
    assert f"!_ACCESS4_!{EDGE[4]}!g" in text
    assert '$sht(sad_users=>alice@example.org) = "0123";' in text
    assert "192.0.2.1" not in text


@pytest.mark.parametrize(
    "hidden",
    [
        KEY,
        KEY.hex().encode(),
        KEY.hex().upper().encode(),
        base64.b64encode(KEY),
        base64.b64encode(b"x" + KEY + b"y"),
        base64.b64encode(b"xy" + KEY + b"yz"),
        base64.b64encode(b"xyz" + KEY),
    ],
)
def test_a_key_in_a_log_is_found_in_every_form(hidden: bytes) -> None:
    """By bytes, in hex, in base64 at any offset; and a log without it is clean."""
    assert any(form in b"Nov 25 edge sad[1]: " + hidden + b"\n" for form in forms(KEY))
    assert not any(form in b"Nov 25 edge sad[1]: ready\n" for form in forms(KEY))
