"""Key sets of ipsec-man: each bad one refused with its own reason, the others not disturbed."""

from pathlib import Path
from typing import Any

import pytest

from sad.model.endpoint import Role
from sad.model.sa_pair import Activation
from tests.support.key_files import (
    DAY,
    ENCRYPTION_KEY,
    INTEGRITY_KEY,
    NEXT_INTEGRITY_KEY,
    NOW,
    Bare,
    assert_no_key,
    instant,
    key_set,
    line_of,
    load,
    successor,
    write,
)


def test_a_good_file_becomes_key_sets(tmp_path: Path) -> None:
    """R3329-2.4-man-a: everything was agreed on beforehand; what is left out has a meaning."""
    write(tmp_path / "peer.toml", key_set(), successor(identity="b.example", activation="always"))
    write(
        tmp_path / "split.toml",
        key_set(
            name="split",
            peer_address="10.10.0.3",
            spi_in=4099,
            integrity="hmac-sha-1-96",
            encryption="null",
            integrity_key=None,
            encryption_key=None,
            integrity_key_in=INTEGRITY_KEY[:40],
            integrity_key_out=NEXT_INTEGRITY_KEY[:40],
            activation="agreement",
        ),
    )
    # A set that follows another one keeps its identity: the second of peer.toml does not.
    found = load(tmp_path)

    assert [p.key for p in found.problems] == ["new.identity"]
    old, split = found.sets
    assert (old.local_address, old.identity, old.role) == ("10.10.0.1", "10.10.0.2", Role.EDGE)
    assert old.keys_in.integrity.reveal().hex() == INTEGRITY_KEY
    assert old.keys_out.encryption.reveal().hex() == ENCRYPTION_KEY
    assert old.keys_in.integrity is not old.keys_out.integrity
    assert split.activation is Activation.AGREEMENT
    assert split.keys_in.integrity.reveal().hex() == INTEGRITY_KEY[:40]
    assert split.keys_out.integrity.reveal().hex() == NEXT_INTEGRITY_KEY[:40]
    assert len(split.keys_in.encryption) == 0


