"""The UE's side of the agreement: choice, keys, and the kernel commands of a set."""

from dataclasses import replace

import pytest

from tests.ue.config import next_registration_in
from tests.ue.headers import SipError
from tests.ue.security import (
    AgreementAborted,
    Offer,
    SaSet,
    agree,
    choose,
    esp_transforms,
    parse_server_list,
)
from tests.ue.xfrm import IpXfrm, XfrmError, add_commands, remove_commands

IK = bytes.fromhex("f769bcd751044604127672711c6d3441")
CK = bytes.fromhex("b40ba9a3c58b2a05bbf0d987b21bf8cb")
PAIRS = (("hmac-sha-1-96", "aes-cbc"), ("hmac-sha-1-96", "null"), ("hmac-md5-96", "null"))
OFFER = Offer(spi_c=1001, spi_s=1002, port_c=6001, port_s=6002, algorithms=PAIRS)
NUMBERS = "spi-c=2001;spi-s=2002;port-c=7001;port-s=7002"


def server(*entries: str) -> list[str]:
    return [f"ipsec-3gpp;{entry};{NUMBERS}" for entry in entries]


def set_of(*rows: str, address: str = "192.0.2.2", peer: str = "192.0.2.1") -> SaSet:
    return agree(rows, OFFER, ue_address=address, pcscf_address=peer, ck=CK, ik=IK)


@pytest.mark.parametrize(
    ("pair", "auth", "enc"),
    [
        (("hmac-md5-96", "null"), "f769bcd751044604127672711c6d3441", ""),
        (("hmac-sha-1-96", "null"), "f769bcd751044604127672711c6d344100000000", ""),
        (
            ("hmac-sha-1-96", "aes-cbc"),
            "f769bcd751044604127672711c6d344100000000",
            "b40ba9a3c58b2a05bbf0d987b21bf8cb",
        ),
        (
            ("hmac-md5-96", "des-ede3-cbc"),
            "f769bcd751044604127672711c6d3441",
            "b40ba9a3c58b2a05bbf0d987b21bf8cbb40ba9a3c58b2a05",
        ),
    ],
)
def test_esp_keys(pair: tuple[str, str], auth: str, enc: str) -> None:
    """TS 33.203 Annex I, vectors of norms 17."""
    transforms = esp_transforms(*pair, ck=CK, ik=IK)
    assert transforms.auth is not None
    assert transforms.enc is not None
    assert (transforms.auth[1].hex(), transforms.enc[1].hex()) == (auth, enc)
    assert "f769" not in repr(transforms)


@pytest.mark.parametrize(
    ("pair", "name", "key"),
    [
        (
            ("aes-gmac", "null"),
            "rfc4543(gcm(aes))",
            "f769bcd751044604127672711c6d3441dbc2b1c2",
        ),
        (
            ("null", "aes-gcm"),
            "rfc4106(gcm(aes))",
            "b40ba9a3c58b2a05bbf0d987b21bf8cb89273db6",
        ),
    ],
)
def test_aead_keys(pair: tuple[str, str], name: str, key: str) -> None:
    """T33-I-a: key and salt, vectors of norms 17."""
    aead = esp_transforms(*pair, ck=CK, ik=IK).aead
    assert aead == (name, bytes.fromhex(key), 128)


@pytest.mark.parametrize("pair", [("null", "null"), ("null", "aes-cbc"), ("hmac-md5-96", "x")])
def test_pairs_without_protection_are_refused(pair: tuple[str, str]) -> None:
    """T33-H-c: no SA without integrity."""
    with pytest.raises(AgreementAborted):
        esp_transforms(*pair, ck=CK, ik=IK)


def test_offer_has_one_mechanism_a_pair_and_no_q() -> None:
    """T33-H-h, R3329-2.3.1-c."""
    mechanisms = parse_server_list([str(OFFER)])
    assert [(m.value("alg", ""), m.value("ealg", "")) for m in mechanisms] == list(PAIRS)
    assert {m.q for m in mechanisms} == {-1}
    assert "spi-c=1001;spi-s=1002;port-c=6001;port-s=6002" in str(OFFER)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (("q=0.1;alg=hmac-sha-1-96", "q=0.5;alg=hmac-md5-96"), ("hmac-md5-96", "null")),
        (("q=0.5;alg=hmac-sha-1-96", "q=0.1;alg=hmac-md5-96"), ("hmac-sha-1-96", "null")),
        (("q=0.9;alg=aes-gmac", "q=0.1;alg=hmac-md5-96"), ("hmac-md5-96", "null")),
        (("q=0.5;alg=hmac-md5-96", "q=0.5;alg=hmac-sha-1-96"), ("hmac-md5-96", "null")),
        (("alg=hmac-md5-96", "q=0.1;alg=hmac-sha-1-96"), ("hmac-sha-1-96", "null")),
        (("alg=hmac-sha-1-96;ealg=aes-cbc",), ("hmac-sha-1-96", "aes-cbc")),
        (("q=1;alg=hmac-sha-1-96;prot=ah", "alg=hmac-md5-96"), ("hmac-md5-96", "null")),
        (("q=1;alg=hmac-sha-1-96;mod=tun", "alg=hmac-md5-96"), ("hmac-md5-96", "null")),
    ],
)
def test_most_preferred_common_mechanism(
    entries: tuple[str, ...], expected: tuple[str, str]
) -> None:
    """R3329-2.3.1-j, T33-7.2-c, GAP-5, INTEROP-8: the highest q decides, not the order."""
    chosen = choose(parse_server_list(server(*entries)), OFFER)
    assert (chosen.value("alg", ""), chosen.value("ealg", "null")) == expected


