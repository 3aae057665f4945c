"""The guard on this machine's kernel: nf_tables is not in every kernel that has ESP.

Needs root or user namespaces, nft and iptables; nothing outside of fresh namespaces is touched.
The counterpart on a kernel with ESP is ``tests/kernel/test_guard_rules.py``.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.lane.decision import Lane
from tests.lane.environment import inner_environment
from tests.lane.host import host_argv

ROOT = Path(__file__).resolve().parents[2]


def test_every_packet_filter_of_this_kernel_keeps_clear_text_out(tmp_path: Path) -> None:
    """IPS-8, T33-7.1-e: UDP, TCP, fragments, both versions, both directions, ``lo`` included.

    Also: nobody else's rules are touched, applying again changes nothing, and the command line.
    """
    done = subprocess.run(
        host_argv(os.getuid(), ROOT, tmp_path, [sys.executable, "-m", "tests.support.clear_text"]),
        cwd=ROOT,
        env=inner_environment(os.environ, lane=Lane.HOST, scratch=tmp_path, columns=None),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "nft: clear text is dropped\n" in done.stdout
    assert "iptables" in done.stdout
