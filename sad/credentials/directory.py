"""The files of a set for a SIP server, switched as one.

::

    DIRECTORY/ENDPOINT/current -> GENERATION
    DIRECTORY/ENDPOINT/GENERATION/{certificate,key,ca}.pem

A generation is written beside the old one and the link ``current`` is renamed over: a reader finds
the old set or the new one. The key file belongs to the daemon's user, and its access list lets the
endpoint's users read it: no capability is needed, and no group that has others in it.
"""

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from sad.credentials.reasons import Refused
from sad.model.credential import Part
from sad.model.file_access import readable_by

KEY_FILE: Final = "key.pem"
CURRENT: Final = "current"
_ACCESS_LIST: Final = "system.posix_acl_access"
_PUBLIC_MODE: Final = 0o444
_SECRET_MODE: Final = 0o400
_OURS: Final = re.compile(r"\.?[0-9a-f]{16}")  # generations, written or begun
_FOLDER_MODE: Final = 0o711  # to pass through, not to look around


def write_generation(
    folder: Path, generation: str, files: Mapping[str, bytes], access: bytes
) -> None:
    """Write a set below an endpoint's folder; nobody sees it before :func:`switch`.

    ``access`` is the access list of the key file. Raises Refused; what was begun is then gone.
    """
    try:
        _make_folder(folder.parent)
        _make_folder(folder)
        target = folder / generation
        begun = folder / f".{generation}"
        for rest in (begun, target):
            if rest.is_symlink() or rest.exists():
                shutil.rmtree(rest)
        begun.mkdir(0o700)
        try:
            for name, content in files.items():
                _write(begun / name, content, access if name == KEY_FILE else None)
            begun.chmod(_FOLDER_MODE)
            begun.rename(target)
        except BaseException:
            shutil.rmtree(begun, ignore_errors=True)
            raise
    except OSError as error:
        text = f"{error.filename or folder}: {error.strerror}"
        raise Refused("cannot-write", Part.WRITE_FILES, text) from None


def switch(folder: Path, generation: str) -> None:
    """Let ``current`` lead to a generation that was written; raises Refused."""
    new = folder / f".{CURRENT}"
    try:
        new.unlink(missing_ok=True)
        new.symlink_to(generation)
        new.rename(folder / CURRENT)
    except OSError as error:
        text = f"{folder / CURRENT}: {error.strerror}"
        raise Refused("cannot-write", Part.WRITE_FILES, text) from None


def current_generation(folder: Path) -> str | None:
    """Return where ``current`` leads, None if there is none."""
    try:
        return str((folder / CURRENT).readlink())
    except OSError:
        return None


def prune(folder: Path) -> None:
    """Remove what is not the current generation: old keys need not lie about."""
    _remove_all_but(folder, current_generation(folder))


def remove_endpoint(folder: Path) -> None:
    """Remove all of an endpoint that is ours: it has no set any more."""
    with contextlib.suppress(OSError):
        (folder / CURRENT).unlink(missing_ok=True)
    _remove_all_but(folder, None)
    with contextlib.suppress(OSError):  # something of somebody else's stays, and its folder
        folder.rmdir()


def remove_others(base: Path, endpoints: Iterable[str]) -> None:
    """Remove what endpoints that are no more have left, e.g. in an earlier life of the daemon."""
    kept = frozenset(endpoints)
    with contextlib.suppress(OSError):
        for folder in base.iterdir():
            if folder.name not in kept and (folder / CURRENT).is_symlink():
                remove_endpoint(folder)


def is_written(folder: Path, generation: str, files: Mapping[str, bytes], access: bytes) -> bool:
    """Whether ``current`` leads to a generation that holds just these files."""
    target = folder / generation
    if current_generation(folder) != generation:
        return False
    try:
        return (
            {entry.name for entry in target.iterdir()} == set(files)
            and all((target / name).read_bytes() == content for name, content in files.items())
            and os.getxattr(target / KEY_FILE, _ACCESS_LIST) == access
        )
    except OSError:
        return False


def _remove_all_but(folder: Path, kept: str | None) -> None:
    with contextlib.suppress(OSError):  # tried again after the next switch
        for entry in folder.iterdir():
            if entry.name != kept and _OURS.fullmatch(entry.name):
                shutil.rmtree(entry, ignore_errors=True)


def _make_folder(folder: Path) -> None:
    """Make a folder that others may pass through, or take one that is ours alone to change."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise Refused("cannot-write", Part.WRITE_FILES, f"{folder} is no directory")
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"{folder} belongs to others, or others may write there"
        raise Refused("cannot-write", Part.WRITE_FILES, text)
    folder.chmod(_FOLDER_MODE)


def _write(path: Path, content: bytes, access: bytes | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, _SECRET_MODE)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        if access is None:
            os.fchmod(file, _PUBLIC_MODE)
        else:
            _set_access(file, path, access)
    finally:
        os.close(file)


def _set_access(file: int, path: Path, access: bytes) -> None:
    try:
        os.setxattr(file, _ACCESS_LIST, access)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        text = f"{path.parent.parent} keeps no access lists, so only sad could read the key"
        raise Refused("no-access-list", Part.WRITE_FILES, text) from None


def access_of(readers: frozenset[int], group: int | None) -> bytes:
    """Return the access list of the key file for an endpoint's users and its group."""
    return readable_by(readers - {os.geteuid()}, group)
