"""What a daemon does with thousands of sets at once: played at any size, with what it took."""

import asyncio
import contextlib
import dataclasses
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from netlink.kernel import KernelIpsec
from netlink.model import ObservedSa, PolicyId, SaId
from sad.core.desired import endpoint_policies, policies_of, sas_of
from sad.model.association import Association
from sad.model.rules import Lifetimes
from tests.support import make
from tests.support.daemon import PATIENCE, Daemon, endpoint_settings, wait_until
from tests.support.many_sets import Contents, boottime, contents, fill_journal, lay, sets
from tests.support.namespaces import Namespace
from tests.support.prober import Prober, first_answers

#: net.core.rmem_default is twice this: the kernel doubles what is asked for.
DEFAULT_EVENT_BUFFER: Final = 106_496
#: Seconds of the default backstop, and of one for tests of the kernel's own limits.
BACKSTOP: Final = 15
SHORT_BACKSTOP: Final = 2

_LIMIT_TOLERANCE: Final = 4.0
_ATTEMPTS: Final = 4
_A_MOMENT: Final = 0.5
_OTHER_TAG: Final = 143_956_232
_FIRST_FOREIGN: Final = 1_000_000
_KEPT: Final = 900_000


@contextlib.contextmanager
def edge_daemon(folder: Path, *, backstop: int = BACKSTOP) -> Iterator[Daemon]:
    """Give an edge whose daemon has lived once: its journal and block policies are there."""
    with Namespace("scale") as namespace:
        namespace.run(["ip", "addr", "add", f"{make.EDGE_ADDRESS}/24", "dev", "lo"])
        settings = (
            f"[lifetimes]\nbackstop_seconds = {backstop}\n"
            f"[kernel]\nevent_buffer_bytes = {DEFAULT_EVENT_BUFFER}\n"
            + endpoint_settings("access", (make.EDGE_ADDRESS,), 5064, "5068-5071")
        )
        daemon = Daemon(namespace, folder, settings)
        try:
            daemon.start().kill()
            yield daemon
        finally:
            daemon.stop()


