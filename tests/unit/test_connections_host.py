"""Ending TCP connections on this machine's kernel: SOCK_DESTROY is not in every one with ESP.

Needs root or user namespaces; nothing outside of fresh namespaces is touched. Whether the RST
leaves inside ESP needs a kernel that has both.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lane.decision import Lane
from tests.lane.environment import inner_environment
from tests.lane.host import host_argv

ROOT = Path(__file__).resolve().parents[2]


FILES = ["connections", "tls_associations", "kamailio_tls", "tls_crowd", "tls_renewal", "ims_tls"]


@pytest.mark.parametrize("what", FILES)
def test_tcp_connections_end_on_a_real_kernel(tmp_path: Path, what: str) -> None:
    """Design 7, 9, T24-P-10, R3329-2.5: all of these files of ``tests/host``, none skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"tests/host/{what}.py"]
    done = subprocess.run(
        host_argv(os.getuid(), ROOT, tmp_path, command),
        cwd=ROOT,
        env=inner_environment(os.environ, lane=Lane.HOST, scratch=tmp_path, columns=None),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    *_, verdict = done.stdout.splitlines()
    assert re.fullmatch(r"\d+ passed in .*", verdict), verdict
