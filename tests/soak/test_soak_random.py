"""Random lives of many user agents, kills, foreign hands: at each checkpoint all of it is true.

``make soak SECONDS=3600`` makes it longer, ``SEED=...`` plays the same dice again (threads and
kernel still take their own turns).
"""

import contextlib
import os
import random
import re
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import eye
from tests.support.daemon import PATIENCE, Daemon, endpoint_settings, wait_until
from tests.support.foreign_hands import ForeignHands
from tests.support.namespaces import Namespace
from tests.support.random_model import (
    AWAIT_SECONDS,
    MARGIN_SECONDS,
    SLACK_SECONDS,
    T1_MILLISECONDS,
    Span,
    UeModel,
    sas_of,
)
from tests.support.random_worker import GHOST, Gate, Worker

SECONDS = float(os.environ.get("SAD_SOAK_SECONDS") or 600)
SEED = int(os.environ.get("SAD_SOAK_SEED") or 0) or time.time_ns() % 1_000_000

EDGE = ("10.10.0.1", "2001:db8:1::1")
WORKERS = 4
UES_OF_A_WORKER = 25
CYCLE_SECONDS = 14.0
#: For the first part of the time the daemon is killed or restarted in every cycle; then one life
#: goes on to the end, and what it needs is compared between its first and its last third.
KILLING_SHARE = 0.5
#: Descriptors that may come and go: a connection that is being closed.
DESCRIPTORS_SLACK = 3
#: Residence may grow by so much from the first to the last third of the long life.
RSS_GROWTH = 1.10
JOURNAL_BYTES = 8 << 20

_PORTS = ("sport", "dport")

_SETTINGS = f"""
[lifetimes]
reg_await_auth_seconds = {AWAIT_SECONDS}
registration_margin_seconds = {MARGIN_SECONDS}
t1_milliseconds = {T1_MILLISECONDS}
[limits]
offers_per_second = 100000
offers_per_second_per_address = 100000
[kernel]
event_buffer_bytes = 524288
"""