#: What is wrong -> the changes of a good set, the field that is named, words of the reason.
BAD_SETS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no name": ({"name": None}, "name", "missing"),
    "name": ({"name": "../../etc"}, "name", "no name of a key set"),
    "unknown field": ({"lifetime": 5}, "lifetime", "unknown field"),
    "no endpoint of the settings": ({"endpoint": "core"}, "endpoint", "no such endpoint"),
    "endpoint without ipsec-man": ({"endpoint": "access"}, "endpoint", "does not list ipsec-man"),
    "role": ({"role": "ue"}, "role", "role ue is off"),
    "no peer": ({"peer_address": None}, "peer_address", "missing"),
    "always without an address": (
        {"peer_address": None, "identity": "b.example", "integrity": "hmac-sha-256-128"},
        "peer_address",
        "missing",
    ),
    "local address alone": (
        {
            "peer_address": None,
            "identity": "b.example",
            "activation": "agreement",
            "local_address": "10.10.0.1",
        },
        "local_address",
        "goes with peer_address only",
    ),
    "peer's name": ({"peer_address": "b.example"}, "peer_address", "no IP address"),
    "peer is loopback": ({"peer_address": "127.0.0.1"}, "peer_address", "a loopback address"),
    "peer is multicast": ({"peer_address": "224.0.0.1"}, "peer_address", "a multicast address"),
    "peer is this node": ({"peer_address": "10.10.0.1"}, "peer_address", "own address"),
    "other IP version": ({"peer_address": "2001:db8::2"}, "peer_address", "no IPv6 address"),
    "local address": ({"local_address": "10.10.0.9"}, "local_address", "not an address of"),
    "identity": ({"identity": "b\nexample"}, "identity", "no identity"),
    "SPI 0": ({"spi_in": 0}, "spi_in", "an SPI is 1 to"),
    "SPI of IANA": ({"spi_out": 255}, "spi_out", "reserved by IANA"),
    "SPI of 33 bits": ({"spi_out": 1 << 32}, "spi_out", "an SPI is 1 to"),
    "SPI is text": ({"spi_in": "many"}, "spi_in", "integer"),
    "SPI is a truth value": ({"spi_in": True}, "spi_in", "truth value"),
    "equal SPIs": ({"spi_out": 4097}, "spi_out", "equal to spi_in"),
    "SPI that is drawn": ({"spi_in": 150_000}, "spi_in", "endpoint access draws"),
    "no port": ({"local_ports": []}, "local_ports", "no port is listed"),
    "port twice": ({"peer_ports": [5064, 5064]}, "peer_ports", "stands there twice"),
    "port 0": ({"peer_ports": [0]}, "peer_ports", "a port is 1 to 65535"),
    "port of another endpoint": ({"local_ports": [5080]}, "local_ports", "no port of endpoint"),
    "port of clear SIP": ({"peer_ports": [5060]}, "peer_ports", "differ from 5060"),
    "AES-GCM": ({"encryption": "aes-gcm-16"}, "encryption", "never used twice"),
    "AES-CTR": ({"encryption": "aes-ctr"}, "encryption", "never used twice"),
    "GMAC": ({"integrity": "aes-gmac"}, "integrity", "never used twice"),
    "no integrity": ({"integrity": "null"}, "integrity", "without integrity protection"),
    "HMAC-MD5": ({"integrity": "hmac-md5-96"}, "integrity", "must not be used"),
    "3DES": ({"encryption": "des-ede3-cbc"}, "encryption", "must not be used"),
    "length of AES": ({"encryption": "aes-cbc"}, "encryption", "how long its key is"),
    "unknown cipher": ({"encryption": "camellia"}, "encryption", "not known"),
    "unknown integrity": ({"integrity": "hmac-sha-3"}, "integrity", "not known"),
    "key too short": ({"integrity_key": INTEGRITY_KEY[:40]}, "integrity_key", "not 20"),
    "key too long": ({"encryption_key": ENCRYPTION_KEY * 2}, "encryption_key", "not 32"),
    "no key": ({"integrity_key": None}, "integrity_key", "missing"),
    "half a key": ({"encryption_key": ENCRYPTION_KEY[:31]}, "encryption_key", "odd number"),
    "key with 0x": ({"integrity_key": f"0x{INTEGRITY_KEY}"}, "integrity_key", "not hex digits"),
    "key without quotes": ({"integrity_key": 12345}, "integrity_key", "a key is text"),
    "key of zeros": ({"integrity_key": "00" * 32}, "integrity_key", "guess it"),
    "one key for both": (
        {"encryption_key": INTEGRITY_KEY[:32]},
        "encryption_key",
        "begins like the integrity key",
    ),
    "key of null": ({"encryption": "null"}, "encryption_key", "null has no key"),
    "key of one direction": (
        {"integrity_key": None, "integrity_key_in": INTEGRITY_KEY},
        "integrity_key_out",
        "missing",
    ),
    "three keys": ({"integrity_key_in": INTEGRITY_KEY}, "integrity_key", "beside one of its own"),
    "no time zone": ({"not_after": Bare("2027-01-01T00:00:00")}, "not_after", "without its zone"),
    "a day": ({"not_after": Bare("2027-01-01")}, "not_after", "no date with a time"),
    "ends before it begins": (
        {"not_after": instant(NOW - 2 * DAY)},
        "not_after",
        "not later than not_before",
    ),
    "activation": ({"activation": "sometimes"}, "activation", "always"),
}


@pytest.mark.parametrize("case", BAD_SETS)
def test_a_bad_set_is_refused_with_its_line_and_reason(tmp_path: Path, case: str) -> None:
    """IPS-1, IPS-3, IPS-4, IPS-5, IPS-7, IPS-8, R3329-2.4-man-a: one fault each, and no key."""
    changes, field, words = BAD_SETS[case]
    bad = key_set(**changes)
    write(tmp_path / "bad.toml", bad)
    write(tmp_path / "other.toml", successor())

    found = load(tmp_path)

    (problem,) = found.problems
    stands = field in bad
    line = line_of(field, bad) if stands else 2
    assert problem.origin == f"{tmp_path}/bad.toml:{line}"
    assert problem.key.rpartition(".")[2].partition("[")[0] == field
    assert words in problem.reason
    assert problem.hint
    assert [s.name for s in found.sets] == ["new"]
    assert_no_key(str(problem))


def test_every_reason_is_its_own(tmp_path: Path) -> None:
    """No two mistakes of the table read the same."""
    texts = []
    known = {k: v for k, v in BAD_SETS.items() if k != "always without an address"}
    for number, (changes, field, _) in enumerate(known.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder / "bad.toml", key_set(**changes))
        (problem,) = load(folder).problems
        texts.append((field, problem.reason))

    assert len(set(texts)) == len(known) >= 25


