"""Settings that change in the middle of something: the new ones hold for all of it, at once."""

import asyncio
import dataclasses
import errno

import pytest

from netlink.model import DeletePolicy, Policy, PolicyId
from sad.core.desired import endpoint_policies
from sad.model.endpoint import Endpoint
from sad.model.errors import Busy, KernelRefused, NoSuchEndpoint
from sad.model.rules import Limits
from sad.runtime.reloading import Reloading
from tests.support.make import LAYOUT, endpoint, offer_request
from tests.support.shell import USER, Shell, second_request, ue_request, until

MOVED = endpoint(server_port=6064, client_ports=(6068, 6069, 6070, 6071))
SECOND = endpoint(name="second", addresses=("10.10.0.9",))


async def take_over(shell: Shell, *endpoints: Endpoint) -> None:
    """Reload with these endpoints and nothing else changed."""
    new = dataclasses.replace(shell.shared.settings, endpoints={e.name: e for e in endpoints})
    await Reloading(shell.shared, shell.endings, shell.reconciler).take_over(new)


def blocks(*endpoints: Endpoint) -> dict[PolicyId, Policy]:
    return {i: p for e in endpoints for i, p in endpoint_policies(e, LAYOUT).items()}


def standing(shell: Shell) -> dict[PolicyId, Policy]:
    """The endpoints' block policies that lie in the kernel."""
    policies = shell.snapshot[1]
    return {i: p for i, p in policies.items() if p.priority == LAYOUT.block_endpoint_priority}


async def test_a_new_port_is_shut_before_anything_is_installed_on_it() -> None:
    """IPS-8: however long what is not served any more takes to end."""
    shell = Shell()
    await shell.reconciler.reconcile("start")
    for number in range(20):
        await shell.install(ue_request(number))
    taking = asyncio.ensure_future(take_over(shell, MOVED))
    await until(lambda: shell.shared.settings.endpoints["access"] == MOVED)

    await shell.service.offer(USER, offer_request())

    assert blocks(MOVED).keys() <= standing(shell).keys()
    await taking
    assert standing(shell) == blocks(MOVED)


async def test_a_comparison_that_began_before_opens_no_new_port() -> None:
    """IPS-8: block policies that came meanwhile belong to an endpoint that came meanwhile."""
    shell = Shell()
    await shell.reconciler.reconcile("start")
    with shell.kernel_held():
        comparing = asyncio.ensure_future(shell.reconciler.reconcile("schedule"))
        await until(lambda: shell.kernel.waiting > 0)
        taking = asyncio.ensure_future(take_over(shell, endpoint(), SECOND))
        await until(lambda: shell.kernel.waiting > 1)
    await asyncio.gather(comparing, taking)

    assert standing(shell) == blocks(endpoint(), SECOND)
    assert not shell.tables.messages[DeletePolicy]


async def test_an_offer_that_waited_for_its_turn_sees_the_endpoint_as_it_is() -> None:
    """Nothing is installed on ports that no endpoint has any more."""
    shell = Shell(limits=Limits(calls_at_once=1))
    await shell.reconciler.reconcile("start")
    with shell.kernel_held():
        first = asyncio.ensure_future(shell.install())
        await until(lambda: shell.kernel.waiting > 0)
        waiting = asyncio.ensure_future(
            shell.service.offer(USER, offer_request(ue={"port_c": 7001, "port_s": 7000}))
        )
        await asyncio.sleep(0)
        taking = asyncio.ensure_future(take_over(shell, SECOND))
        await until(lambda: shell.kernel.waiting > 1)
    await first
    with pytest.raises(NoSuchEndpoint):
        await waiting
    await taking

    assert len(shell.shared.table) == 0
    assert shell.snapshot == (set(), blocks(SECOND))


async def test_an_offer_that_waited_for_its_registration_sees_the_endpoint_as_it_is() -> None:
    """It comes again, and is decided anew."""
    shell = Shell()
    registration = (await shell.install()).registration
    async with shell.shared.lock(registration):
        request = offer_request(ue={"spi_c": 3001, "spi_s": 3002, "port_c": 6303})
        waiting = asyncio.ensure_future(shell.service.offer(USER, request))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        changed = endpoint(client_ports=(5068, 5069, 5070, 5071, 5072, 5073, 5074, 5075))
        shell.shared.settings = dataclasses.replace(
            shell.shared.settings, endpoints={"access": changed}
        )
    with pytest.raises(Busy, match="just changed"):
        await waiting
    assert request.integrity_key is not None
    assert request.integrity_key.reveal() == bytes(16)


async def test_what_no_endpoint_serves_ends_although_the_kernel_refuses_to_compare() -> None:
    """What was on its way in when the settings changed is not left behind."""
    shell = Shell()
    await shell.reconciler.reconcile("start")
    association = await shell.install()
    async with shell.shared.lock(association.registration):
        late = asyncio.ensure_future(shell.install(second_request()))
        await asyncio.sleep(0)
        shell.kernel.fail_message(1, errno.ENOMEM)  # the first of the new block policies
        taking = asyncio.ensure_future(take_over(shell, SECOND))
        for _ in range(5):
            await asyncio.sleep(0)
    with pytest.raises(KernelRefused):
        await taking
    await asyncio.gather(late, return_exceptions=True)

    assert len(shell.shared.table) == 0
    assert shell.snapshot[0] == set()
    await shell.reconciler.reconcile("the kernel lags behind")
    assert standing(shell) == blocks(SECOND)
