"""What keeps a User-mode Linux guest from writing to the host.

The guest's root is the host's file system, and root in a guest can always mount the host's
files again; so the guest kernel as a whole is confined. Counterpart of :mod:`tests.lane.uml`,
which runs the guest.
"""

import enum
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

NOBODY: Final = 65534


class Confinement(enum.StrEnum):
    """What keeps the guest from writing to the host."""

    BUBBLEWRAP = "a read-only view of the host"
    OWN_RIGHTS = "the rights of this user"
    NOBODY = "the rights of the user nobody"


def confinement_argv(
    confinement: Confinement, uid: int, scratch: Path, control: Path
) -> list[str]:
    """Return the command line that goes before the guest kernel's."""
    if confinement is Confinement.BUBBLEWRAP:
        # Root needs to read trees of other users, and nothing else that root can do.
        root = ["--cap-drop", "ALL", "--cap-add", "CAP_DAC_OVERRIDE"] if uid == 0 else []
        return [
            "bwrap", "--die-with-parent", *root,
            "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net",
            "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/dev/shm",
            "--bind", str(scratch), str(scratch),
            "--setenv", "TMPDIR", "/dev/shm", "--setenv", "HOME", "/dev/shm", "--",
        ]  # fmt: skip
    others = []
    if confinement is Confinement.NOBODY:
        others = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    setpriv = ["setpriv", "--pdeathsig", "KILL", *others, "--"]
    return [*setpriv, "env", f"TMPDIR={memory_folder()}", f"HOME={control}"]


def memory_folder() -> str:
    """Return a folder for the guest's memory: in memory and executable where there is one."""
    for folder in ("/dev/shm", tempfile.gettempdir(), "/var/tmp"):
        try:
            state = os.statvfs(folder)
        except OSError:
            continue
        roomy = state.f_bavail * state.f_frsize >= 1 << 30
        if roomy and not state.f_flag & os.ST_NOEXEC and os.access(folder, os.W_OK):
            return folder
    return tempfile.gettempdir()


def find_confinement(uid: int, scratch: Path, control: Path) -> Confinement:
    """Try bubblewrap; without it the guest runs with the rights of a user who is not root."""
    argv = confinement_argv(Confinement.BUBBLEWRAP, uid, scratch, control)
    try:
        done = subprocess.run(
            [*argv, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        why = done.stderr.strip().removeprefix("bwrap: ")
        if done.returncode == 0:
            return Confinement.BUBBLEWRAP
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
    fallback = Confinement.NOBODY if uid == 0 else Confinement.OWN_RIGHTS
    print(f"lane: no read-only view of the host ({why}); limited by {fallback}", file=sys.stderr)
    return fallback
