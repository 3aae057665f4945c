"""Tests on this machine's own kernel: for what the kernel of User-mode Linux lacks.

Each folder's worth runs in fresh namespaces, started by a test of ``tests/unit``. Nothing of the
host is touched.
"""

import os

import pytest

pytest.register_assert_rewrite("tests.support.connections_contract")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Refuse to run among the host's own sockets."""
    if os.environ.get("SAD_LANE") != "host":
        pytest.fail("run pytest tests/unit/test_connections_host.py", pytrace=False)
