"""How often kernel and journal are compared: who asks together shares, a storm does not own us."""

import asyncio

import pytest

from netlink.model import SadFlushed
from sad.runtime.reconciler import REST_FACTOR, Reconciler
from tests.support.shell import SOMEBODY_ELSES_PORT, Shell


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_asks_while_one_waits_shares_it() -> None:
    """A hundred operators cost two dumps: the one that runs, and one begun after that."""
    shell = Shell()
    shell.kernel.gate.clear()
    first = asyncio.ensure_future(shell.service.reconcile("the first"))
    await settle()
    others = [asyncio.ensure_future(shell.service.reconcile(f"nr {n}")) for n in range(100)]
    await settle()
    assert shell.kernel.dumps == 1

    shell.kernel.gate.set()
    reports = await asyncio.gather(first, *others)

    assert shell.kernel.dumps == 2
    assert [r.reason for r in reports[:2]] == ["the first", "nr 0"]
    assert len({id(r) for r in reports[1:]}) == 1


async def test_who_leaves_stops_nobody_elses_comparison() -> None:
    """The run goes on for those who still wait."""
    shell = Shell()
    shell.kernel.gate.clear()
    leaving = asyncio.ensure_future(shell.service.reconcile("leaving"))
    staying = asyncio.ensure_future(shell.service.reconcile("staying"))
    await settle()
    leaving.cancel()
    shell.kernel.gate.set()

    assert (await staying).reason == "leaving"


async def test_a_slow_comparison_is_followed_by_a_longer_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A storm of notices gets a part of the time, whatever a dump costs."""
    shell = Shell()
    reconciler = Reconciler(shell.shared, shell.endings, pause_seconds=0.0)
    runs: list[float] = []
    rests: list[float] = []
    enough = asyncio.Event()
    real_timeout = asyncio.timeout

    async def slow(_reason: str) -> None:
        runs.append(shell.clock.boottime())
        if len(runs) == 3:
            enough.set()
        shell.clock.advance(2.0)  # what the dump took
        reconciler.notice(SadFlushed(protocol=50, port_id=SOMEBODY_ELSES_PORT), 1)

    def timeout(seconds: float) -> asyncio.Timeout:
        rests.append(seconds)
        return real_timeout(0.001)

    monkeypatch.setattr(reconciler, "reconcile", slow)
    monkeypatch.setattr(asyncio, "timeout", timeout)
    reconciler.request("to begin with")
    running = asyncio.ensure_future(reconciler.run())
    await enough.wait()
    running.cancel()

    assert rests[1:4:2] == [2.0 * REST_FACTOR] * 2
