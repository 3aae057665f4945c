"""Key rules of TS 33.203 Annex I against the vectors of the norms."""

import pytest

from netlink.secret import Secret
from sad.model.algorithms import ENCRYPTION, INTEGRITY, AlgorithmPair, derive_keys
from tests.support.make import CK, IK


@pytest.mark.parametrize(
    ("name", "vector"),
    [
        ("hmac-md5-96", "f769bcd751044604127672711c6d3441"),
        ("hmac-sha-1-96", "f769bcd751044604127672711c6d344100000000"),
    ],
)
def test_integrity_keys_equal_the_vectors(name: str, vector: str) -> None:
    """Norms section 13 and 17."""
    keys = derive_keys(AlgorithmPair(name, "null"), Secret(IK), None)

    assert keys.integrity.reveal().hex() == vector
    assert len(keys.integrity) * 8 == INTEGRITY[name].key_bits


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
    keys = derive_keys(AlgorithmPair("hmac-sha-1-96", name), Secret(IK), Secret(CK))

    assert keys.encryption.reveal().hex() == vector
    assert len(keys.encryption) * 8 == ENCRYPTION[name].key_bits


def test_keys_never_print() -> None:
    """Secrets never show: neither repr nor str nor an f-string reveals one."""
    keys = derive_keys(AlgorithmPair("hmac-sha-1-96", "aes-cbc"), Secret(IK), Secret(CK))

    for text in (repr(keys), str(keys), f"{keys.integrity}", repr([keys.encryption])):
        assert IK.hex()[:8] not in text
        assert str(IK)[2:10] not in text
        assert "hidden" in text
