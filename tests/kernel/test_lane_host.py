"""The host lane, tried for real: inside whatever lane runs this, the kernel has ESP.

A machine whose own kernel lacks ESP would otherwise never run the lane of those that have it.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def lane(*command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.lane", "--", *command],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def sleepers(mark: str) -> list[bytes]:
    living = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            living.append((folder / "cmdline").read_bytes())
    return [line for line in living if line.startswith(b"sleep\0") and mark.encode() in line]


def test_lane_host_is_taken_on_a_kernel_with_esp_and_keeps_the_contract(artefacts: Path) -> None:
    """Probed, taken, isolated, read-only but the scratch folder, and the status comes back."""
    script = """
        readlink /proc/self/ns/net
        pwd
        echo "$SAD_LANE $TMPDIR $$ $1"
        ls /run/netns
        touch here 2>/dev/null && echo wrote
        echo 1 >/proc/sys/net/ipv4/ip_forward || echo no sysctl
        ls /sys/class/net
        echo artefact >"$SAD_LANE_SCRATCH/by-host"
        echo words >&2
        exit 3
    """
    done = lane(
        "sh", "-c", script, "sh", "an argument\nof two lines", SAD_LANE_SCRATCH=str(artefacts)
    )

    network, directory, contract, rest, links = done.stdout.splitlines()
    assert network != str(Path("/proc/self/ns/net").readlink())
    assert directory == str(ROOT)
    assert contract.startswith("host /run/tmp ")
    assert contract.endswith(" an argument")
    assert (rest, links) == ("of two lines", "lo")
    assert (artefacts / "by-host").read_text() == "artefact\n"
    assert done.returncode == 3
    assert done.stderr.splitlines()[0].startswith("lane: host (host kernel ")
    assert done.stderr.splitlines()[1:] == ["words"]


def test_lane_host_ends_a_command_that_takes_too_long(artefacts: Path) -> None:
    """After SAD_LANE_TIMEOUT the status is 124, and nothing of the command lives on."""
    mark = "31536000.5"
    done = lane(
        "sh", "-c", f"sleep {mark} & sleep {mark}",
        SAD_LANE_SCRATCH=str(artefacts), SAD_LANE_TIMEOUT="0.5",
    )  # fmt: skip

    assert done.returncode == 124
    assert "lane: the command took more than 0.5 s" in done.stderr
    patience = time.monotonic() + 10
    while sleepers(mark) and time.monotonic() < patience:
        pass
    assert sleepers(mark) == []
