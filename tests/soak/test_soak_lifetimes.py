"""The same stories as test_stateful_lifetimes, far more of them."""

from hypothesis import settings

from tests.oracle.machine import Lifetimes

TestManyLifetimes = Lifetimes.TestCase
TestManyLifetimes.settings = settings(max_examples=3000, stateful_step_count=40)
