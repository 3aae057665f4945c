"""A clean Debian with systemd in User-mode Linux, for one trial: boots, runs it, is gone.

Unlike the guests of :mod:`tests.lane` it has a disk and a service manager of its own, and nothing
of the host: the first disk is made by ``build`` and never written (what the guest writes goes to a
file beside it), the second one is an archive with the trial. It has no network.
"""

import io
import os
import secrets
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.lane.confinement import Confinement, confinement_argv, find_confinement
from tests.lane.decision import LaneError
from tests.lane.environment import seconds_from
from tests.lane.relay import Relay, end_guest, follow
from tests.lane.uml import BINARY, Pipes, boot, control_parent, give_to_nobody, shim_argv
from tests.suite import ROOT

#: Until systemd has come to the trial, on a machine with much else to do.
_BOOT_SECONDS: Final = 600.0
_TRIAL_SECONDS: Final = 3600.0
_START: Final = """\
#!/bin/sh
# Runs as root in the guest, by trial.service: gives the trial its tree, the host its output.
for terminal in /dev/tty1 /dev/tty2; do stty -opost <"$terminal"; done
exec >/dev/tty1 2>/dev/tty2 </dev/null
printf '%s:ready\\n' {marker}
mv /srv/trial/tree "$(getent passwd newcomer | cut -d: -f6)/sad"
# Through a pipe, so that no program takes the terminal for a person's.
runuser --login newcomer --command 'set -o pipefail; cd sad && bash /srv/trial/script 2>&1 | cat'
code=$?
sync
printf '%s:%d\\n' {marker} "$code"
printf '%s:%d\\n' {marker} "$code" >&2
"""


def disk(packages: list[str]) -> Path:
    """Return the disk of a clean Debian with these packages at hand; built if there is none."""
    command = [str(ROOT / "tests/newcomer/build"), str(ROOT / "build/clean"), *packages]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise LaneError("there is no disk of a clean Debian, see above")
    return Path(done.stdout.split()[-1])


def run(disk: Path, script: str, packages: Mapping[str, Path]) -> int:
    """Run a script of bash as user newcomer, in a copy of this tree, and return its exit status.

    ``packages`` are files to lay into ``build/`` of that copy, by name. Output goes to standard
    output as it comes. Raise LaneError if the guest could not run it to its end.
    """
    marker = f"\x1e{secrets.token_hex(16)}"
    parent = control_parent(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix="sad-newcomer-", dir=parent) as folder:
        control = Path(folder)
        scratch = control / "scratch"
        scratch.mkdir()
        (control / "own").mkdir()
        write_trial(control / "trial.tar", marker, script, packages)
        shim = shim_argv(control, Path("/proc/cpuinfo").read_text())
        confinement = find_confinement(os.getuid(), scratch, control)
        if confinement is Confinement.NOBODY:
            give_to_nobody(control, scratch)
        own = Path("/dev/shm") if confinement is Confinement.BUBBLEWRAP else control / "own"
        pipes = Pipes()
        kernel = [
            *shim, BINARY, f"mem={os.environ.get('SAD_LANE_MEMORY') or '1536M'}",
            f"uml_dir={own}/", f"ubd0={scratch}/written,{disk}", f"ubd1r={control}/trial.tar",
            "root=/dev/ubda", "rootfstype=ext4", "rw", "quiet", "panic=-1",
            "con=null", "con0=null,fd:1", f"con1=null,fd:{pipes.output[1]}",
            f"con2=null,fd:{pipes.errors[1]}",
        ]  # fmt: skip
        confined = confinement_argv(confinement, os.getuid(), scratch, control)
        return _relay(boot(confined, kernel, pipes), pipes, marker)


def _relay(guest: subprocess.Popen[bytes], pipes: Pipes, marker: str) -> int:
    pipes.close_ends(1)
    relay = Relay(pipes.output[0], pipes.errors[0], pipes.console[0], marker)
    try:
        seconds = seconds_from(os.environ, "SAD_LANE_TIMEOUT", _TRIAL_SECONDS)
        return follow(relay, seconds, boot_seconds=_BOOT_SECONDS)
    finally:
        end_guest(guest)
        relay.close()
        pipes.close_ends(0)


def write_trial(path: Path, marker: str, script: str, packages: Mapping[str, Path]) -> None:
    """Write the second disk: the program that starts, the script, and this tree as it stands."""
    with tarfile.open(path, "w") as archive:
        _add(archive, "start", _START.format(marker=shlex.quote(marker)), 0o755)
        _add(archive, "script", script, 0o644)
        for name in _files_of_the_tree():
            archive.add(ROOT / name, f"tree/{name}", filter=_of_newcomer)
        for name, file in packages.items():
            archive.add(file, f"tree/build/{name}", filter=_of_newcomer)
    # The last block of a disk is a whole one.
    with path.open("ab") as end:
        end.write(bytes(-path.stat().st_size % 512))


def _files_of_the_tree() -> Iterator[str]:
    """What a clone of this tree would hold, with what is not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    yield from (name for name in listed.split("\0") if name and (ROOT / name).exists())


def _add(archive: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    data = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _of_newcomer(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Give a file of the tree to the guest's first user."""
    entry.uid = entry.gid = 1000
    entry.uname = entry.gname = "newcomer"
    return entry


def say(text: str) -> None:
    """Say how far it is, before the guest says more."""
    print(f"newcomer: {text}", flush=True, file=sys.stderr)
