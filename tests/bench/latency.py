"""Row 10: how long an Offer waits under load, and the longest time that the loop sees nobody.

First a closed loop, one Offer after the other; then all connections as deep as they go, which
tells the most that the daemon takes; then Offers at random instants (Poisson) at half of that. The
wait of each counts from the instant at which it was due, so a daemon that holds its caller up pays
for it. The daemon is that of :mod:`tests.bench.own_cpu`, in a process of its own.

The loop's longest stretch is counted in CPU time and compared with that of a send of 24 sets to
the netlink socket in the same life, which here costs less than with a kernel that works it off.
"""

import asyncio
import contextlib
import itertools
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from netlink.requests import RequestSocket
from tests.bench.caller import ASSOCIATIONS, Line, UserAgent, register
from tests.bench.figures import Curve, Row, summary
from tests.bench.own_cpu import host_daemon
from tests.bench.world import World

LINES: Final = 16
CLOSED: Final = 400
OPEN_SECONDS: Final = 4.0
LOADS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
GATED: Final = 0.5
MOST_TRIALS: Final = 3
#: Half of what a machine takes is nearly all of it when its speed halves meanwhile, as that of a
#: shared one does: such a trial says nothing, and is made again, but not for ever.
STEADY: Final = 1.2
#: What a daemon says that has more to do than it promises to keep waiting.
BUSY: Final = b'"error":"org.sipsad.Associations.Busy"'
ATTEMPTS: Final = 3
#: A bare loop is looked at for so long, in pieces of some 50 µs.
BARE_SECONDS: Final = 5.0
BARE_STEPS: Final = 3000
#: What a send of 24 sets is of a full one.
YARDSTICK: Final = 24 / 32


