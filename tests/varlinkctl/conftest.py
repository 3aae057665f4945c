"""Gives the lane its program: this machine's, else that of Debian 13."""

import shutil
import subprocess

import pytest

from tests.support.tree import ROOT


@pytest.fixture(scope="session")
def varlinkctl() -> str:
    """The program; where none can be had the lane has not run, which is an error, not a skip."""
    if (found := shutil.which("varlinkctl")) is not None:
        return found
    fetched = subprocess.run(
        [ROOT / "tests/varlinkctl/fetch", ROOT / "build/varlinkctl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode != 0:
        pytest.fail(f"lane varlinkctl did not run: {fetched.stderr.strip()}", pytrace=False)
    return fetched.stdout.split()[-1]
