"""The files of a credential set: only what is surely the operator's own is read."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from sad.credentials.reading import Place, read_material, read_part
from sad.credentials.reasons import Refused
from sad.model.credential import Part
from sad.model.file_access import readable_by
from tests.support.credential_maker import key_pem, wanted, write_set
from tests.support.descriptors import open_descriptors

OWNERS = frozenset({os.geteuid()})
SECRET = key_pem("ec edge")


def refusal(path: Path, part: Part = Part.KEY, owners: frozenset[int] = OWNERS) -> str:
    with pytest.raises(Refused) as refused:
        read_part(path, part, owners)
    assert str(path) in refused.value.finding.text
    assert refused.value.finding.part is part
    return refused.value.finding.reason


def file(folder: Path, mode: int = 0o400, content: bytes = SECRET) -> Path:
    path = folder / "key.pem"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_of_ones_own_is_read(tmp_path: Path) -> None:
    """Whole, and into bytes that can be wiped."""
    assert bytes(read_part(file(tmp_path), Part.KEY, OWNERS)) == SECRET


@pytest.mark.parametrize("mode", [0o404, 0o440, 0o604, 0o444, 0o666, 0o410, 0o402])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """By the bits of the group or of all."""
    assert refusal(file(tmp_path, mode)) == "key-open-to-others"


def test_a_key_may_be_opened_to_users_by_name(tmp_path: Path) -> None:
    """An access list that names users, as systemd and setfacl -m u:sad:r write it; no group."""
    path = file(tmp_path)
    os.setxattr(path, "system.posix_acl_access", readable_by(frozenset({4711}), None))
    assert bytes(read_part(path, Part.KEY, OWNERS)) == SECRET
    os.setxattr(path, "system.posix_acl_access", readable_by(frozenset({4711}), 4712))
    assert refusal(path) == "key-open-to-others"


@pytest.mark.parametrize("part", [Part.CERTIFICATE, Part.CA])
def test_public_files_may_be_read_by_all_and_written_by_nobody_else(
    tmp_path: Path, part: Part
) -> None:
    """Who can write the trust anchors decides whom this node trusts."""
    assert bytes(read_part(file(tmp_path, 0o644), part, OWNERS)) == SECRET
    assert refusal(file(tmp_path, 0o664), part) == "writable-by-others"
    assert refusal(file(tmp_path, 0o646), part) == "writable-by-others"


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """He could change it at any time."""
    assert refusal(file(tmp_path), owners=frozenset({4711})) == "wrong-owner"


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    """A link, a directory, a pipe that nobody writes, a socket, a device."""
    target = file(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(target)
    assert refusal(link) == "link"

    folder = tmp_path / "folder"
    folder.mkdir(0o700)
    assert refusal(folder) == "not-regular"

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert refusal(pipe) == "not-regular"

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        assert refusal(tmp_path / "socket") == "not-regular"

    assert refusal(Path("/dev/null")) == "not-regular"


def test_what_is_not_there_is_told_so(tmp_path: Path) -> None:
    """A slip in the path, or in a folder of it."""
    assert refusal(tmp_path / "none") == "missing-file"
    assert refusal(file(tmp_path) / "none") == "missing-file"


@pytest.mark.parametrize("part", list(Part)[:3])
def test_size_is_bounded_before_anything_is_read(tmp_path: Path, part: Part) -> None:
    """A sparse file of a terabyte costs nothing."""
    path = file(tmp_path)
    path.chmod(0o600)
    os.truncate(path, 1 << 40)
    path.chmod(0o400)
    assert refusal(path, part) == "too-big"


def test_an_empty_file_is_told_so(tmp_path: Path) -> None:
    """As after a full disk."""
    assert refusal(file(tmp_path, content=b"")) == "empty"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Neither of what was read nor of what was refused."""
    before = open_descriptors()
    read_part(file(tmp_path), Part.KEY, OWNERS)
    refusal(file(tmp_path, 0o444))
    refusal(tmp_path / "none")
    assert open_descriptors() == before


def test_credentials_of_systemd_are_found_by_name(tmp_path: Path) -> None:
    """systemd.exec(5): LoadCredential= puts them into $CREDENTIALS_DIRECTORY."""
    wish = write_set(tmp_path)
    by_name = wanted(certificate="certificate.pem", key="key.pem", ca=wish.ca)
    material, refusals = read_material(by_name, Place(str(tmp_path), OWNERS))
    assert refusals == ()
    assert material.key is not None
    assert material.key.reveal() == SECRET

    _, refusals = read_material(by_name, Place(None, OWNERS))
    assert [r.reason for r in refusals] == ["no-credentials-directory"] * 2


def test_all_files_are_looked_at_although_one_is_bad(tmp_path: Path) -> None:
    """What was refused is told of each, and what can be read is read."""
    wish = write_set(tmp_path)
    Path(wish.key).chmod(0o444)
    Path(wish.ca).unlink()
    material, refusals = read_material(wish, Place(None, OWNERS))
    assert {(r.part, r.reason) for r in refusals} == {
        (Part.KEY, "key-open-to-others"),
        (Part.CA, "missing-file"),
    }
    assert (material.key, material.ca) == (None, None)
    assert material.certificate


def test_root_who_checks_takes_the_service_users_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """With sad --check-config by hand judges files as the daemon will."""
    entry: Any = type("Entry", (), {"pw_uid": 4711})
    monkeypatch.setattr("pwd.getpwnam", lambda _name: entry)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert Place.of_process({}).owners == {0, 4711}
    monkeypatch.setattr("os.geteuid", lambda: 815)
    assert Place.of_process({}).owners == {0, 815}
