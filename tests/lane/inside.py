"""First program inside the host lane's namespaces: makes the environment's contract true.

``python -m tests.lane.inside SCRATCH COMMAND...``, started by :mod:`tests.lane.host` under
unshare(1) as process 1 of a new PID, mount and network namespace. It makes the whole file
system read-only but SCRATCH, mounts what must be fresh, brings ``lo`` up, runs the command,
collects orphans, and passes the exit status on.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.lane.decision import EX_LANE
from tests.lane.environment import FOLDERS
from tests.support.linux import MS_BIND, mount, set_read_only


def prepare(scratch: str) -> None:
    """Build the mounts of the lane; raise OSError with the step that failed."""
    mount(scratch, scratch, "none", flags=MS_BIND)
    set_read_only("/", read_only=True, recursive=True)
    set_read_only(scratch, read_only=False)
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    mount("tmpfs", "/run", "tmpfs", data="mode=755")
    mount("tmpfs", "/dev/shm", "tmpfs", data="mode=1777")
    for folder in FOLDERS:
        Path(folder).mkdir(parents=True, exist_ok=True)
    Path("/run/tmp").chmod(0o1777)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def run_to_its_end(command: list[str]) -> int:
    """Run a command as process 1 must: reap every orphan, return a shell's exit status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    # An interrupt is the command's to answer; the end of process 1 would cut it short.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            child.returncode = code
            return code if code >= 0 else 128 - code


def main(arguments: list[str]) -> int:
    """Prepare, run, and return the exit status."""
    scratch, *command = arguments
    directory = Path.cwd()
    try:
        prepare(scratch)
        # The old working directory still points below the mounts: step onto them.
        os.chdir(directory)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"lane: {error}", file=sys.stderr)
        return EX_LANE
    try:
        return run_to_its_end(command)
    except OSError as error:
        print(f"lane: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
