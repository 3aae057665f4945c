"""The listening socket, and who is at the other end."""

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from sad.api.listening import (
    SocketUnusableError,
    adopt_listening_socket,
    make_listening_socket,
    peer_of,
)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_socket_has_its_permissions_from_the_first_moment(tmp_path: Path, mode: int) -> None:
    """Whatever the umask; nothing else is left in the folder."""
    listening = make_listening_socket(tmp_path / "s", mode, gid=os.getgid())

    found = (tmp_path / "s").lstat()
    assert stat.S_ISSOCK(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (mode, os.getgid())
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(tmp_path / "s"))
    listening.close()
    assert list(tmp_path.iterdir()) == []


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A daemon that was killed leaves one; the next start must not need a person."""
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(os.fspath(tmp_path / "s"))

    listening = make_listening_socket(tmp_path / "s", 0o600)

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(tmp_path / "s"))
    listening.close()


def test_a_live_socket_is_left_alone(tmp_path: Path) -> None:
    """A second daemon is refused with the way out, and the first one is still reached."""
    first = make_listening_socket(tmp_path / "s", 0o600)

    with pytest.raises(SocketUnusableError, match=r"another process serves .* socket_path"):
        make_listening_socket(tmp_path / "s", 0o600)

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(tmp_path / "s"))
    first.close()


def test_a_live_socket_with_a_full_queue_is_left_alone(tmp_path: Path) -> None:
    """It does not accept just now, but it is no stale one."""
    path = os.fspath(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)

        with pytest.raises(SocketUnusableError, match="another process"):
            make_listening_socket(tmp_path / "s", 0o600)


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    """A wrong setting must not cost anybody his data; neither may a link lead there."""
    (tmp_path / "s").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "s")

    for name in ("s", "link"):
        with pytest.raises(SocketUnusableError, match="no socket"):
            make_listening_socket(tmp_path / name, 0o600)

    assert (tmp_path / "s").read_text() == "precious"


def test_a_path_too_long_is_named(tmp_path: Path) -> None:
    """unix(7) allows 108 bytes."""
    with pytest.raises(SocketUnusableError, match="too long"):
        make_listening_socket(tmp_path / ("x" * 120), 0o600)

    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_the_systems_error(tmp_path: Path) -> None:
    """With errno and path, for the caller to tell."""
    with pytest.raises(FileNotFoundError):
        make_listening_socket(tmp_path / "missing" / "s", 0o600)


def test_closing_removes_only_ones_own_name(tmp_path: Path) -> None:
    """A successor that took the name keeps it; a removed name is no error."""
    first = make_listening_socket(tmp_path / "s", 0o600)
    (tmp_path / "s").unlink()
    second = make_listening_socket(tmp_path / "s", 0o600)

    first.close()

    assert (tmp_path / "s").exists()
    (tmp_path / "s").unlink()
    second.close()


def test_a_handed_over_socket_is_adopted(tmp_path: Path) -> None:
    """From systemd's descriptor: non-blocking, not inherited, and its name is not removed."""
    made = make_listening_socket(tmp_path / "s", 0o600)
    descriptor = os.dup(made.socket.fileno())
    os.set_inheritable(descriptor, True)

    adopted = adopt_listening_socket(descriptor)

    assert adopted.socket.fileno() == descriptor
    assert not adopted.socket.get_inheritable()
    assert adopted.socket.getblocking() is False
    adopted.close()
    assert (tmp_path / "s").exists()
    made.close()


@pytest.mark.parametrize(
    ("family", "kind", "listens"),
    [
        (socket.AF_UNIX, socket.SOCK_STREAM, False),
        (socket.AF_UNIX, socket.SOCK_DGRAM, False),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET, True),
        (socket.AF_INET, socket.SOCK_STREAM, True),
    ],
)
def test_another_kind_of_descriptor_is_refused_and_left_open(
    tmp_path: Path, family: socket.AddressFamily, kind: socket.SocketKind, listens: bool
) -> None:
    """A wrong ListenX= in the socket unit is named."""
    with socket.socket(family, kind) as other:
        if listens:
            other.bind(os.fspath(tmp_path / "s") if family == socket.AF_UNIX else ("", 0))
            other.listen()

        with pytest.raises(SocketUnusableError, match="ListenStream="):
            adopt_listening_socket(other.fileno())

        os.fstat(other.fileno())


WHO = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    print(os.getpid(), os.getuid(), os.getgid(), *os.getgroups(), flush=True)
    s.recv(1)
"""


async def test_the_peer_is_who_he_says_he_is(tmp_path: Path) -> None:
    """Uid, gid, pid and supplementary groups, by the kernel's word, equal the process's own."""
    privileged = os.geteuid() == 0
    uid_gid, extra = ((4711, 4712), [4713, 4714]) if privileged else ((None, None), None)
    # Not below tmp_path, into which another user may not look.
    path = Path(tempfile.gettempdir()) / f"sad-peer-{os.getpid()}"
    with contextlib.closing(make_listening_socket(path, 0o666)) as listening:
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/python3",
            "-c",
            WHO,
            os.fspath(path),
            stdout=subprocess.PIPE,
            user=uid_gid[0],
            group=uid_gid[1],
            extra_groups=extra,
        )
        accepted, _ = await asyncio.get_running_loop().sock_accept(listening.socket)
        with accepted:
            caller = peer_of(accepted)
        assert process.stdout is not None
        pid, uid, gid, *groups = map(int, (await process.stdout.readline()).split())
        await process.wait()

    assert (caller.pid, caller.uid, caller.gid) == (pid, uid, gid)
    assert caller.groups == frozenset(groups)
    assert not privileged or (uid, gid, sorted(groups)) == (4711, 4712, [4713, 4714])
