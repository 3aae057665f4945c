"""The sealing key: a credential that is one and that nobody else can read."""

import struct
from pathlib import Path

import pytest

from sad.model.file_access import is_open_to_others
from sad.store.sealing_key import (
    CREDENTIAL,
    RecordsUnusable,
    find_sealing_key,
    key_for_this_life,
)
from tests.support.sealing import SEALING, credential


def test_the_credential_is_the_sealing_key(tmp_path: Path) -> None:
    """32 bytes, as they are."""
    found = find_sealing_key(credential(tmp_path, SEALING))
    assert found is not None
    assert found.reveal() == SEALING


def test_without_a_credential_there_is_no_key(tmp_path: Path) -> None:
    """No service manager, or one that has none for us."""
    assert find_sealing_key({}) is None
    assert find_sealing_key({"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None
    assert key_for_this_life().reveal() != key_for_this_life().reveal()


@pytest.mark.parametrize("content", [b"", SEALING[:-1], SEALING + b"\n", SEALING.hex().encode()])
def test_a_credential_of_another_size_is_refused(tmp_path: Path, content: bytes) -> None:
    """A key is never cut or padded; the error does not show it."""
    with pytest.raises(RecordsUnusable, match="must hold 32 bytes") as refusal:
        find_sealing_key(credential(tmp_path, content))
    assert SEALING.hex()[:8] not in str(refusal.value)
    assert "urandom" in refusal.value.hint


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o420, 0o401, 0o666])
def test_a_credential_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that a group can read is none."""
    with pytest.raises(RecordsUnusable, match="others") as refusal:
        find_sealing_key(credential(tmp_path, SEALING, mode))
    assert "chmod" in refusal.value.hint


def test_a_credential_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Going on without it would end sets that were to be rebuilt."""
    (tmp_path / CREDENTIAL).mkdir()
    with pytest.raises(RecordsUnusable, match="directory"):
        find_sealing_key({"CREDENTIALS_DIRECTORY": str(tmp_path)})


def access_list(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
ANYBODY = 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("group", "named", "expected"), [(0, (), False), (4, (), True), (0, (4,), True)]
)
def test_an_access_list_that_names_the_service_is_no_fault(
    group: int, named: tuple[int, ...], *, expected: bool
) -> None:
    """The list names the service's user, by systemd; the group bits are its mask (acl(5))."""
    entries = access_list(
        (OWNER, 4, ANYBODY),
        (USER, 4, 998),
        (GROUP, group, ANYBODY),
        *((NAMED_GROUP, permissions, 4) for permissions in named),
        (MASK, 4, ANYBODY),
        (OTHER, 0, ANYBODY),
    )
    assert is_open_to_others(0o440, entries) is expected
    assert is_open_to_others(0o444, entries)
