"""The same stories as test_stateful_lifetimes, far more of them."""

import pytest
from hypothesis import settings

from tests.oracle.machine import TimedLifetimes

TestManyLifetimes = pytest.mark.timeout(3600)(TimedLifetimes.TestCase)
TestManyLifetimes.settings = settings(max_examples=3000, stateful_step_count=40)
