"""What a foreign hand takes from a registration in the middle of its change comes back after."""

import asyncio

import pytest

from netlink.model import DeletePolicy, DeleteSa, KernelEvent
from tests.support.shell import SOMEBODY_ELSES_PORT, USER, Shell, grant_of, second_request, until


def listening() -> Shell:
    """A daemon that hears the kernel's notices."""
    shell = Shell()
    for policy in shell.shared.standing_policies().values():
        shell.tables._put_policy(policy, shell.kernel.port_id)

    def deliver(event: KernelEvent) -> None:
        shell.reconciler.notice(event, shell.kernel.port_id)

    shell.tables.subscribe(deliver)
    return shell


async def under_change(shell: Shell, theft: str) -> None:
    """Compare, once, in the middle of an installation whose objects somebody takes away."""
    arrived = asyncio.Event()
    finish = asyncio.Event()
    record = shell.journal.record

    async def slow(writes: object) -> None:
        # The second record of an install is its result: the kernel has everything by then.
        await record(writes)  # type: ignore[arg-type]  # passed on
        if shell.tables.sas and not arrived.is_set():
            arrived.set()
            await finish.wait()

    shell.journal.record = slow  # type: ignore[method-assign]  # a slow disk
    installing = asyncio.ensure_future(shell.install())
    await arrived.wait()
    if theft == "policies":
        shell.tables.flush_policies(SOMEBODY_ELSES_PORT)
    elif theft == "SAs":
        shell.tables.flush_sas(SOMEBODY_ELSES_PORT)
    else:
        shell.tables.apply(DeleteSa(next(iter(shell.tables.sas))), SOMEBODY_ELSES_PORT)
    await shell.reconciler.reconcile("a test")
    finish.set()
    await installing


async def test_flushed_policies_come_back_after_the_change() -> None:
    """Design 1: drift is mended soon, not at the next round of the schedule."""
    untouched = Shell()
    await untouched.install()
    shell = listening()
    await under_change(shell, "policies")
    await shell.shared.background.drain()
    assert len(shell.tables.policies) == len(shell.shared.standing_policies()) + len(
        untouched.tables.policies
    )


@pytest.mark.parametrize("theft", ["SAs", "one SA"])
async def test_a_set_that_lost_an_sa_during_its_installation_ends(theft: str) -> None:
    """Design 6: the kernel lost it."""
    shell = listening()
    standing = shell.snapshot
    await under_change(shell, theft)
    await until(lambda: not shell.journal.rows)
    await shell.shared.background.drain()
    assert shell.snapshot == standing


async def test_a_change_of_a_whole_registration_is_left_as_it_is() -> None:
    """T24-P-9: looking again afterwards turns nothing back and ends nothing."""
    shell = listening()
    await shell.install()
    second = await shell.install(second_request())
    with shell.kernel_held():
        confirm = asyncio.ensure_future(shell.service.confirm(USER, grant_of(second.id, 600)))
        await until(lambda: shell.kernel.waiting == 1)
        compare = asyncio.ensure_future(shell.reconciler.reconcile("a test"))
        await until(lambda: shell.kernel.waiting == 2)
    await asyncio.gather(confirm, compare)
    before = shell.snapshot
    await shell.shared.background.drain()
    assert shell.snapshot == before
    assert len(shell.shared.table) == 2


async def test_a_policy_taken_during_a_confirmation_comes_back() -> None:
    """A confirmation holds the registration: its policies are judged when it is over."""
    shell = listening()
    installed = await shell.install()
    before = shell.snapshot
    async with shell.shared.lock(installed.registration):
        taken = next(i for i in shell.tables.policies if i not in shell.shared.standing_policies())
        shell.tables.apply(DeletePolicy(taken), SOMEBODY_ELSES_PORT)
        await shell.reconciler.reconcile("a test")
        assert shell.snapshot != before
    await shell.shared.background.drain()
    assert shell.snapshot == before
