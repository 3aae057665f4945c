"""The files of a set: opened once, looked at by the descriptor, read up to a bound.

What was looked at is what is read: the name could lead elsewhere a moment later. A link, a pipe
or a device is refused before anything is read of it.
"""

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from netlink.secret import Secret
from sad.credentials.judging import Material
from sad.credentials.reasons import Refused
from sad.model.credential import Finding, Part, WantedCredential
from sad.model.file_access import is_open_to_others

_MOST_BYTES: Final = {
    Part.CERTIFICATE: 128 * 1024,
    Part.KEY: 32 * 1024,
    Part.CA: 2 * 1024 * 1024,
}
_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
_SERVICE_USER: Final = "sad"

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Place:
    """Where files are looked for, and who may own them.

    ``credentials`` is the directory that systemd names (systemd.exec(5)), None without one.
    """

    credentials: str | None
    owners: frozenset[int]

    @classmethod
    def of_process(cls, environment: Mapping[str, str]) -> "Place":
        """Return where this process looks. For root, who checks settings, sad's user counts."""
        owners = {0, os.geteuid()}
        if os.geteuid() == 0:
            with contextlib.suppress(KeyError):
                owners.add(pwd.getpwnam(_SERVICE_USER).pw_uid)
        return cls(environment.get(_DIRECTORY) or None, frozenset(owners))

    def path_of(self, name: str, part: Part) -> Path:
        """Return the path of a setting: a path, or the name of a credential of systemd."""
        if name.startswith("/"):
            return Path(name)
        if self.credentials is None:
            text = f"no service manager has handed over the credential {name}"
            raise Refused("no-credentials-directory", part, text)
        return Path(self.credentials) / name


def read_material(wanted: WantedCredential, place: Place) -> tuple[Material, tuple[Finding, ...]]:
    """Read the three files; what was refused is None, and why is told. The key is the caller's.

    Raises nothing: a set is judged as a whole.
    """
    refusals: list[Finding] = []

    def attempt(read: Callable[[], _Read]) -> _Read | None:
        try:
            return read()
        except Refused as refused:
            refusals.append(refused.finding)
            return None

    def public(name: str, part: Part) -> bytes | None:
        found = attempt(lambda: read_part(place.path_of(name, part), part, place.owners))
        return None if found is None else bytes(found)

    material = Material(
        certificate=public(wanted.certificate, Part.CERTIFICATE),
        key=attempt(lambda: _read_key(place.path_of(wanted.key, Part.KEY), place.owners)),
        ca=public(wanted.ca, Part.CA),
    )
    return material, tuple(refusals)


def _read_key(path: Path, owners: frozenset[int]) -> Secret:
    read = read_part(path, Part.KEY, owners)
    try:
        return Secret(read)
    finally:
        read[:] = bytes(len(read))


def read_part(path: Path, part: Part, owners: frozenset[int]) -> bytearray:
    """Return what a file holds, if it is one to trust; raises Refused."""
    # Without O_NONBLOCK opening a pipe would wait for ever.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        file = os.open(path, flags)
    except OSError as error:
        raise Refused(*_why_not_opened(path, part, error)) from None
    try:
        _require_trusted(file, path, part, owners)
        return _read(file, path, part)
    except OSError as error:
        raise Refused("unreadable", part, f"{path}: {error.strerror}") from None
    finally:
        os.close(file)


def _why_not_opened(path: Path, part: Part, error: OSError) -> tuple[str, Part, str]:
    match error.errno:
        case errno.ELOOP:
            return "link", part, f"{path} is a symbolic link"
        case errno.ENOENT | errno.ENOTDIR:
            return "missing-file", part, f"there is no file {path}"
        case errno.ENXIO | errno.ENODEV:
            return "not-regular", part, f"{path} is no regular file"
        case _:
            return "unreadable", part, f"{path}: {error.strerror}"


def _require_trusted(file: int, path: Path, part: Part, owners: frozenset[int]) -> None:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise Refused("not-regular", part, f"{path} is {_kind(status.st_mode)}")
    if status.st_uid not in owners:
        raise Refused("wrong-owner", part, f"{path} belongs to uid {status.st_uid}")
    access_list = _access_list(file)
    if part is Part.KEY and is_open_to_others(status.st_mode, access_list):
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise Refused("key-open-to-others", part, f"{path} may be read by others (mode {mode})")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Refused("writable-by-others", part, f"{path} may be written by others")
    if status.st_size > _MOST_BYTES[part]:
        text = f"{path} has {status.st_size} bytes, at most {_MOST_BYTES[part]} are read"
        raise Refused("too-big", part, text)


def _read(file: int, path: Path, part: Part) -> bytearray:
    most = _MOST_BYTES[part]
    read = bytearray(most + 1)
    filled = 0
    with memoryview(read) as view:
        while filled <= most and (count := os.readv(file, [view[filled:]])):
            filled += count
    if filled > most:  # it grew since
        read[:] = bytes(len(read))
        raise Refused("too-big", part, f"{path} has more than {most} bytes")
    if not filled:
        raise Refused("empty", part, f"there is nothing in {path}")
    del read[filled:]
    return read


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), "a device")


def _access_list(file: int) -> bytes | None:
    try:
        return os.getxattr(file, "system.posix_acl_access")
    except OSError:  # none, or a file system without lists
        return None
