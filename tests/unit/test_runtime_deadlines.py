"""One heap, one timer, on CLOCK_BOOTTIME."""

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from sad.runtime.deadlines import Deadlines
from sad.runtime.timer import BoottimeTimer


class FakeTimer:
    def __init__(self) -> None:
        self.armed: float | None = None

    def arm(self, at: float | None) -> None:
        self.armed = at


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_timer_is_armed_to_the_earliest_deadline() -> None:
    """One timer, re-armed whenever the earliest changes."""
    now, timer = Now(), FakeTimer()
    deadlines = Deadlines(now)
    deadlines.set("b", 20.0)
    deadlines.attach(timer)
    assert timer.armed == 20.0
    deadlines.set("a", 10.0)
    assert timer.armed == 10.0
    deadlines.set("a", 30.0)  # lengthened
    assert timer.armed == 20.0
    now.seconds = 25.0
    assert deadlines.fire() == ("b",)
    assert timer.armed == 30.0
    deadlines.remove("a")
    now.seconds = 40.0
    assert deadlines.fire() == ()
    assert timer.armed is None


operations = st.lists(
    st.tuples(
        st.sampled_from(["set", "remove", "advance"]), st.integers(0, 5), st.integers(0, 100)
    ),
    max_size=120,
)


@given(operations)
def test_each_deadline_fires_once_and_never_early(
    steps: list[tuple[str, int, int]],
) -> None:
    """Against the plain model: a dictionary that is searched."""
    now, timer = Now(), FakeTimer()
    deadlines = Deadlines(now)
    deadlines.attach(timer)
    model: dict[str, float] = {}
    for action, key_number, value in steps:
        key = str(key_number)
        if action == "set":
            at = now.seconds + value
            deadlines.set(key, at)
            model[key] = at
        elif action == "remove":
            deadlines.remove(key)
            model.pop(key, None)
        else:
            now.seconds += value
            due = {k for k, at in model.items() if at <= now.seconds}
            assert set(deadlines.fire()) == due
            for k in due:
                del model[k]
        assert len(deadlines) == len(model)
    deadlines.fire()
    later = [at for at in model.values() if at > now.seconds]
    assert timer.armed == (min(later) if later else None)


def test_a_refreshed_heap_does_not_grow() -> None:
    """A registration that is refreshed for months costs one entry."""
    deadlines = Deadlines(lambda: 0.0)
    for n in range(10_000):
        deadlines.set("a", float(n))

    assert len(deadlines._heap) < 200


async def test_the_real_timer_fires_on_boottime() -> None:
    """The timerfd fires not before its instant of CLOCK_BOOTTIME, and can be moved."""
    fired = asyncio.Event()
    timer = BoottimeTimer(fired.set)
    timer.arm(time.clock_gettime(time.CLOCK_BOOTTIME) + 3600)
    instant = time.clock_gettime(time.CLOCK_BOOTTIME) + 0.05
    timer.arm(instant)

    await asyncio.wait_for(fired.wait(), 10)

    assert time.clock_gettime(time.CLOCK_BOOTTIME) >= instant
    timer.close()


async def test_the_real_timer_fires_at_once_for_the_past() -> None:
    """A deadline that passed while the daemon was down fires, it is not lost."""
    fired = asyncio.Event()
    timer = BoottimeTimer(fired.set)
    timer.arm(-5.0)

    await asyncio.wait_for(fired.wait(), 10)
    timer.close()
