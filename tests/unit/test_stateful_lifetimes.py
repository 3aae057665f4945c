"""Two user agents' calls, time, foreign hands and faults in any order: norms 12, rows 1 to 9."""

from hypothesis import settings

from tests.oracle.machine import TimedLifetimes

TestLifetimes = TimedLifetimes.TestCase
TestLifetimes.settings = settings(max_examples=100, stateful_step_count=30)
