"""Tests in a guest of their own, whatever lane the others take: for what would harm the host.

A test of ``tests/unit`` starts each file in User-mode Linux. So none is named as a test that
pytest would find by itself.
"""

import os

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Refuse to run where the clock is the host's."""
    if os.environ.get("SAD_LANE") != "uml":
        pytest.fail("run pytest tests/unit/test_clock_guest.py", pytrace=False)
