"""Keys pass through the daemon: no core of it can exist."""

import subprocess
import sys

_PROGRAM = """
import ctypes, os, resource
from sad.runtime.hardening import forbid_core_dumps
forbid_core_dumps()
forbid_core_dumps()  # under the unit the limit stands already
assert ctypes.CDLL(None).prctl(3) == 0, "dumpable"  # PR_GET_DUMPABLE
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
os.abort()
"""


def test_an_aborted_daemon_leaves_no_core(tmp_path: object) -> None:
    """SIGABRT is the watchdog's own signal: not dumpable, and a core limit of 0."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=str(tmp_path),
        env={"PYTHONPATH": ":".join(p for p in sys.path if p) + ":."},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (-6, "")
    assert subprocess.run(["ls", str(tmp_path)], capture_output=True, check=True).stdout == b""
