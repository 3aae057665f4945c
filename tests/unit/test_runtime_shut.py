"""Block policies of endpoints that somebody took away: back at once, before any comparison."""

import asyncio
import errno

import pytest

from netlink.model import DeletePolicy, KernelEvent, Overrun, Policy, PolicyAction, PolicyId
from sad.model.views import DaemonState
from tests.support.shell import SOMEBODY_ELSES_PORT, Shell, until


def listening() -> Shell:
    """A daemon that hears the kernel's notices, and whose reconciler never gets its turn."""
    shell = Shell()
    for policy in shell.shared.standing_policies().values():
        shell.tables._put_policy(policy, shell.kernel.port_id)

    def deliver(event: KernelEvent) -> None:
        shell.reconciler.notice(event, shell.kernel.port_id)

    shell.tables.subscribe(deliver)
    return shell


def standing(shell: Shell) -> dict[PolicyId, Policy]:
    return {i: stored.policy for i, stored in shell.tables.policies.items()}


async def test_flushed_block_policies_come_back_without_a_dump() -> None:
    """IPS-8: neither a dump nor the pause between two of them keeps the ports open."""
    shell = listening()
    before = standing(shell)
    for _ in range(3):
        shell.tables.flush_policies(SOMEBODY_ELSES_PORT)
        assert not standing(shell)
        await until(lambda: standing(shell) == before)
    await shell.shared.background.drain()
    assert shell.kernel.dumps == 0


async def test_a_deleted_block_policy_comes_back_without_a_dump() -> None:
    """IPS-8: one is enough to open a port; those that stand are not touched."""
    shell = listening()
    before = standing(shell)
    gone = next(iter(before))
    kept = {i: stored for i, stored in shell.tables.policies.items() if i != gone}
    shell.tables.apply(DeletePolicy(gone), SOMEBODY_ELSES_PORT)
    await until(lambda: standing(shell) == before)
    assert all(shell.tables.policies[i] is stored for i, stored in kept.items())
    assert shell.kernel.dumps == 0


async def test_lost_notices_may_have_been_a_flush() -> None:
    """Notices are hints (design 6): the ports are shut before the dump says what is true."""
    shell = listening()
    before = standing(shell)
    shell.tables.policies.clear()  # without a notice
    shell.tables.overrun()
    await until(lambda: standing(shell) == before)
    assert shell.kernel.dumps == 0


async def test_a_flush_during_the_repair_is_repaired_too() -> None:
    """The last flush decides, however many come together."""
    shell = listening()
    before = standing(shell)
    with shell.kernel_held():
        shell.tables.flush_policies(SOMEBODY_ELSES_PORT)
        await until(lambda: shell.kernel.waiting == 1)
    shell.tables.flush_policies(SOMEBODY_ELSES_PORT)
    await until(lambda: standing(shell) == before)
    await shell.shared.background.drain()
    assert standing(shell) == before


async def test_a_policy_of_a_registration_is_left_to_the_comparison() -> None:
    """Below it the endpoint's block policy stands: nothing is open, nothing is urgent."""
    shell = listening()
    await shell.install()
    allowed = next(i for i, p in standing(shell).items() if p.action is PolicyAction.ALLOW)
    shell.tables.apply(DeletePolicy(allowed), SOMEBODY_ELSES_PORT)
    for _ in range(20):
        await asyncio.sleep(0)
    assert shell.reconciler._wake.is_set()  # it was heard
    assert allowed not in standing(shell)


@pytest.mark.parametrize("errno_", [errno.ENOMEM, errno.EPERM])
async def test_a_refusing_kernel_is_told_and_asked_again(errno_: int) -> None:
    """No silent failure: the status names it, and the next notice finds the daemon ready."""
    shell = listening()
    before = standing(shell)
    shell.kernel.fail_message(1, errno_)
    shell.tables.flush_policies(SOMEBODY_ELSES_PORT)
    await until(lambda: shell.shared.problem is not None)
    shell.tables.flush_policies(SOMEBODY_ELSES_PORT)
    await until(lambda: standing(shell) == before)


async def test_a_daemon_that_stops_puts_nothing_back() -> None:
    """With stop = "remove" they are lifted: a foreign flush is then no reason."""
    shell = listening()
    shell.shared.daemon_state = DaemonState.STOPPING
    shell.reconciler.notice(Overrun(), shell.kernel.port_id)
    assert len(shell.shared.background) == 0
