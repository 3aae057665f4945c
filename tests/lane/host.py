"""The host lane: the running kernel, in namespaces of the command's own.

Counterpart of :mod:`tests.lane.uml`. Needs root, or a kernel that lets users make namespaces;
:func:`probe` finds out by running :mod:`tests.lane.esp` in exactly the lane a command would get.
"""

import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from tests.lane.decision import EX_TIMEOUT, Finding, Lane, read_verdict
from tests.lane.environment import inner_environment

_INSIDE: Final = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from tests.lane.inside import main
sys.exit(main(sys.argv[1:]))
"""
"""``python -m tests.lane.inside``, from any working directory."""


def host_argv(uid: int, root: Path, scratch: Path, command: Sequence[str]) -> list[str]:
    """Return the command line that runs ``command`` in fresh namespaces on this kernel."""
    user = [] if uid == 0 else ["--user", "--map-root-user"]
    inside = [sys.executable, "-c", _INSIDE, str(root), str(scratch)]
    unshare = ["unshare", *user, "--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child"]
    return [*unshare, "--", *inside, *command]


def probe(root: Path) -> Finding:
    """Add and delete an SA in a fresh host lane; never raises for a kernel that cannot."""
    release = platform.release()
    with tempfile.TemporaryDirectory(prefix="sad-probe-") as scratch:
        argv = host_argv(
            os.getuid(), root, Path(scratch), [sys.executable, "-m", "tests.lane.esp"]
        )
        try:
            done = subprocess.run(
                argv,
                cwd=root,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Finding(release=release, refusal=f"could not be probed: {error}")
    refusal = read_verdict(done.returncode, done.stdout, done.stderr)
    return Finding(release=release, refusal=refusal)


def run(
    command: Sequence[str],
    *,
    outer: Mapping[str, str],
    root: Path,
    scratch: Path,
    columns: int | None,
    timeout: float,
) -> int:
    """Run the command in the host lane and return its exit status.

    An interrupt from the terminal reaches the command by itself (same process group), so here
    it is only waited for.
    """
    env = inner_environment(outer, lane=Lane.HOST, scratch=scratch, columns=columns)
    argv = host_argv(os.getuid(), root, scratch, command)
    child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            child.kill()

    previous = {n: signal.signal(n, pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = child.wait(timeout=timeout)
        return code if code >= 0 else 128 - code
    except subprocess.TimeoutExpired:
        print(f"lane: the command took more than {timeout:g} s", file=sys.stderr)
        return EX_TIMEOUT
    finally:
        # --kill-child: the end of unshare(1) is the end of all processes of the lane.
        child.kill()
        child.wait()
        for number, handler in previous.items():
            signal.signal(number, handler)
