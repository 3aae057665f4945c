"""``make wheel``: sip_hooks alone, for the interpreter of a SIP server somewhere else."""

import os
import subprocess
import zipfile
from pathlib import Path

from tests.support.tree import ROOT

_LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
import sip_hooks.aio, sip_hooks.client, sip_hooks.secagree
print(sip_hooks.aio.__file__)
"""


def test_the_wheel_holds_sip_hooks_and_runs_without_anything_else(tmp_path: Path) -> None:
    """No requirement, nothing of the daemon; the examples and settings come along."""
    done = subprocess.run(
        [ROOT / ".ci/wheel"],
        env=os.environ | {"TARGET": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(n for n in names if n.endswith("METADATA"))
        assert "Requires-Dist" not in archive.read(metadata).decode()
        archive.extractall(tmp_path / "there")

    assert {name.split("/")[0].split("-")[0] for name in names} == {"sip_hooks"}
    for wanted in ("kamailio/sad-ims.cfg", "examples/hook.c", "client.py", "aio.py", "py.typed"):
        assert f"sip_hooks/{wanted}" in names
    ran = subprocess.run(
        [
            "/usr/bin/python3",
            "-I",
            "-S",
            "-W",
            "error",
            "-c",
            _LOAD,
            str(tmp_path / "there"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(str(tmp_path))
