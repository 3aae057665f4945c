"""Both machines: Vagrant makes them, plain ssh speaks to them.

``vagrant ssh`` costs seconds a call, so ``vagrant ssh-config`` is asked once and one ssh
connection to each machine is kept and shared.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.acceptance.plan import PATIENCE
from tests.suite import ROOT

NAMES: Final = ("edge", "ue")
_VAGRANT: Final = ROOT / "vagrant"
_BUILD: Final = ROOT / "build/vagrant"
#: Longer than any command of a scenario takes, with the machine's slowness in it.
_COMMAND_SECONDS: Final = PATIENCE
_CONNECT_SECONDS: Final = 5
_POLL_SECONDS: Final = 1.0


class Failed(AssertionError):
    """A command on a machine ended badly; the text holds its words."""


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition; fail with its name when patience ends."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience:.0f} s in vain: {what}")
        time.sleep(_POLL_SECONDS)


class Machine:
    """One running machine; commands run as root."""

    def __init__(self, name: str, config: Path) -> None:
        self.name = name
        self._ssh = ["ssh", "-F", str(config), name]

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs ``words`` as root on the machine."""
        return [*self._ssh, f"sudo {shlex.join(words)}"]

    def run(
        self, *words: str, check: bool = True, seconds: float = _COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. With ``check`` a failure raises :class:`Failed`."""
        done = subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
        if check and done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise Failed(f"{self.name}: {shlex.join(words)} ended with {done.returncode}: {said}")
        return done

    def out(self, *words: str) -> str:
        """Run a command; return what it printed."""
        return self.run(*words).stdout

    def shell(self, script: str, *, check: bool = True) -> str:
        """Run a script of sh; return what it printed."""
        return self.run("sh", "-c", script, check=check).stdout

    def write(self, path: str, text: str) -> None:
        """Make a file, and its folder."""
        words = f"mkdir -p {shlex.quote(os.path.dirname(path))} && cat > {shlex.quote(path)}"  # noqa: PTH120 - a path of another machine
        subprocess.run(
            self.command("sh", "-c", words), input=text, text=True, check=True, timeout=PATIENCE
        )

    def raw(self, script: str) -> bytes:
        """Run a script of sh; return the bytes that it printed."""
        return subprocess.run(
            self.command("sh", "-c", script),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=PATIENCE,
        ).stdout

    def read(self, path: str, offset: int = 0) -> bytes:
        """Return a file from ``offset`` on."""
        return self.raw(f"tail --bytes=+{offset + 1} {shlex.quote(path)}")

    def boot_id(self) -> str:
        return self.out("cat", "/proc/sys/kernel/random/boot_id").strip()

    def reboot(self) -> None:
        """Boot anew; returns when it answers again."""
        before = self.boot_id()
        self.run("systemctl", "reboot", check=False)

        def is_back() -> bool:
            with contextlib.suppress(Failed, subprocess.TimeoutExpired):
                return self.boot_id() != before
            return False

        self.disconnect()
        wait_until(is_back, f"{self.name} is back")

    def disconnect(self) -> None:
        """Close the connection that commands share."""
        subprocess.run(
            [*self._ssh[:-1], "-O", "exit", self.name], capture_output=True, check=False
        )


class Vagrant:
    """The command, with all it keeps below ``build/``; its words go to a log."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._environment = {
            **os.environ,
            "VAGRANT_HOME": str(_BUILD / "home"),
            "VAGRANT_DOTFILE_PATH": str(_BUILD / "state"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
        }
        _BUILD.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments: str) -> None:
        """Run ``vagrant``; fail with the end of its log."""
        with self._log.open("a") as log:
            done = subprocess.run(
                ["vagrant", *arguments, "--no-color", "--no-tty"],
                cwd=_VAGRANT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            raise self._failure(arguments, done.returncode)

    def up(self) -> None:
        """Have both machines, with today's files even if an earlier run has kept them."""
        kept = self._ask("status", "--machine-readable").count(",state,running") == len(NAMES)
        self.run("up", "--provider", "libvirt")
        if kept:
            self.run("rsync")
            self.run("provision")

    def ssh_config(self) -> str:
        """Return how ssh reaches the machines."""
        return self._ask("ssh-config")

    def _ask(self, *arguments: str) -> str:
        with self._log.open("a") as log:
            done = subprocess.run(
                ["vagrant", *arguments],
                cwd=_VAGRANT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            raise self._failure(arguments, done.returncode)
        return done.stdout

    def _failure(self, arguments: Sequence[str], status: int) -> Failed:
        end = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
        return Failed(f"vagrant {shlex.join(arguments)} ended with {status}:\n{end}")

    def destroy(self) -> None:
        """Remove machines, networks, and the disk that both began with."""
        self.run("destroy", "--force")
        virsh = ["virsh", "--connect", "qemu:///system"]
        listed = subprocess.run(
            [*virsh, "vol-list", "default"], capture_output=True, text=True, check=False
        )
        for line in listed.stdout.splitlines():
            name = line.split()[0] if line.split() else ""
            if name.startswith("sad-") and "_vagrant_box_image_" in name:
                subprocess.run(
                    [*virsh, "vol-delete", name, "default"], capture_output=True, check=False
                )


@contextlib.contextmanager
def connected(vagrant: Vagrant) -> Iterator[dict[str, Machine]]:
    """Yield the machines by name, reached through one connection each."""
    # Below /tmp: the path of a socket is limited to 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="sad-", dir="/tmp"))
    config = folder / "ssh"
    shared = {
        "ControlMaster": "auto",
        "ControlPath": f"{folder}/%n",
        "ControlPersist": "yes",
        "ConnectTimeout": _CONNECT_SECONDS,
        "ServerAliveInterval": _CONNECT_SECONDS,
        "ServerAliveCountMax": int(PATIENCE / _CONNECT_SECONDS),
        "LogLevel": "ERROR",
    }
    common = "".join(f"  {name} {value}\n" for name, value in shared.items())
    # The first value of a setting counts.
    config.write_text(f"Host *\n{common}\n{vagrant.ssh_config()}")
    machines = {name: Machine(name, config) for name in NAMES}
    try:
        yield machines
    finally:
        for machine in machines.values():
            machine.disconnect()
        shutil.rmtree(folder, ignore_errors=True)  # ssh removes its sockets too