@pytest.mark.parametrize("q", ["1.001", ".5", "0.1234", "2", "-0.1", '""'])
def test_bad_q_is_refused(q: str) -> None:
    """R3329-2.2-b."""
    with pytest.raises(SipError):
        parse_server_list([f"ipsec-3gpp;q={q};alg=hmac-md5-96"])


@pytest.mark.parametrize(
    "numbers",
    [
        "spi-c=2001;spi-s=2001;port-c=7001;port-s=7002",
        "spi-c=1001;spi-s=2002;port-c=7001;port-s=7002",
        "spi-c=0;spi-s=2002;port-c=7001;port-s=7002",
        "spi-c=255;spi-s=2002;port-c=7001;port-s=7002",
        "spi-c=4294967296;spi-s=2002;port-c=7001;port-s=7002",
        "spi-c=0x10;spi-s=2002;port-c=7001;port-s=7002",
        "spi-c=2001;spi-s=2002;port-c=7001;port-s=7001",
        "spi-c=2001;spi-s=2002;port-c=7001;port-s=5060",
        "spi-c=2001;spi-s=2002;port-c=5061;port-s=7002",
        "spi-c=2001;spi-s=2002;port-c=7001",
    ],
)
def test_unusable_server_parameters_abort(numbers: str) -> None:
    """T33-7.1-e, -f, -h, IPS-1, R3329-2.3.1-k."""
    with pytest.raises(AgreementAborted):
        set_of(f"ipsec-3gpp;alg=hmac-sha-1-96;{numbers}")


def test_policies_and_selectors_are_the_table_of_33_203() -> None:
    """T33-7.1-b: SA1 to SA4 with both ports, each policy bound to its own SA."""
    commands = add_commands(set_of(*server("alg=hmac-sha-1-96;ealg=aes-cbc")))
    table = {
        ("out", "192.0.2.2", "192.0.2.1", 6001, 7002, 2002),  # SA1 u.c -> p.s
        ("in", "192.0.2.1", "192.0.2.2", 7002, 6001, 1001),  # SA2 p.s -> u.c
        ("in", "192.0.2.1", "192.0.2.2", 7001, 6002, 1002),  # SA3 p.c -> u.s
        ("out", "192.0.2.2", "192.0.2.1", 6002, 7001, 2001),  # SA4 u.s -> p.c
    }
    expected = set()
    for way, src, dst, sport, dport, spi in table:
        ports = f"src {src}/32 dst {dst}/32 sport {sport} dport {dport}"
        expected.add(
            f"xfrm policy add dir {way} {ports} priority 1000 tmpl src {src} dst {dst}"
            f" proto esp reqid {spi} mode transport level required"
        )
        expected.add(
            f"xfrm state add src {src} dst {dst} proto esp spi 0x{spi:08x} reqid {spi} mode"
            f" transport replay-window 32 auth-trunc hmac(sha1) 0x{IK.hex()}00000000 96"
            f" enc cbc(aes) 0x{CK.hex()} sel {ports}"
        )
    assert set(commands) == expected
    assert len(commands) == 8
    assert all(" state " in command for command in commands[:4]), "SAs before policies"


def test_removal_names_what_was_added() -> None:
    """A set leaves nothing: each SA by its SPI, each policy by its selector."""
    sa_set = set_of(*server("alg=hmac-sha-1-96"), address="2001:db8::2", peer="2001:db8::1")
    gone = remove_commands(sa_set, last=True)
    assert len(gone) == 8
    for added in add_commands(sa_set):
        if " policy " in added:
            head = added.partition(" priority")[0].replace(" add ", " delete ")
        else:
            head = added.partition(" reqid")[0].replace(" add ", " delete ")
        assert head in gone
        assert "2001:db8::" in head


def test_cross_pairs_are_installed_only_when_asked_for() -> None:
    """INTEROP-1: four more policies, of which u.s/p.s outlive a set that is not the last."""
    strict = set_of(*server("alg=hmac-sha-1-96"))
    lax = replace(strict, cross_pairs=True)
    cross = [c for c in add_commands(lax) if "policy update" in c]
    assert len(add_commands(strict)) == 8
    assert len(cross) == 4
    assert any("dir in" in c and "sport 7002 dport 6002" in c for c in cross)
    shared = "sport 6002 dport 7002"
    assert any(shared in command for command in remove_commands(lax, last=True))
    assert not any(shared in command for command in remove_commands(lax, last=False))


async def test_kernel_refusal_is_an_error_without_keys() -> None:
    """`ip` tells line by line what failed; a key never shows, the next group works again."""
    xfrm = IpXfrm()
    try:
        with pytest.raises(XfrmError) as caught:
            await xfrm.run(
                [f"xfrm state add src x dst y proto esp spi 1 enc cbc(aes) 0x{CK.hex()}"]
            )
        assert CK.hex() not in str(caught.value)
        await xfrm.run(["link show lo"])
        with pytest.raises(XfrmError):
            await xfrm.run(["link show lo", "nonsense", "link show lo"])
        await xfrm.run(["link show lo"])
    finally:
        await xfrm.close()


@pytest.mark.parametrize(
    ("granted", "expected"), [(3600, 3000), (1201, 601), (1200, 600), (60, 30)]
)
def test_next_registration(granted: int, expected: float) -> None:
    """T24-UE-7: 600 s before expiry above 1200 s, else at half time."""
    assert next_registration_in(granted) == expected
