"""Tests on this machine's own kernel: for what the kernel of User-mode Linux lacks.

A test of ``tests/unit`` starts each file in fresh namespaces. So none is named as a test that
pytest would find by itself, and nothing of the host is touched.
"""

import os

import pytest

pytest.register_assert_rewrite("tests.support.connections_contract")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Refuse to run among the host's own sockets."""
    if os.environ.get("SAD_LANE") != "host":
        pytest.fail("run pytest tests/unit/test_connections_host.py", pytrace=False)
