"""TLS credential sets of a living daemon: files, memfds, reload; the key is nowhere else."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sip_hooks.client import CallError, Client
from sip_hooks.tls_context import TlsCredential
from tests.support.credential_maker import (
    DAY,
    LONG_AGO,
    NEVER,
    authority,
    certificate,
    key_pem,
    pem,
    write_set,
)
from tests.support.daemon import CONTROL, PATIENCE, Daemon, endpoint_settings, wait_until
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.kernel

EDGE = "10.10.0.1"
ACCESS = endpoint_settings("access", (EDGE,), 5064, "5068-5071")
ROOT = authority(ends=NEVER)


def good(key: str = "ec edge") -> tuple[bytes, bytes, bytes]:
    made = certificate("edge", key, "root", "ec root", ends=NEVER)
    return pem(made), key_pem(key), pem(ROOT)


class World:
    """A daemon with a set for its endpoint; what the reload command did is in ``called``."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon = daemon
        self.source = folder / "tls"
        self.out = folder / "out"
        self.called = folder / "called"

    @property
    def current(self) -> Path:
        return self.out / "access" / "current"

    def reload(self, *texts: bytes) -> None:
        write_set(self.source, *texts)
        self.daemon.reload(self.daemon.config.read_text())

    def listed(self) -> dict[str, object]:
        answer = self.daemon.client.call(f"{CONTROL}.ListCredentials", {})
        return dict(answer["credentials"][0])

    def notices(self) -> list[str]:
        return [notice["text"] for notice in self.daemon.status()["notices"]]

    def descriptors(self) -> int:
        """How many the daemon has of sets."""
        folder = Path(f"/proc/{self.daemon.pid}/fd")
        links = []
        for entry in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                links.append(os.readlink(entry))  # noqa: PTH115 - no paths
        return sum("memfd:sad" in link for link in links)

    def calls(self) -> int:
        return self.called.read_text().count("x") if self.called.exists() else 0

    def credential(self) -> TlsCredential:
        return TlsCredential("access", Client(str(self.daemon.socket), timeout=PATIENCE))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Namespace("edge") as namespace:
        namespace.run(["ip", "addr", "add", f"{EDGE}/24", "dev", "lo"])
        daemon = Daemon(namespace, tmp_path / "edge", "")
        world = World(daemon, tmp_path)
        write_set(world.source, *good())
        tls = "".join(
            f'{name} = "{world.source}/{name}.pem"\n' for name in ("certificate", "key", "ca")
        )
        command = json.dumps(["/bin/sh", "-c", f"echo x >> {world.called}"])
        daemon.config.write_text(
            daemon.config.read_text()
            + f'[credentials]\ndirectory = "{world.out}"\n{ACCESS}[endpoint.tls]\n{tls}'
            + f'domains = ["sip.example.org"]\nreload_command = {command}\n'
        )
        daemon.start()
        yield world
        assert daemon.stop() == 0, daemon.words()


def test_a_set_lives_through_reloads_and_a_crash_and_its_key_is_nowhere_else(
    world: World, tmp_path: Path
) -> None:
    """Loaded, handed out, refused, replaced, missed and found again; status says each (TLS-1)."""
    keys = [good(name)[1] for name in ("ec edge", "ec other", "ec new")]
    assert world.listed()["state"] == "valid"
    assert (world.current / "key.pem").read_bytes() == keys[0]
    with world.credential() as credential:
        assert credential.server_context().get_ciphers()
        first = credential.generation

        # A bad one: the old stays, and that is seen everywhere.
        world.reload(good()[0], keys[1])
        assert not credential.refresh()
        shown = world.daemon.sadctl("status")
        assert "TLS credential of access: the new one is refused: key:" in shown
        assert (world.current / "key.pem").read_bytes() == keys[0]
        assert world.calls() == 0

        # A good one: switched, the SIP server told, and nobody is refused any more.
        new = good("ec new")
        world.reload(*new)
        assert credential.refresh()
        assert credential.generation != first
        assert (world.current / "key.pem").read_bytes() == keys[2]
        assert world.calls() == 1
        assert world.notices() == []
        second = credential.generation

    inode = (world.current / "key.pem").stat().st_ino
    world.daemon.kill()

    # IPsec does not end with a certificate: it starts, tells, and hands nothing out.
    over = certificate("edge", "ec edge", "root", "ec root", ends=LONG_AGO + 9 * DAY)
    write_set(world.source, pem(over), None, pem(ROOT))
    world.daemon.start()
    assert world.listed()["state"] == "missing"
    assert "expired" in world.notices()[0]
    with pytest.raises(CallError, match=r"NoCredential.*expired"):
        world.credential()

    # What an earlier life wrote and the SIP server uses is found to be the same.
    world.reload(*new)
    with world.credential() as credential:
        assert credential.generation == second
    assert (world.current / "key.pem").stat().st_ino == inode
    assert world.calls() == 1

    # Three are its own; whoever got some, and whoever hung up, leaves no more.
    for _ in range(20):
        with world.credential():
            pass
    wait_until(lambda: world.descriptors() == 3, "what was handed out is closed")

    told = (world.daemon.status(), world.listed())
    said = f"{shown}{told}{world.daemon.sadctl('tls', 'show', 'access')}".encode()
    said += world.daemon.words().encode()
    allowed = {world.source / "key.pem", world.current.resolve() / "key.pem"}
    lines = [line for key in keys for line in key.splitlines() if b"-" not in line]
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.resolve() not in allowed:
            said += path.read_bytes()
    assert not [line for line in lines if line in said]
    mode = stat.S_IMODE((world.current / "key.pem").stat().st_mode)
    assert not mode & (stat.S_IRWXO | stat.S_IWGRP)
