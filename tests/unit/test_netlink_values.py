"""Secrets stay secret, errors speak the kernel's words, values are canonical."""

import pickle

import pytest

from netlink.errors import KernelError
from netlink.model import AddSa, family_of, packed_address
from netlink.secret import Secret
from netlink.uapi import AF_INET, AF_INET6
from tests.support.xfrm_values import AES, SHA1, add_sa, keys_for, security_association


def test_secret_shows_in_no_text() -> None:
    """Neither repr, str nor formatting shows a byte."""
    secret = Secret(b"\x41\x42\x43secret")

    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]!r}"):
        assert "secret" not in text.replace("Secret", "")
        assert "ABC" not in text
        assert "hidden" in text


def test_secret_shows_through_no_operation() -> None:
    """The request that carries keys shows none either."""
    request = add_sa(security_association(pair=(SHA1, AES)))
    integrity, encryption = request.keys.integrity.reveal(), request.keys.encryption.reveal()

    assert isinstance(request, AddSa)
    for text in (repr(request), repr(request.keys)):
        for key in (integrity, encryption):
            assert key.hex() not in text
            assert repr(key)[2:-1] not in text


def test_secret_is_wiped_in_place() -> None:
    """After wipe the length is left and nothing else."""
    secret = Secret(b"0123456789abcdef")
    secret.wipe()

    assert secret.reveal() == bytes(16)
    assert len(secret) == 16


def test_secret_keeps_its_own_copy() -> None:
    """Wiping or changing the buffer it was made of does not change it."""
    source = bytearray(b"0123456789abcdef")
    secret = Secret(source)
    source[:] = bytes(16)

    assert secret.reveal() == b"0123456789abcdef"


def test_secret_cannot_be_pickled_or_compared_by_value() -> None:
    """It leaves the process on no way, and equality tells nothing about it."""
    secret = Secret(b"same")

    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    assert secret != Secret(b"same")


def test_errors_name_the_errno_and_keep_the_kernels_words() -> None:
    """A person reads name, meaning and the kernel's own text; a program the number."""
    error = KernelError(38, "Requested AUTH_TRUNC algorithm not found")

    assert (error.errno, error.name) == (38, "ENOSYS")
    assert str(error) == (
        "ENOSYS (Function not implemented): Requested AUTH_TRUNC algorithm not found"
    )
    assert str(KernelError(3)) == "ESRCH (No such process)"
    assert KernelError(9999).name == "9999"


def test_values_know_their_family() -> None:
    """Addresses pack to network order, the length says the family."""
    assert packed_address("192.0.2.1") == bytes((192, 0, 2, 1))
    assert family_of("192.0.2.1") == AF_INET
    assert packed_address("::1") == bytes(15) + b"\x01"
    assert family_of("::1") == AF_INET6


def test_values_of_keys_are_equal_to_the_bit_lengths() -> None:
    """The helper of these tests makes keys the encoder takes."""
    sa = security_association(pair=(SHA1, AES))

    assert 8 * len(keys_for(sa).integrity) == SHA1.key_bits
    assert 8 * len(keys_for(sa).encryption) == AES.key_bits
