"""The UML lane: a User-mode Linux guest whose root is the host's file system, read-only.

Counterpart of :mod:`tests.lane.host`. One guest per run, a second or two to boot, gone without
a trace; any number of them run side by side. ``SAD_LANE_MEMORY`` sets its memory (default
2048M; only touched pages count).
"""

import os
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from tests.lane.confinement import NOBODY, Confinement, confinement_argv, find_confinement
from tests.lane.decision import EX_LANE, Lane, LaneError
from tests.lane.environment import hides, inner_environment
from tests.lane.guest import init_script, kernel_complaints, modprobe_script
from tests.lane.relay import Relay, end_guest, follow

BINARY: Final = "linux.uml"
MODULES_FOLDER: Final = Path("/usr/lib/uml/modules")
_SHIM: Final = Path(__file__).with_name("xstate.c")


def kernel_argv(control: Path, own: Path, memory: str, output: int, errors: int) -> list[str]:
    """Return the guest kernel's command line.

    ``own`` is a folder that the kernel may write; the two descriptors become tty1 and tty2.
    """
    return [
        BINARY, f"mem={memory}", f"uml_dir={own}/",
        "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={control}/init",
        "quiet", "panic=-1", "con=null", "con0=null,fd:1",
        f"con1=null,fd:{output}", f"con2=null,fd:{errors}",
    ]  # fmt: skip


def control_parent(folder: Path) -> Path:
    """Return where the guest's own files go: a temporary folder that the guest can see."""
    return Path("/tmp") if hides(folder) else folder


def write_control(control: Path, init: str) -> None:
    """Write what the guest starts from: process 1, the module loader, and the modules."""
    for name, text in (("init", init), ("modprobe", modprobe_script(control))):
        (control / name).write_text(text)
        (control / name).chmod(0o700)
    (control / "lib").mkdir()
    (control / "lib/modules").symlink_to(MODULES_FOLDER)
    (control / "own").mkdir()


def shim_argv(control: Path, processor: str) -> list[str]:
    """Return what goes before the kernel on a processor with more registers than it knows of.

    Such are those with AMX: ``processor`` is /proc/cpuinfo.
    """
    if " amx_tile" not in processor:
        return []
    shim = control / "xstate.so"
    command = ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(shim), str(_SHIM)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        words = getattr(error, "stderr", "") or str(error)
        raise LaneError(f"this processor needs {_SHIM.name}, compiled: {words.strip()}") from error
    return ["env", f"LD_PRELOAD={shim}"]


def give_to_nobody(control: Path, scratch: Path) -> None:
    """Let the user nobody read the guest's files and write the scratch folder."""
    for path in (control, *control.rglob("*"), scratch):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def _exit_on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


class Pipes:
    """One pipe for each stream of a guest; the guest holds the second ends."""

    def __init__(self) -> None:
        self.output = os.pipe()
        self.errors = os.pipe()
        self.console = os.pipe()

    def close_ends(self, side: int) -> None:
        """Close the reading (0) or the guest's (1) ends."""
        for pipe in (self.output, self.errors, self.console):
            os.close(pipe[side])


def boot(confined: Sequence[str], kernel: Sequence[str], pipes: Pipes) -> subprocess.Popen[bytes]:
    """Start the guest kernel in a session of its own, away from the caller's terminal."""
    # A panic ends a guest by abort(3): no core file of its memory on top of its last words.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    return subprocess.Popen(
        [*confined, *kernel],
        stdin=subprocess.DEVNULL,
        stdout=pipes.console[1],
        stderr=pipes.console[1],
        pass_fds=(pipes.output[1], pipes.errors[1]),
        start_new_session=True,
    )


def run(
    command: Sequence[str],
    *,
    outer: Mapping[str, str],
    scratch: Path,
    columns: int | None,
    timeout: float,
) -> int:
    """Run the command in a fresh guest and return its exit status; raise LaneError."""
    marker = f"\x1e{secrets.token_hex(16)}"
    parent = control_parent(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix="sad-uml-", dir=parent) as folder:
        control = Path(folder)
        init = init_script(
            command,
            environment=inner_environment(outer, lane=Lane.UML, scratch=scratch, columns=columns),
            directory=Path.cwd(),
            scratch=scratch,
            control=control,
            marker=marker,
            failed=EX_LANE,
        )
        write_control(control, init)
        shim = shim_argv(control, Path("/proc/cpuinfo").read_text())
        uid = os.getuid()
        confinement = find_confinement(uid, scratch, control)
        if confinement is Confinement.NOBODY:
            give_to_nobody(control, scratch)
        bubble = confinement is Confinement.BUBBLEWRAP
        own = Path("/dev/shm") if bubble else control / "own"
        memory = outer.get("SAD_LANE_MEMORY") or "2048M"
        pipes = Pipes()
        kernel = [*shim, *kernel_argv(control, own, memory, pipes.output[1], pipes.errors[1])]
        confined = confinement_argv(confinement, uid, scratch, control)
        return _run_guest(boot(confined, kernel, pipes), pipes, marker, timeout)


def _run_guest(guest: subprocess.Popen[bytes], pipes: Pipes, marker: str, timeout: float) -> int:
    pipes.close_ends(1)
    relay = Relay(pipes.output[0], pipes.errors[0], pipes.console[0], marker)
    previous = signal.signal(signal.SIGTERM, _exit_on_sigterm)
    try:
        status = follow(relay, timeout)
        for line in kernel_complaints(relay.console):
            print(f"lane: the guest's kernel: {line}", file=sys.stderr)
        return status
    finally:
        end_guest(guest)
        signal.signal(signal.SIGTERM, previous)
        relay.close()
        pipes.close_ends(0)
