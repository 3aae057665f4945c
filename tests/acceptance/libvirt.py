"""libvirt for the length of a run: the machine's own service, or started by hand without systemd.

In a container PID 1 is no systemd: then D-Bus, virtlogd and libvirtd are started here, with
settings of their own that the machine's files never see, and stopped at the end.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: A container lends neither control groups nor device namespaces to QEMU.
QEMU_SETTINGS: Final = """
security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = []
namespaces = []
"""
_PATIENCE: Final = 60.0


class HostError(Exception):
    """This machine cannot run the machines; the text says what to do."""


def answers() -> bool:
    """Whether libvirt can be reached."""
    done = subprocess.run(
        ["virsh", "--connect", "qemu:///system", "uri"], capture_output=True, check=False
    )
    return done.returncode == 0


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Have libvirt running; yields how. ``folder`` takes settings, logs and process ids."""
    if answers():
        yield "libvirt was running"
    elif Path("/run/systemd/system").exists():
        as_root = [] if os.getuid() == 0 else ["sudo"]
        subprocess.run([*as_root, "systemctl", "start", "libvirtd.service"], check=True)
        _wait_for_answer()
        yield "libvirt started by systemd"
    elif os.getuid() == 0:
        with _by_hand(folder):
            yield "libvirt started by hand"
    else:
        raise HostError("libvirt does not run here, and neither systemd nor root can start it")


def _wait_for_answer() -> None:
    end = time.monotonic() + _PATIENCE
    while not answers():
        if time.monotonic() > end:
            raise HostError("libvirt was started and does not answer: virsh -c qemu:///system")
        time.sleep(0.2)


@contextlib.contextmanager
def _by_hand(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "qemu.conf"
    settings.write_text(QEMU_SETTINGS)
    started: list[Path] = []
    try:
        if not Path("/run/dbus/system_bus_socket").exists():
            Path("/run/dbus").mkdir(exist_ok=True)
            started.append(_start("dbus-daemon", ["--system", "--fork"], folder))
        for program in ("virtlogd", "libvirtd"):
            pid_file = folder / f"{program}.pid"
            _in_own_mounts(settings, [program, "--daemon", "--pid-file", str(pid_file)])
            started.append(pid_file)
        _wait_for_answer()
        yield
    finally:
        for pid_file in reversed(started):
            _stop(pid_file)


def _start(program: str, arguments: list[str], folder: Path) -> Path:
    pid_file = folder / f"{program}.pid"
    with pid_file.open("w") as out:
        subprocess.run([program, *arguments, "--print-pid"], stdout=out, check=True)
    return pid_file


def _in_own_mounts(settings: Path, command: list[str]) -> None:
    """Run a command that sees our settings of QEMU in place of the machine's."""
    bind = shlex.join(["mount", "--bind", str(settings), "/etc/libvirt/qemu.conf"])
    subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{bind} && exec {shlex.join(command)}"], check=True
    )


def _stop(pid_file: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
    pid_file.unlink(missing_ok=True)