class Soak:
    """One edge, its workers, and whoever disturbs them."""

    def __init__(self, daemon: Daemon, foreign: ForeignHands, workers: list[Worker]) -> None:
        self.daemon = daemon
        self.foreign = foreign
        self.workers = workers
        self.done: Counter[str] = Counter()
        self.random = random.Random(SEED)

    # --- who disturbs ----------------------------------------------------------------------------

    def disturb(self) -> None:
        """Do one random thing that nobody asked for."""
        deeds = [self._foreigner] * 4 + [self._policies] * 3 + [self._sa] * 3
        self.random.choice([*deeds, self._policy_flush, self._state_flush])()

    def kill(self) -> None:
        """SIGKILL at any moment, and a new start."""
        self.done["kills"] += 1
        self.daemon.kill()
        self.daemon.start()

    def restart(self) -> None:
        """Stop in order, and start."""
        self.done["restarts"] += 1
        assert self.daemon.stop() == 0
        self.daemon.start()

    def overrun(self) -> None:
        """Let it miss notices, one of them that of its own SA."""
        self.done["overruns"] += 1
        os.kill(self.daemon.pid, signal.SIGSTOP)
        try:
            before = self.foreign.overruns()
            self.foreign.storm()
            self._sa()
            assert self.foreign.overruns() > before, "the storm was too small"
        finally:
            os.kill(self.daemon.pid, signal.SIGCONT)

    def _foreigner(self) -> None:
        self.foreign.come_and_go()

    def _policies(self) -> None:
        self.done["deletions"] += self.foreign.delete_policies(self.random.choice((1, 3, 50)))

    def _policy_flush(self) -> None:
        self.done["flushes"] += 1
        self.foreign.flush("policy")

    def _ues(self) -> list[tuple[UeModel, Any]]:
        return [(ue, w.locks[ue.number]) for w in self.workers for ue in w.ues]

    def _sa(self) -> None:
        """Delete an SA of a set that nobody is changing: the daemon ends the set."""
        for ue, lock in self.random.sample(self._ues(), WORKERS * UES_OF_A_WORKER):
            if not lock.acquire(blocking=False):
                continue
            try:
                lasting = [] if ue.unsure else ue.lasting(time.monotonic())
                if lasting:
                    chosen = self.random.choice(lasting)
                    self.foreign.delete_sa(*self.random.choice(sorted(chosen.sas)))
                    ue.drop([chosen], time.monotonic(), slow=True)
                    self.done["deletions"] += 1
                    return
            finally:
                lock.release()

    def _state_flush(self) -> None:
        """All SAs: every set that lasts is lost; of calls in the middle nobody knows."""
        self.done["flushes"] += 1
        with contextlib.ExitStack() as held:
            still = []
            for ue, lock in self._ues():
                if lock.acquire(blocking=False):
                    held.callback(lock.release)
                    still.append(ue)
                else:
                    ue.unsure = True
            self.foreign.flush("state")
            for ue in still:
                ue.drop(ue.sets, time.monotonic(), slow=True)

    # --- checkpoints -----------------------------------------------------------------------------

    def differences(self) -> list[str]:
        """Compare kernel, daemon's list and model; every worker must rest."""
        begun = time.monotonic()
        rows = {a["id"]: a for a in self.daemon.associations()}
        span = Span(begun, time.monotonic())
        sas = {(s.destination, s.spi): s for s in eye.states(self.daemon.namespace)}
        policies = eye.policies(self.daemon.namespace)
        # What ends between the two lists may or may not lie in the kernel.
        staying = {a["id"]: a for a in self.daemon.associations()}
        wrong = [f"set {i} came from nowhere" for i in staying if i not in rows]
        by_identity: dict[str, dict[str, Any]] = {}
        for id_, row in rows.items():
            by_identity.setdefault(row["registration"]["privateIdentity"], {})[id_] = row
        for ue, _ in self._ues():
            mine = by_identity.pop(ue.identity, {})
            if not ue.unsure:
                wrong += ue.differences(mine, span)
        ghosts_until = max(w.ghosts_until for w in self.workers) + SLACK_SECONDS
        if any(not i.startswith(GHOST) for i in by_identity) or (
            by_identity and begun > ghosts_until
        ):
            wrong.append(f"sets of nobody: {list(by_identity)}")
        foreign = {(i.destination, i.spi) for i in self.foreign.sas}
        least, most = (
            {sa for row in of.values() for sa in sas_of(row)} | foreign for of in (staying, rows)
        )
        wrong += [f"SA {sa} is missing" for sa in least - set(sas)]
        wrong += [f"SA {sa} is nobody's" for sa in set(sas) - most]
        least_policies, most_policies = (
            policies_of(of.values(), self.foreign) for of in (staying, rows)
        )
        seen, strange = read_policies(policies, {sa.reqid for sa in sas.values()})
        wrong += strange
        wrong += [f"policy {p} is missing" for p in least_policies - seen]
        wrong += [f"policy {p} is nobody's" for p in seen - most_policies]
        return wrong

    def checkpoint(self, gate: Gate) -> tuple[int, int, int]:
        """Hold all, compare until all agree, and measure: RSS (KiB), descriptors, journal."""
        gate.close()
        for worker in self.workers:
            assert worker.idle.wait(PATIENCE), "a worker does not come to rest"
            worker.hear()
            if worker.defect is not None:
                raise worker.defect
        wrong: list[str] = ["not compared"]

        def agree() -> bool:
            wrong[:] = self.differences()
            return not wrong

        try:
            wait_until(agree, "kernel = model")
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *wrong[:20]])) from error
        self._learn()
        measured = self._measure()
        gate.open()
        return measured

    def _learn(self) -> None:
        begun = time.monotonic()
        rows = self.daemon.associations()
        span = Span(begun, time.monotonic())
        for ue, _ in self._ues():
            if ue.unsure:
                self.done["unsure"] += 1
                ue.learn(
                    {
                        r["id"]: r
                        for r in rows
                        if r["registration"]["privateIdentity"] == ue.identity
                    },
                    span,
                )

    def _measure(self) -> tuple[int, int, int]:
        proc = Path(f"/proc/{self.daemon.pid}")
        rss = re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())
        assert rss is not None
        journal = sum(f.stat().st_size for f in (self.daemon.folder / "state").iterdir())
        return int(rss[1]), len(list((proc / "fd").iterdir())), journal


#: Direction, source and port, destination and port, what it does.
SeenPolicy = tuple[str, str, str, str, str, str]


def policies_of(rows: Iterable[dict[str, Any]], foreign: ForeignHands) -> set[SeenPolicy]:
    """Return the policies that sets need (TS 33.203 7.1, INTEROP-1), and the foreigner's."""
    wanted: set[SeenPolicy] = set()
    for row in rows:
        s = row["ipsec3gpp"]
        u, p = s["ueAddress"], s["pcscfAddress"]
        for peer in (str(s["portUc"]), str(s["portUs"])):
            wanted.add(("out", p, "", u, peer, "block"))
            for own in (str(s["portPc"]), str(s["portPs"])):
                wanted.add(("in", u, peer, p, own, "esp"))
                wanted.add(("out", p, own, u, peer, "esp"))
    for kept in foreign.policies.values():
        selector = kept.id.selector
        port = str(selector.destination_port)
        wanted.add(("out", selector.source, "", selector.destination, port, "foreign"))
    return wanted


