"""d-ver of mechanism digest: vectors of both readings, what it covers (norms 2 and 17)."""

import hashlib

import pytest

from sip_hooks.secagree import (
    DigestUse,
    LocalAgreementError,
    Reading,
    check_d_ver,
    compute_d_ver,
    hash_a1,
    is_md5_family,
    session_ha1,
)
from sip_hooks.secagree.digest import readings, reduce_rows

HA1 = hash_a1("bob", "example.com", "zanzibar")
NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
ROW = "ipsec-ike;q=0.1, digest;d-alg=MD5;d-qop=auth;q=0.2  "
BODY = b"v=0\r\n"
D_VER = "82572b49f589327727ba0522c1b2f0af"


def use(
    qop: str | None = "auth", method: str = "INVITE", uri: str = "sip:proxy.example.com"
) -> DigestUse:
    return DigestUse(HA1, method, uri, NONCE, qop=qop, nc="00000001", cnonce="0a4f113b", body=BODY)


@pytest.mark.parametrize(
    ("reading", "qop", "expected"),
    [
        (Reading.VALUE_ONLY, "auth", "97efcbaf20c90dc385b5be3dad638039"),
        (Reading.VALUE_ONLY, None, "33e661ca13a6542b36b71d81b00fd83e"),
        (Reading.VALUE_ONLY, "auth-int", "c3027fe75026c0725683279829b3c334"),
        (Reading.WITH_NAME, "auth", "82572b49f589327727ba0522c1b2f0af"),
        (Reading.WITH_NAME, None, "5a2762cc7668efc1fc9c62b45244aa1d"),
        (Reading.WITH_NAME, "auth-int", "00d1ee90ae92ce90ea0727d201558a42"),
    ],
)
def test_d_ver_has_the_value_of_the_vectors(
    reading: Reading, qop: str | None, expected: str
) -> None:
    """Both readings, every qop: A2 ends with the list (R3329-2.2-j, R3329-2.2-l, GAP-3)."""
    assert compute_d_ver(use(qop), [ROW], reading) == expected
    assert check_d_ver(expected, use(qop), [ROW], [reading]) is reading


@pytest.mark.parametrize(
    "rows",
    [
        ["ipsec-ike;q=0.1,\r\n  digest;d-alg=MD5;d-qop=auth;q=0.2"],
        ["ipsec-ike;q=0.1, \t  digest;d-alg=MD5;d-qop=auth;q=0.2"],
        [" ipsec-ike;q=0.1 ", "\tdigest;d-alg=MD5;d-qop=auth;q=0.2"],
    ],
)
def test_white_space_folds_and_rows_change_nothing(rows: list[str]) -> None:
    """Each run of white space counts as one SP, rows are joined (R3329-2.2-k, GAP-3)."""
    assert compute_d_ver(use(), rows) == D_VER
    assert reduce_rows(rows) == f"Security-Server: {ROW.strip()}"


@pytest.mark.parametrize(
    "changed",
    [
        compute_d_ver(use(), [ROW.replace("0.2", "0.3")]),
        compute_d_ver(use(), [ROW.partition(", ")[2]]),
        compute_d_ver(use(), [ROW.replace(", ", ",")]),
        compute_d_ver(use(method="MESSAGE"), [ROW]),
        compute_d_ver(use(uri="sip:other.example.com"), [ROW]),
        compute_d_ver(use("auth-int"), [ROW]),
        compute_d_ver(use(None), [ROW]),
        D_VER.upper(),
        "",
    ],
)
def test_what_is_changed_does_not_verify(changed: str) -> None:
    """d-ver protects the agreement: list, request and qop (R3329-2.2-i, R3329-5-d)."""
    assert check_d_ver(changed, use(), [ROW], list(Reading)) is None


