"""The listening socket and who is at the other end of an accepted one.

The socket is made here by path, or adopted from a descriptor that systemd handed over. The
counterpart is :mod:`sad.api.server`, which accepts from it.
"""

import array
import contextlib
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sad.model.requests import Caller

_BACKLOG: Final = 256

_UCRED: Final = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid
_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h; Python has no name for it
_GROUPS_BUFFER: Final = 1024  # the most that Python's getsockopt takes: 256 groups


class SocketUnusableError(Exception):
    """The socket cannot be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A listening socket; ``made`` is the file that is ours to remove: path, device, inode."""

    socket: socket.socket
    made: tuple[Path, int, int] | None = None

    def close(self) -> None:
        """Close it, and remove its name if we made it and nobody has replaced it."""
        self.socket.close()
        if self.made is not None:
            path, device, inode = self.made
            with contextlib.suppress(FileNotFoundError):
                found = path.lstat()
                if (found.st_dev, found.st_ino) == (device, inode):
                    path.unlink()


def make_listening_socket(path: Path, mode: int, gid: int | None = None) -> ListeningSocket:
    """Bind and listen at ``path`` with permissions ``mode`` and group ``gid``.

    It listens only after it has them, so it is never open wider. A stale socket at ``path`` is
    replaced; a live one, or a file of another kind, raises :class:`SocketUnusableError`. An
    OSError of the file system passes through.
    """
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        try:
            listening.bind(os.fspath(path))
        except OSError as error:
            if error.errno is None:  # Python's own check of unix(7)'s 108 bytes
                raise SocketUnusableError(
                    f"{path} is too long for a socket: choose one of less than 108 bytes"
                ) from None
            raise
        try:
            if gid is not None:
                os.chown(path, -1, gid)
            path.chmod(mode)
            listening.listen(_BACKLOG)
            made = path.lstat()
        except BaseException:
            path.unlink()
            raise
    except BaseException:
        listening.close()
        raise
    return ListeningSocket(listening, (path, made.st_dev, made.st_ino))


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketUnusableError(f"{path} exists and is no socket: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:  # nobody listens: left behind by a daemon that was killed
            path.unlink()
            return
        except BlockingIOError:  # somebody listens, whose queue is full
            pass
    raise SocketUnusableError(
        f"another process serves {path}: stop it, or set another socket_path"
    )


def adopt_listening_socket(descriptor: int) -> ListeningSocket:
    """Take over a descriptor from the service manager; raises :class:`SocketUnusableError`.

    Its name stays the service manager's.
    """
    listening = socket.socket(fileno=descriptor)
    listens = listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if (listening.family, listening.type, listens) != (socket.AF_UNIX, socket.SOCK_STREAM, 1):
        listening.detach()
        raise SocketUnusableError(
            f"descriptor {descriptor} is no listening Unix stream socket: "
            "the socket unit needs ListenStream= with a path"
        )
    listening.set_inheritable(False)
    listening.setblocking(False)
    return ListeningSocket(listening)


def peer_of(connection: socket.socket) -> Caller:
    """Return who connected, as the kernel noted it then (SO_PEERCRED, SO_PEERGROUPS).

    Who is in more than 256 supplementary groups counts as in none: that can only forbid.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(credentials)
    groups = array.array("I")
    with contextlib.suppress(OSError):  # ERANGE: more groups than the buffer holds
        groups.frombytes(connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BUFFER))
    return Caller(uid=uid, gid=gid, pid=pid, groups=frozenset(groups))