def read_policies(texts: list[str], reqids: set[int]) -> tuple[set[SeenPolicy], list[str]]:
    """Read what ``ip`` shows; tell of policies that lack an SA, and of missing block policies."""
    seen: set[SeenPolicy] = set()
    wrong: list[str] = []
    standing = 0
    for text in texts:
        if "priority 4000000000" in text:
            standing += 1
            continue
        source, destination = re.findall(r"^src (\S+)/\d+ dst (\S+)/\d+", text)[0]
        (direction,) = re.findall(r"dir (\S+)", text)
        sport, dport = (next(iter(re.findall(rf"{n} (\d+)", text)), "") for n in _PORTS)
        action = "esp"
        if "action block" in text:
            action = "block"
        elif "priority 1000 " in text:
            action = "foreign"
        elif not reqids.intersection(map(int, re.findall(r"reqid (\d+)", text))):
            wrong.append(f"policy without an SA: {text}")
        seen.add((direction, source, sport, destination, dport, action))
    if standing != 2 * 2 * len(EDGE):
        wrong.append(f"{standing} block policies of the endpoint")
    return seen, wrong


@contextlib.contextmanager
def soak(folder: Path, gate: Gate) -> Iterator[Soak]:
    """Build the edge, start the daemon and the workers."""
    with contextlib.ExitStack() as stack:
        namespace = stack.enter_context(Namespace("edge"))
        for address, length in zip(EDGE, (24, 64), strict=True):
            namespace.run(["ip", "addr", "add", f"{address}/{length}", "dev", "lo"])
        endpoint = endpoint_settings("access", EDGE, 5064, "5068-5071")
        daemon = Daemon(namespace, folder / "edge", _SETTINGS + endpoint)
        stack.callback(daemon.stop)
        daemon.start()
        foreign = stack.enter_context(ForeignHands(namespace, SEED))
        workers = []
        for number in range(WORKERS):
            ues = [_ue(number * UES_OF_A_WORKER + i) for i in range(UES_OF_A_WORKER)]
            workers.append(Worker(daemon.socket, ues, gate, SEED + number))
            stack.callback(workers[-1].end)
        stack.callback(gate.open)
        yield Soak(daemon, foreign, workers)


def _ue(number: int) -> UeModel:
    six = number % 3 == 2
    address = f"2001:db8:2:{number:x}::1" if six else f"10.20.{number // 250}.{number % 250 + 1}"
    return UeModel(number, f"ue{number}@ims.example", address, EDGE[six])


def _cycle(run: Soak, until: float, *, killing: bool) -> None:
    """Work and disturb until an instant; one great disturbance in the middle."""
    great: list[Callable[[], None]] = [run.overrun]
    if killing:
        great = [run.kill, run.kill, run.restart, run.overrun]
    middle = time.monotonic() + run.random.random() * (until - time.monotonic()) / 2
    happened = False
    while time.monotonic() < until:
        time.sleep(0.1 + run.random.random() * 0.5)
        run.disturb()
        if not happened and time.monotonic() > middle:
            happened = True
            run.random.choice(great)()


@pytest.mark.timeout(SECONDS * 2 + 600)
def test_soak_random_lives_leave_kernel_and_daemon_as_the_model_says(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    """Design 1, 6, 8: whatever happens, kernel = daemon's list = model, and nothing grows."""
    say(f"random soak: {SECONDS:.0f} s, seed {SEED}")
    gate = Gate()
    started = time.monotonic()
    residence: list[int] = []
    descriptors: list[int] = []
    with soak(tmp_path, gate) as run:
        while not residence or time.monotonic() - started < SECONDS:
            killing = time.monotonic() - started < SECONDS * KILLING_SHARE
            _cycle(run, time.monotonic() + CYCLE_SECONDS, killing=killing)
            rss, opened, journal = run.checkpoint(gate)
            sets = sum(len(ue.sets) for w in run.workers for ue in w.ues)
            say(
                f"{time.monotonic() - started:.0f} s: {_counts(run)}: kernel = model "
                f"({sets} sets), RSS {rss // 1024} MB, {opened} descriptors, "
                f"journal {journal // 1024} KB"
            )
            assert journal < JOURNAL_BYTES
            if not killing:
                residence.append(rss)
                descriptors.append(opened)
    third = max(1, len(residence) // 3)
    first, last = (statistics.median(part) for part in (residence[:third], residence[-third:]))
    actions = sum((w.actions for w in run.workers), Counter[str]())
    say(", ".join(f"{name} {count}" for name, count in sorted(actions.items())))
    say(f"refused: {dict(sum((w.refusals for w in run.workers), Counter[str]()))}")
    say(
        f"{SECONDS:.0f} s: {_counts(run)}: kernel = model, "
        f"RSS {first / 1024:.1f} -> {last / 1024:.1f} MB"
    )
    assert last <= first * RSS_GROWTH
    assert max(descriptors) - min(descriptors) <= DESCRIPTORS_SLACK


def _counts(run: Soak) -> str:
    calls = sum(w.calls for w in run.workers)
    done = run.done
    return (
        f"{calls} calls, {done['kills']} kills, {done['restarts']} restarts, "
        f"{done['deletions']} foreign deletions, {done['flushes']} flushes, "
        f"{done['overruns']} overruns"
    )
