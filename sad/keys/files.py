"""Reading key sets from files: what may not be read is refused, and what others can read too.

Every check of a file is made on the descriptor that was opened: between a look at a name and its
opening somebody could put another file there. No message repeats anything that a file says but
names of fields: what stands in the wrong place may be a key.
"""

import contextlib
import errno
import os
import pwd
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sad.config.locate import Path, key_lines, nearest_line
from sad.config.problems import Problem
from sad.config.sources import suggest
from sad.keys.shape import KeySetSettings, draft_of
from sad.model.key_set import KeySetDraft

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
CREDENTIAL_PREFIX: Final = "sad-keys"
SUFFIX: Final = ".toml"
DAEMON_USER: Final = "sad"  # systemd/sysusers.d

_MOST_BYTES: Final = 1 << 20
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_FIELD: Final = re.compile(r"[a-z_]{1,32}")
#: What may be a key, or a part of one, that somebody put into another field.
_LIKE_A_KEY: Final = re.compile(r"[0-9A-Za-z+/]{16,}")


@dataclass(frozen=True, slots=True)
class ReadDraft:
    """A draft, and on which lines of which file its fields stand."""

    draft: KeySetDraft
    path: str
    place: Path
    lines: Mapping[Path, int] = field(repr=False)

    def origin_of(self, name: str) -> str:
        """Return ``file:line`` of a field, or of its table if it does not stand there."""
        return _origin(self.path, self.lines, (*self.place, name))


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One file as it was read: its drafts, or what is wrong with it; maybe both."""

    path: str
    drafts: tuple[ReadDraft, ...]
    problems: tuple[Problem, ...]


def read_key_files(directory: str, environment: Mapping[str, str]) -> tuple[KeyFile, ...]:
    """Return the key files of a directory and of the service's credentials, in order of name.

    A directory that does not exist has none.
    """
    found = list(_read_directory(directory, lambda name: name.endswith(SUFFIX)))
    credentials = environment.get(CREDENTIALS_VARIABLE)
    if credentials:
        found += _read_directory(credentials, lambda name: name.startswith(CREDENTIAL_PREFIX))
    return tuple(found)


def _read_directory(directory: str, wanted: Callable[[str], bool]) -> Iterator[KeyFile]:
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    except OSError as error:
        yield _unreadable(directory, str(error.strerror), "sad's user must be able to read it")
        return
    try:
        status = os.fstat(handle)
        if status.st_mode & stat.S_IWOTH:
            # Whoever can rename in it decides which keys hold.
            reason, hint = "every user may change this directory", f"chmod o-w {directory}"
            yield _unreadable(directory, reason, hint)
            return
        for name in sorted(os.listdir(handle)):  # noqa: PTH208 - of the directory that was opened
            if wanted(name) and not name.startswith("."):  # editors leave hidden copies behind
                # Names may be any bytes, what is logged and sent may not.
                shown = os.fsencode(name).decode(errors="backslashreplace")
                yield _read_file(handle, name, f"{directory.rstrip('/')}/{shown}")
    finally:
        os.close(handle)


def _unreadable(path: str, reason: str, hint: str) -> KeyFile:
    return KeyFile(path, (), (Problem(path, "", reason, hint),))


def _read_file(directory: int, name: str, path: str) -> KeyFile:
    try:
        handle = os.open(name, _OPEN, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            hint = "put the file itself there: a link may lead anywhere"
            return _unreadable(path, "this is a symbolic link", hint)
        return _unreadable(path, str(error.strerror), "sad's user must be able to read it")
    try:
        status = os.fstat(handle)
        fault = file_fault(status, *trusted_accounts())
        if fault is not None:
            reason, hint = fault
            return _unreadable(path, reason, hint.format(path=path))
        content = _content(handle)
    except OSError as error:
        return _unreadable(path, str(error.strerror), "sad's user must be able to read it")
    finally:
        os.close(handle)
    return parse(content, path)


def trusted_accounts() -> tuple[set[int], set[int]]:
    """Return who may own a key file, and which groups may read it.

    They are root and this process; root asks for the daemon (``--check-config``), whose user and
    group are its own.
    """
    uids = {0, os.geteuid()}
    gids = {0, os.getegid(), *os.getgroups()}
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(DAEMON_USER)
            uids.add(entry.pw_uid)
            gids.add(entry.pw_gid)
    return uids, gids


def file_fault(
    status: os.stat_result, uids: AbstractSet[int], gids: AbstractSet[int]
) -> tuple[str, str] | None:
    """Return why an opened file is no file for keys, and the way out; None if it is one. Pure.

    ``uids`` may own it, members of ``gids`` may read it.
    """
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        return "this is no regular file", "put the file itself there"
    if status.st_nlink > 1:
        return (
            "the file has another name somewhere else (a hard link)",
            "find it (find / -samefile {path}) and remove it, or make the file anew",
        )
    if status.st_uid not in uids:
        return (
            f"the file belongs to uid {status.st_uid}, who can change it at any time",
            "chown it to root or to sad's user",
        )
    if mode & stat.S_IRWXO:
        return (
            "every user may read or write it",
            "chmod o= {path}, and agree on new keys: these are no secret any more",
        )
    if mode & stat.S_IWGRP:
        return "its group may write it", "chmod g-w {path}"
    if mode & stat.S_IRGRP and status.st_gid not in gids:
        return (
            f"gid {status.st_gid} may read it, of which sad is no member",
            "chgrp it to sad's group, or chmod g= {path}",
        )
    if status.st_size > _MOST_BYTES:
        return f"it has more than {_MOST_BYTES} bytes", "key sets fit into a few hundred each"
    return None


def _content(handle: int) -> bytes:
    parts = []
    left = _MOST_BYTES + 1
    while left and (part := os.read(handle, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def parse(content: bytes, path: str) -> KeyFile:
    """Return what a key file says. Pure; no problem repeats a value."""
    try:
        text = content.decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        hint = "save the file as UTF-8"
        return KeyFile(path, (), (Problem(f"{path}:{line}", "", "this is no UTF-8 text", hint),))
    except (ValueError, RecursionError) as error:  # also of a number or a nesting without end
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else content.count(b"\n") + 1
        hint = "text stands in quotes, times do not; see keys.toml.example"
        return KeyFile(path, (), (Problem(f"{path}:{line}", "", "this is no TOML", hint),))
    lines = key_lines(text)
    problems = [
        Problem(
            _origin(path, lines, (name,)),
            _shown(name),
            "unknown table or key",
            "a key file has [[key_set]] tables and nothing else",
        )
        for name in document
        if name != "key_set"
    ]
    tables = document.get("key_set", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        at = _origin(path, lines, ("key_set",))
        hint = "write [[key_set]] with two brackets before each set"
        return KeyFile(path, (), (*problems, Problem(at, "key_set", "no list of tables", hint)))
    if not tables and not problems:
        problems.append(Problem(path, "", "there is no key set in it", "add one, or remove it"))
    drafts = []
    for number, table in enumerate(tables):
        place: Path = ("key_set", number)
        try:
            draft = draft_of(table, _origin(path, lines, place))
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False, include_context=True)
            problems += [_problem(d, path, lines, place) for d in details]
        else:
            drafts.append(ReadDraft(draft, path, place, lines))
    return KeyFile(path, tuple(drafts), tuple(problems))


def _problem(details: ErrorDetails, path: str, lines: Mapping[Path, int], place: Path) -> Problem:
    loc: Path = details["loc"]
    name = str(loc[0]) if loc else ""
    context = details.get("ctx", {})
    known = KeySetSettings.model_fields
    described = known[name].description if name in known else None
    reason = str(context.get("reason") or details["msg"].removeprefix("Input "))
    hint = str(context.get("hint") or described or "see keys.toml.example")
    if details["type"] == "extra_forbidden":
        reason, hint = "unknown field", suggest(_shown(name), known)
    elif details["type"] == "missing":
        reason, hint = "missing", f"add it. {described}"
    reason = _LIKE_A_KEY.sub("...", reason)
    return Problem(_origin(path, lines, (*place, *loc)), _shown(name), reason, hint)


def _origin(path: str, lines: Mapping[Path, int], place: Path) -> str:
    line = nearest_line(lines, place)
    return path if line is None else f"{path}:{line}"


def _shown(name: str) -> str:
    """Return the name of a field; what is none might be a key in the wrong place."""
    return name if _FIELD.fullmatch(name) else "?"
