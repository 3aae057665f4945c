"""Shared suites whose failures should say what was compared."""

import pytest

pytest.register_assert_rewrite("tests.support.contract_world", "tests.support.kernel_contract")
