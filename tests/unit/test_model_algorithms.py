"""Key rules of TS 33.203 Annex I against the vectors of the norms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink.secret import Secret
from netlink.transforms import Combined
from sad.model.algorithms import AlgorithmPair, derive_keys, modules_of
from tests.support.make import ALL_PAIRS, CK, IK
from tests.ue.security import esp_transforms


@pytest.mark.parametrize(
    ("name", "vector"),
    [
        ("hmac-md5-96", "f769bcd751044604127672711c6d3441"),
        ("hmac-sha-1-96", "f769bcd751044604127672711c6d344100000000"),
        # An extension: HMAC pads with zeros, so these change the length and nothing else.
        ("hmac-sha-256-128", "f769bcd751044604127672711c6d3441" + 16 * "00"),
    ],
)
def test_integrity_keys_equal_the_vectors(name: str, vector: str) -> None:
    """Norms section 13 and 17."""
    pair = AlgorithmPair(name, "null")
    keys = derive_keys(pair, Secret(IK), None)

    assert keys.integrity.reveal().hex() == vector
    integrity, _ = pair.transforms
    assert integrity is not None
    assert len(keys.integrity) * 8 == integrity.key_bits


@pytest.mark.parametrize(
    ("name", "vector"),
    [
        ("null", ""),
        ("aes-cbc", "b40ba9a3c58b2a05bbf0d987b21bf8cb"),
        ("des-ede3-cbc", "b50ba8a2c48a2a04baf1d986b31af8cbb50ba8a2c48a2a04"),
    ],
)
def test_encryption_keys_equal_the_vectors(name: str, vector: str) -> None:
    """Norms section 13 and 17: 3DES is CK1, CK2, CK1 with odd parity."""
    pair = AlgorithmPair("hmac-sha-1-96", name)
    keys = derive_keys(pair, Secret(IK), Secret(CK))

    assert keys.encryption.reveal().hex() == vector
    assert len(keys.encryption) * 8 == pair.transforms[1].key_bits


@pytest.mark.parametrize(
    ("names", "kernel", "vector"),
    [
        (("aes-gmac", "null"), "rfc4543(gcm(aes))", "f769bcd751044604127672711c6d3441dbc2b1c2"),
        (("null", "aes-gcm"), "rfc4106(gcm(aes))", "b40ba9a3c58b2a05bbf0d987b21bf8cb89273db6"),
    ],
)
def test_combined_keys_equal_the_vectors(names: tuple[str, str], kernel: str, vector: str) -> None:
    """T33-I-a, norms section 17: the key, then 32 bits of the KDF under CK || IK; ICV of 128."""
    pair = AlgorithmPair(*names)
    keys = derive_keys(pair, Secret(IK), Secret(CK))

    assert (len(keys.integrity), keys.encryption.reveal().hex()) == (0, vector)
    assert pair.transforms == (None, Combined(name=kernel, key_bits=160, icv_bits=128))
    assert pair.combined
    assert pair.needs_cipher_key  # aes-gmac for its salt


@given(st.sampled_from(ALL_PAIRS), st.binary(min_size=16, max_size=16), st.binary(min_size=16))
def test_keys_are_those_of_the_user_agents_own_rules(
    names: tuple[str, str], ik: bytes, ck: bytes
) -> None:
    """Annex I read twice by two hands: the daemon's and the UE's of these tests."""
    pair, ck = AlgorithmPair(*names), ck[:16]
    keys = derive_keys(pair, Secret(ik), Secret(ck))
    theirs = esp_transforms(*names, ck=ck, ik=ik)

    integrity, encryption = pair.transforms
    if theirs.aead is not None:
        assert (encryption.name, keys.encryption.reveal(), 128) == theirs.aead
        return
    assert theirs.auth is not None
    assert theirs.enc is not None
    assert integrity is not None
    assert (integrity.name, keys.integrity.reveal(), integrity.icv_bits) == theirs.auth
    ours = keys.encryption.reveal()
    if names[1] == "des-ede3-cbc":  # DES ignores the lowest bit of each byte: parity
        assert [byte >> 1 for byte in ours] == [byte >> 1 for byte in theirs.enc[1]]
    else:
        assert (encryption.name, ours) == theirs.enc


@pytest.mark.parametrize(
    ("names", "legal"),
    [
        (("null", "aes-gcm"), True),
        (("aes-gmac", "null"), True),
        (("hmac-sha-256-128", "aes-cbc"), True),
        (("null", "null"), False),
        (("null", "aes-cbc"), False),
        (("hmac-sha-1-96", "aes-gcm"), False),
        (("hmac-md5-96", "aes-gcm"), False),
        (("aes-gmac", "aes-cbc"), False),
        (("aes-gmac", "aes-gcm"), False),
    ],
)
def test_the_combination_rules(names: tuple[str, str], legal: bool) -> None:
    """T33-H-c: null with aes-gcm alone, aes-gmac with null alone."""
    pair = AlgorithmPair(*names)
    assert (pair.known, pair.illegal) == (legal, not legal)


@pytest.mark.parametrize(
    ("pair", "modules"),
    [
        ("null/aes-gcm", "gcm ctr ghash-generic seqiv"),
        ("aes-gmac/null", "gcm ctr ghash-generic seqiv"),
        ("hmac-sha-1-96/null", "authenc echainiv hmac sha1_generic"),
        ("hmac-md5-96/des-ede3-cbc", "authenc echainiv hmac md5 cbc des_generic"),
    ],
)
def test_a_missing_pair_names_its_modules(pair: str, modules: str) -> None:
    """An operator can paste what the refusal says."""
    assert modules_of(pair) == modules


@pytest.mark.parametrize("name", ["aes-cbc-256", "aes-gcm-256", "aes-ctr"])
def test_annex_h_has_no_other_cipher(name: str) -> None:
    """Annex H has no parameter for a length and CK has 128 bits, so there is AES-128 alone."""
    pair = AlgorithmPair("hmac-sha-1-96", name)
    assert (pair.known, pair.illegal) == (False, False)


def test_keys_never_print() -> None:
    """Secrets never show: neither repr nor str nor an f-string reveals one."""
    keys = derive_keys(AlgorithmPair("hmac-sha-1-96", "aes-cbc"), Secret(IK), Secret(CK))

    for text in (repr(keys), str(keys), f"{keys.integrity}", repr([keys.encryption])):
        assert IK.hex()[:8] not in text
        assert str(IK)[2:10] not in text
        assert "hidden" in text
