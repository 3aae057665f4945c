"""The checker of IVs on capture files: what it says of three kinds of phones (T33-I-b)."""

import struct
import sys
from pathlib import Path

import pytest

from tests.support.nonces import main, read_capture, report

EDGE, PHONE = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


def frame(spi: int, sequence: int, iv: int, *, protocol: int = 50, text: bytes = b"x") -> bytes:
    body = struct.pack("!IIQ", spi, sequence, iv) + text * 24
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, PHONE, EDGE
    )
    return bytes(12) + b"\x08\x00" + head + body


def capture(*frames: bytes, order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    content = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for one in frames:
        content += struct.pack(f"{order}IIII", 1, 2, len(one), len(one)) + one
    return content


def sa(spi: int, mask: int, count: int = 3) -> list[bytes]:
    return [frame(spi, number, mask ^ number) for number in range(1, count + 1)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_a_phone_like_linux_is_found_good(order: str, magic: int) -> None:
    """Each SA has a value of its own, and no IV is there twice; a replay is none."""
    frames = [*sa(0x1001, 0x1234 << 40), *sa(0x1002, 0x9999 << 40)]
    content = capture(*frames, frames[0], frame(1, 1, 1, protocol=17), order=order, magic=magic)

    lines = report(read_capture(content))
    assert lines == [
        "SPI 0x00001001: 4 packets, IV is its number XOR one value of this SA",
        "SPI 0x00001002: 3 packets, IV is its number XOR one value of this SA",
        "7 packets, 0 IVs twice",
    ]


def test_a_phone_that_counts_in_both_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within RFC 4106 for each SA alone, and fatal with one key for both."""
    path = tmp_path / "phone.pcap"
    path.write_bytes(capture(*sa(0x1001, 0), *[frame(0x1002, n, n, text=b"y") for n in (1, 2)]))
    monkeypatch.setattr(sys, "argv", ["nonces", str(path)])

    assert main() == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "SPI 0x00001001: 3 packets, IV is its number alone"
    assert said[2] == (
        "IV 0000000000000001 TWICE: SPI 0x00001001 number 1, SPI 0x00001002 number 1"
    )
    assert said[-1] == "5 packets, 2 IVs twice"


def test_random_ivs_are_told_apart() -> None:
    """Nothing is repeated, but it is no counter either."""
    frames = [frame(0x1001, n, n * 0x9E3779B97F4A7C15 % 2**64) for n in (1, 2, 3)]
    assert "3 values XOR numbers" in report(read_capture(capture(*frames)))[0]


@pytest.mark.parametrize("content", [b"", b"no capture", capture(link=113)])
def test_other_files_are_refused(content: bytes) -> None:
    """An error in words, never a verdict over nothing."""
    with pytest.raises(ValueError, match="tcpdump -w"):
        list(read_capture(content))