class Stretches:
    """The longest callbacks of a loop in CPU seconds: full sends to the kernel, and all others."""

    def __init__(self) -> None:
        self.send = self.other = 0.0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Look at every callback inside: there is no other place where all of them pass."""
        run = asyncio.events.Handle._run

        def timed(handle: asyncio.events.Handle) -> None:
            called = getattr(handle._callback, "__func__", None)  # type: ignore[attr-defined]
            begun = time.thread_time()
            run(handle)
            took = time.thread_time() - begun
            if called is RequestSocket._flush:
                self.send = max(self.send, took)
            else:
                self.other = max(self.other, took)

        asyncio.events.Handle._run = timed  # type: ignore[method-assign,assignment]  # for all
        try:
            yield
        finally:
            asyncio.events.Handle._run = run  # type: ignore[method-assign]  # as it was


async def serve(folder: Path) -> None:
    """Be the daemon until standard input ends; then say how many sends the longest stretch was."""
    async with host_daemon(folder) as daemon:
        print(daemon.path, flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        await reader.readline()  # it is warm
        stretches = Stretches()
        with stretches.watched():
            await reader.read()
    print(stretches.other / (stretches.send * YARDSTICK), flush=True)


def closed_loop(line: Line, agents: Sequence[UserAgent]) -> list[float]:
    """Return the seconds of Offers that follow one another."""
    waits = []
    for agent in agents:
        begun = time.monotonic()
        line.ask("Offer", [agent.offer()])
        line.answers(1)
        waits.append(time.monotonic() - begun)
    return waits


class OpenLoop:
    """Offers at instants that were drawn before; each on the line that has fewest before it."""

    def __init__(self, path: str) -> None:
        self._sockets = [socket.socket(socket.AF_UNIX) for _ in range(LINES)]
        for opened in self._sockets:
            opened.connect(path)
            opened.setblocking(False)
        self._due: list[list[float]] = [[] for _ in self._sockets]
        self.waits: list[float] = []
        self.busy = 0

    def run(self, agents: Sequence[UserAgent], rate: float, seed: int) -> list[float]:
        """Return the seconds of each from the instant at which it was due."""
        drawn = random.Random(seed)
        calls = [_call(agent) for agent in agents]
        due = time.monotonic() + 0.05
        for call in calls:
            due += drawn.expovariate(rate)
            while time.monotonic() < due:
                self._read()
            number = min(range(LINES), key=lambda n: len(self._due[n]))
            self._sockets[number].send(call)
            self._due[number].append(due)
        while any(self._due):
            self._read()
        waits, self.waits = self.waits, []
        return waits

    def turned_away(self) -> int:
        """Return how many were told to come again since this was asked last."""
        busy, self.busy = self.busy, 0
        return busy

    def _read(self) -> None:
        for opened, due in zip(self._sockets, self._due, strict=True):
            if due:
                try:
                    data = opened.recv(1 << 16)
                except BlockingIOError:
                    continue
                if b'"error"' in data:
                    assert data.count(b'"error"') == data.count(BUSY), data
                    self.busy += data.count(BUSY)
                now = time.monotonic()
                for _ in range(data.count(0)):
                    self.waits.append(now - due.pop(0))

    def close(self) -> None:
        for opened in self._sockets:
            opened.close()


def _call(agent: UserAgent) -> bytes:
    call: dict[str, Any] = {"method": f"{ASSOCIATIONS}.Offer", "parameters": agent.offer()}
    return json.dumps(call).encode() + b"\0"


def hiccups() -> float:
    """Return in which part of the time a bare loop takes over three times what it mostly does.

    What it shows is no program's but the machine's, and every wait above has it inside.
    """
    spans = []
    end = time.monotonic() + BARE_SECONDS
    while time.monotonic() < end:
        begun = time.perf_counter()
        for _ in range(BARE_STEPS):
            pass
        spans.append(time.perf_counter() - begun)
    usual = statistics.median(spans)
    return sum(span for span in spans if span > 3 * usual) / sum(spans)


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value below which this part of all lies."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


@contextlib.contextmanager
def daemon_process(folder: Path) -> Iterator[tuple[str, list[float]]]:
    """Run a daemon; afterwards the list holds its longest stretch, in its longest sends."""
    daemon = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.latency", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    path, longest = daemon.stdout.readline().strip(), list[float]()
    register([Line(path) for _ in range(LINES)], [UserAgent(1_000_000 + n) for n in range(400)])
    daemon.stdin.write("\n")
    daemon.stdin.flush()
    yield path, longest
    daemon.stdin.close()
    longest.append(float(daemon.stdout.read()))
    assert daemon.wait() == 0


def most_a_second(path: str, agents: Sequence[UserAgent]) -> float:
    """Return the rate of Offers that all lines bring at once, eight deep."""
    lines = [Line(path) for _ in range(LINES)]
    begun = time.monotonic()
    for first in range(0, len(agents), 8 * LINES):
        piece = agents[first : first + 8 * LINES]
        shares = [piece[n::LINES] for n in range(LINES)]
        for line, share in zip(lines, shares, strict=True):
            line.ask("Offer", [agent.offer() for agent in share])
        for line, share in zip(lines, shares, strict=True):
            line.answers(len(share))
    return len(agents) / (time.monotonic() - begun)


def rows(world: World) -> Iterator[Row | Curve]:
    """Measure the wait of an Offer at several loads."""
    numbers = itertools.count()

    def agents(count: int) -> list[UserAgent]:
        return [UserAgent(n) for n in itertools.islice(numbers, count)]

    factors: list[float] = []
    p99s: dict[float, list[float]] = {load: [] for load in LOADS}
    p50s: dict[float, list[float]] = {load: [] for load in LOADS}
    trials = min(world.repeat, MOST_TRIALS)
    with (
        tempfile.TemporaryDirectory(dir=world.folder) as folder,
        daemon_process(Path(folder)) as (path, longest),
    ):
        for number in range(trials):
            opened = OpenLoop(path)

            def waits_at(load: float, most: float, opened: OpenLoop, seed: int) -> list[float]:
                count = max(100, int(load * most * OPEN_SECONDS * min(1.0, world.scale)))
                return opened.run(agents(count), load * most, seed=seed)

            waits: dict[float, list[float]] = {}
            for _ in range(ATTEMPTS):
                alone = statistics.median(closed_loop(Line(path), agents(CLOSED)))
                most = most_a_second(path, agents(2000))
                waits[GATED] = waits_at(GATED, most, opened, number)
                after = most_a_second(path, agents(2000))
                if max(most, after) < STEADY * min(most, after) and not opened.turned_away():
                    break
                world.say(f"void: the machine took {most:.0f}/s before and {after:.0f}/s after")
            for load in LOADS:
                if load != GATED:
                    waits[load] = waits_at(load, most, opened, number)
                    if busy := opened.turned_away():
                        world.say(f"at {100 * load:.0f} %: {busy} were told to come again")
                p50s[load].append(1000 * percentile(waits[load], 0.5))
                p99s[load].append(1000 * percentile(waits[load], 0.99))
            opened.close()
            factors.append(p99s[GATED][-1] / 1000 / alone)
            world.say(
                f"trial {number + 1}: alone {1e6 * alone:.0f} µs, at most {most:.0f}/s, "
                f"p99 at half of it {p99s[GATED][-1]:.1f} ms"
            )
    slow = 100 * hiccups()
    yield Row(
        number=0,
        what="part of the time in which a bare loop takes over three times what it mostly does",
        layout="nothing else runs",
        unit="%",
        best=slow,
        median=slow,
        trials=1,
    )
    best, median = summary(factors, most=False)
    layout = "Offer with journal, metrics and log, 16 connections, no kernel"
    yield Row(
        number=10,
        what="p99 of Offer at 50 % load against the median of one after the other",
        layout=layout,
        unit="times",
        best=best,
        median=median,
        trials=trials,
        at_most=20.0,
    )
    (ratio,) = longest
    yield Row(
        number=10,
        what="longest stretch of the loop against one send of 24 sets, in CPU time",
        layout=layout,
        unit="times",
        best=ratio,
        median=ratio,
        trials=1,
        at_most=1.0,
    )
    lines = {
        name: [(100 * load, statistics.median(values[load])) for load in LOADS]
        for name, values in (("p50", p50s), ("p99", p99s))
    }
    yield Curve(
        name="latency",
        title="Wait of an Offer",
        across="load, % of the most",
        up="ms",
        lines=lines,
    )


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