def peak_megabytes(daemon: Daemon) -> float:
    """Return the most memory that a daemon has had resident."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


# --- a start among stale sets --------------------------------------------------------------------


def ids_of(associations: Sequence[Association]) -> tuple[set[SaId], set[PolicyId]]:
    """Return what must lie in the kernel for sets, each of a registration of its own."""
    lifetimes = Lifetimes()
    wanted = set(endpoint_policies(make.endpoint(addresses=(make.EDGE_ADDRESS,)), make.LAYOUT))
    for a in associations:
        wanted.update(policies_of((a,), make.LAYOUT, lifetimes))
    sas = {n.sa.id for a in associations for n in sas_of(a, make.LAYOUT, lifetimes, 0.0)}
    return sas, wanted


def ids_in(found: Contents) -> tuple[set[SaId], set[PolicyId]]:
    """Return what of ours lies in the kernel."""
    return {sa.id for sa in found.sas}, {policy.id for policy in found.policies}


def _limit(sa: ObservedSa) -> int:
    return sa.current.add_time + sa.hard_add_seconds


async def start_among_stale_sets(folder: Path, count: int, foreign: int) -> str:
    """Start on a kernel with ``count`` sets of ours, half of them in the journal, and foreign SAs.

    Fails unless the known ones are adopted with their deadlines, the unknown ones gone, and all
    else as it was to the byte. Returns what it took.
    """
    with edge_daemon(folder) as daemon:
        deadline = boottime() + 900
        known = sets(count // 2, deadline_at=deadline)
        unknown = sets(count - count // 2, deadline_at=deadline, first=count // 2)
        strangers = sets(foreign // 4, deadline_at=deadline, first=_FIRST_FOREIGN)
        untagged, tagged = strangers[::2], strangers[1::2]
        begun = time.monotonic()
        await lay(daemon.namespace, [*known, *unknown])
        await lay(daemon.namespace, untagged, owner=0)
        await lay(daemon.namespace, tagged, owner=_OTHER_TAG)
        await fill_journal(daemon.folder / "state", known)
        before = await contents(daemon.namespace)
        laid = time.monotonic()
        assert len(before.sas) == 4 * count

        daemon.spawn()
        said = first_answers(daemon)
        ready = time.monotonic()

        after = await contents(daemon.namespace)
        assert after.foreign == before.foreign
        assert len(before.foreign) == 14 * len(strangers)
        assert "starting" in said["states"], "nobody was answered during the start"
        assert set(said["refusals"]) == {"Busy"}
        assert ids_in(after) == ids_of(known)
        wanted_end = time.time() + deadline - boottime() + BACKSTOP
        assert max(abs(_limit(sa) - wanted_end) for sa in after.sas) < _LIMIT_TOLERANCE
        lived = {a["id"]: a["expiresAt"] / 1e6 for a in daemon.associations()}
        wanted = time.time() + deadline - boottime()
        assert lived.keys() == {a.id for a in known}
        assert max(abs(at - wanted) for at in lived.values()) < 1
        return (
            f"{4 * count} SAs of ours, {4 * len(strangers)} foreign, laid in "
            f"{laid - begun:.1f} s: ready in {ready - laid:.1f} s, {len(said['states'])} answers "
            f"meanwhile, peak {peak_megabytes(daemon):.0f} MB"
        )


# --- all expire at once --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Crowd:
    """Sets that end at one instant, one that lives on, and the daemon that has adopted them."""

    daemon: Daemon
    leaving: list[Association]
    kept: Association
    deadline: float


@contextlib.asynccontextmanager
async def crowd_at_its_end(
    folder: Path, count: int, seconds: float, *, backstop: int = BACKSTOP
) -> AsyncIterator[Crowd]:
    """Give a daemon that has adopted ``count`` sets that all end in so many seconds.

    ``seconds`` are an idle machine's for laying, start and a moment more; a slower one gets more.
    """
    lifetimes = Lifetimes(backstop=float(backstop))
    with edge_daemon(folder, backstop=backstop) as daemon:
        (kept,) = sets(1, deadline_at=boottime() + 3600, first=_KEPT)
        await lay(daemon.namespace, [kept], lifetimes=lifetimes)
        await fill_journal(daemon.folder / "state", [kept])
        for attempt in range(_ATTEMPTS):
            deadline = boottime() + seconds * 2**attempt
            leaving = sets(count, deadline_at=deadline, first=count * attempt)
            await lay(daemon.namespace, leaving, lifetimes=lifetimes)
            await fill_journal(daemon.folder / "state", leaving)
            daemon.start()
            if boottime() < deadline - _A_MOMENT:
                yield Crowd(daemon, leaving, kept, deadline)
                return
            daemon.kill()  # they ended before the start did
    raise AssertionError("no time was enough for the start")


class Counter:
    """How many SAs lie in a kernel, without a dump."""

    def __init__(self, kernel: KernelIpsec) -> None:
        self._kernel = kernel

    @classmethod
    async def open(cls, namespace: Namespace) -> Self:
        with namespace.enter():
            return cls(await KernelIpsec.open())

    async def sas(self) -> int:
        return (await self._kernel.count()).sas

    async def wait_for(self, number: int) -> None:
        """Wait until there are no more than so many."""
        end = time.monotonic() + PATIENCE
        while await self.sas() > number:
            assert time.monotonic() < end, "SAs are left in the kernel"
            await asyncio.sleep(0.02)

    def close(self) -> None:
        self._kernel.close()


async def _wait_until_ended(daemon: Daemon) -> None:
    """Wait until of all that was confirmed one association is left."""
    end = time.monotonic() + PATIENCE
    while _confirmed(daemon) > 1:
        assert time.monotonic() < end, daemon.words()[-2000:]
        await asyncio.sleep(0.1)


def _confirmed(daemon: Daemon) -> int:
    counts = {c["state"]: c["count"] for c in daemon.status()["associations"]}
    return int(counts.get("established", 0))


async def _assert_ended_whole(crowd: Crowd) -> None:
    """Nothing is left of those that end, all is left of the one that lives, and it is told so."""
    after = ids_in(await contents(crowd.daemon.namespace))
    (sas, policies), (kept_sas, kept_policies) = ids_of(crowd.leaving), ids_of([crowd.kept])
    assert not after[0] & sas
    assert not after[1] & (policies - kept_policies)
    assert after[0] >= kept_sas
    assert after[1] >= kept_policies
    assert crowd.daemon.call("Get", id=crowd.kept.id)["association"]["state"] == "established"
    told = re.findall(r"association (\S+) ended: (\S+)", crowd.daemon.words())
    ids = {a.id for a in crowd.leaving}
    assert sorted(t for t in told if t[0] in ids) == sorted((i, "expired") for i in ids)
    assert crowd.kept.id not in dict(told)


async def expire_at_once(folder: Path, count: int, seconds: float) -> tuple[str, float]:
    """Let ``count`` sets end at one instant while a SIP server goes on asking.

    Fails if one of them ends early or is left, or if one that lives longer is touched. Returns
    what it took, and the longest wait of the SIP server in seconds.
    """
    async with crowd_at_its_end(folder, count, seconds) as crowd:
        daemon = crowd.daemon
        known = daemon.call("Get", id=crowd.kept.id)["association"]
        counter = await Counter.open(daemon.namespace)
        while (left := crowd.deadline - boottime()) > 0.02:
            there = await counter.sas()
            assert boottime() >= crowd.deadline or there == 4 * (count + 1), "one ended early"
            await asyncio.sleep(min(0.1, left / 2))
        counter.close()
        prober = Prober(daemon, known)
        try:
            await _wait_until_ended(daemon)
            took = boottime() - crowd.deadline
        finally:
            prober.stop()
        assert prober.failures == []
        await _assert_ended_whole(crowd)
        return (
            f"{4 * count} SAs ended within {took:.1f} s of their deadline; {prober.words()}; "
            f"peak {peak_megabytes(daemon):.0f} MB"
        ), prober.longest


# --- a daemon that hangs meanwhile ---------------------------------------------------------------


async def hang_through_deadline(folder: Path, count: int, seconds: float) -> str:
    """Stop the daemon's process before ``count`` sets end, and let it go on when they are gone.

    The kernel has ended them by its own limits, and more notices than there was room for are
    lost. Fails as :func:`expire_at_once`. Returns what it took.
    """
    async with crowd_at_its_end(folder, count, seconds, backstop=SHORT_BACKSTOP) as crowd:
        daemon = crowd.daemon
        counter = await Counter.open(daemon.namespace)
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            await counter.wait_for(4)
            gone = boottime()
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
            counter.close()
        assert gone > crowd.deadline + SHORT_BACKSTOP - 1
        resumed = time.monotonic()
        await _wait_until_ended(daemon)
        took = time.monotonic() - resumed
        wait_until(lambda: "reconcile (notices were lost)" in daemon.words(), "a comparison")
        await _assert_ended_whole(crowd)
        return (
            f"the kernel ended {4 * count} SAs {gone - crowd.deadline:.1f} s after their deadline "
            f"(limit: {SHORT_BACKSTOP} s); the daemon had the rest {took:.1f} s after it went on"
        )