def test_a_server_takes_the_other_reading_only_if_it_is_lenient() -> None:
    """The ABNF's reading is the own one, the prose's is taken by a switch (GAP-3)."""
    other = compute_d_ver(use(), [ROW], Reading.VALUE_ONLY)
    strict = readings(Reading.WITH_NAME, lenient=False)
    lenient = readings(Reading.WITH_NAME, lenient=True)

    assert check_d_ver(other, use(), [ROW], strict) is None
    assert check_d_ver(other, use(), [ROW], lenient) is Reading.VALUE_ONLY
    assert check_d_ver(D_VER, use(), [ROW], lenient) is Reading.WITH_NAME


def test_digest_itself_is_not_changed() -> None:
    """The usual response has the usual A2, another value than d-ver (R3329-2.2-m)."""

    def h(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    response = h(f"{HA1}:{NONCE}:00000001:0a4f113b:auth:{h('INVITE:sip:proxy.example.com')}")

    assert response != D_VER
    assert check_d_ver(response, use(), [ROW], list(Reading)) is None


def test_a_session_key_and_a_key_of_digest_aka_work_alike() -> None:
    """-sess hashes nonce and cnonce in (R3329-2.2-l); RES is a password of octets (UPD-3310)."""
    realm = "ims.mnc001.mcc001.3gppnetwork.org"
    res = bytes.fromhex("a54211d5e3ba50bf")

    assert hash_a1(f"001010000000001@{realm}", realm, res) == "da00069eb0de6587da7e09ef503c29db"
    # The RFC 2617 definition, written out
    text = f"{HA1}:{NONCE}:0a4f113b".encode()
    assert session_ha1(HA1, NONCE, "0a4f113b") == hashlib.md5(text).hexdigest()


def test_a_password_of_akav2_is_a_password() -> None:
    """Base64 text that both sides derive; everything behind it is MD5's (UPD-4169)."""
    realm = "ims.mnc001.mcc001.3gppnetwork.org"
    ha1 = hash_a1(f"001010000000001@{realm}", realm, "shzt3q8CWaZnCAWqs3WmEQ==")
    ha2 = hashlib.md5(f"REGISTER:sip:{realm}".encode()).hexdigest()
    nonce = "I1U8vpY3qJ0hiuZNrke/NVXzKLQ1d7m5Sp/6w1Tfr7M="
    text = f"{ha1}:{nonce}:00000001:0a4f113b:auth:{ha2}"

    assert hashlib.md5(text.encode()).hexdigest() == "6774a29ced9929f3dd734d9a97e04ebe"


@pytest.mark.parametrize(
    ("algorithm", "fits"),
    [
        ("MD5", True),
        ("md5-SESS", True),
        ("AKAv1-MD5", True),
        ("AKAv2-MD5", True),
        ("SHA-256", False),
        ("SHA-512-256", False),
        ("AKAv2-SHA-256", False),
        ("", False),
    ],
)
def test_only_digests_of_32_digits_fit_into_d_ver(algorithm: str, fits: bool) -> None:
    """RFC 8760's have 64 (GAP-4, UPD-8760); AKAv2 differs in the password only (UPD-4169)."""
    assert is_md5_family(algorithm) is fits


def test_a_use_that_has_no_d_ver_cannot_exist_and_shows_no_key() -> None:
    """H(A1) has 32 digits (GAP-4), qop is auth or auth-int (R3329-2.2-j); it is never shown."""
    with pytest.raises(LocalAgreementError, match="GAP-4"):
        DigestUse("0" * 64, "INVITE", "sip:a", NONCE)
    with pytest.raises(LocalAgreementError, match=r"R3329-2\.2-j") as caught:
        use("verify")

    assert HA1 not in repr(use()) + str(caught.value)
    assert "v=0" not in repr(use())


def test_the_digest_uri_is_taken_as_it_stands() -> None:
    """RFC 3329 has no special Digest URI: digest-uri-value is RFC 2617's (GAP-11)."""
    odd = use(uri="sip:Proxy.Example.com;lr")

    assert compute_d_ver(odd, [ROW]) != D_VER
    assert check_d_ver(compute_d_ver(odd, [ROW]), odd, [ROW], list(Reading)) is Reading.WITH_NAME
