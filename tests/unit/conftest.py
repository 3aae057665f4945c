"""Shared suites whose failures should say what was compared."""

import pytest

pytest.register_assert_rewrite("tests.support.kernel_contract")