#: What is wrong between two -> the changes of the second, the field that is named, its reason.
BAD_PAIRS: dict[str, tuple[dict[str, Any], str, str]] = {
    "one name": ({"name": "old"}, "name", "has this name"),
    "one inbound SPI": ({"spi_in": 4097}, "spi_in", "is that of"),
    "one outbound SPI": ({"spi_out": 8193}, "spi_out", "is that of"),
    "one key": ({"integrity_key": INTEGRITY_KEY}, "integrity_key", "is that of"),
    "some ports": ({"peer_ports": [5064, 5070]}, "peer_ports", "some of these ports"),
    "within": ({"not_after": instant(NOW + DAY / 2)}, "not_before", "within each other"),
    "the same time": (
        {"not_before": instant(NOW - DAY), "not_after": instant(NOW + DAY)},
        "not_before",
        "within each other",
    ),
    "another activation": ({"activation": "agreement"}, "activation", "differs from"),
    "one SPI of a roaming peer": (
        {
            "spi_in": 4097,
            "peer_address": None,
            "identity": "c.example",
            "activation": "agreement",
        },
        "spi_in",
        "is that of",
    ),
    "another identity": ({"identity": "b.example"}, "identity", "differs from"),
}


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_of_two_that_cannot_stand_together_the_later_goes(tmp_path: Path, case: str) -> None:
    """IPS-1 and RFC 3329 2.5: overlapping keys are a rotation, or they are refused."""
    changes, field, words = BAD_PAIRS[case]
    second = successor(**changes)
    write(tmp_path / "a.toml", key_set(), second)

    found = load(tmp_path)

    assert [s.name for s in found.sets] == ["old"]
    problem = next(p for p in found.problems if words in p.reason)
    stands = line_of(field, key_set(), second) if field in second else 2 + len(key_set()) + 1
    assert problem.origin == f"{tmp_path}/a.toml:{stands}"
    assert f"{tmp_path}/a.toml:2" in problem.reason  # where the first one stands
    assert_no_key(str(problem))


def test_three_at_a_time_are_too_many(tmp_path: Path) -> None:
    """A rotation is between two: which of three carries what is sent would be anybody's guess."""
    third = successor(
        name="third",
        spi_in=4099,
        spi_out=8195,
        integrity_key=bytes(range(0x10, 0x30)).hex(),
        not_before=instant(NOW + DAY / 2),
        not_after=instant(NOW + 4 * DAY),
    )
    write(tmp_path / "a.toml", key_set(), successor(), third)

    found = load(tmp_path)

    assert [p.reason.partition(" (")[0] for p in found.problems] == [
        "a third set of this peer would be valid at the same time"
    ]
    third["not_before"] = instant(NOW + DAY)
    write(tmp_path / "a.toml", key_set(), successor(), third)
    assert [s.name for s in load(tmp_path).sets] == ["old", "new", "third"]


def test_an_expired_set_is_refused_and_nobodys_mistake(tmp_path: Path) -> None:
    """RFC 3329 2.5: it ends with its validity; the file of the old and the new one stays good."""
    past = key_set(not_before=instant(NOW - 2 * DAY), not_after=instant(NOW - DAY))
    write(tmp_path / "a.toml", past, successor())

    found = load(tmp_path)

    assert [s.name for s in found.sets] == ["new"]
    assert (found.problems, found.doubtful) == ((), frozenset())
    (expired,) = found.expired
    assert "expired on 2026-11-30 00:00:00Z" in expired.reason


def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    """What stands where a name should may be a key."""
    misplaced = [
        key_set(**{INTEGRITY_KEY: "integrity"}),
        key_set(name=INTEGRITY_KEY + ENCRYPTION_KEY),
        key_set(endpoint=INTEGRITY_KEY),
        key_set(role=INTEGRITY_KEY),
        key_set(integrity=INTEGRITY_KEY),
        key_set(encryption=INTEGRITY_KEY),
        key_set(activation=INTEGRITY_KEY),
        key_set(peer_address=INTEGRITY_KEY),
        key_set(local_address=INTEGRITY_KEY),
        key_set(peer_ports=INTEGRITY_KEY),
        key_set(spi_in=INTEGRITY_KEY),
        key_set(not_after=INTEGRITY_KEY),
        key_set(identity=INTEGRITY_KEY),
        key_set(name=INTEGRITY_KEY),
    ]
    for number, bad in enumerate(misplaced):
        write(tmp_path / f"{number:02}.toml", bad)
    write(tmp_path / "zz.toml", {INTEGRITY_KEY: 1})
    (tmp_path / "zz2.toml").write_text(f"{INTEGRITY_KEY} = 'x'\n")
    (tmp_path / "zz2.toml").chmod(0o600)

    found = load(tmp_path)

    assert len(found.problems) >= len(misplaced)
    for problem in found.problems:
        assert_no_key(str(problem))
