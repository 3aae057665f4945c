"""Phones behind a NAT through real Kamailio, hook and daemon (TS 33.203 Annex M)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.edge.nat import OUTSIDE, PRIVATE, NatBox, nat_box
from tests.edge.raw import RawClient, offer, register
from tests.edge.world import ACCESS_PORT, CORE, EDGE, UE, EdgeWorld, within
from tests.ue import home
from tests.ue.registration import RegistrationRefused
from tests.ue.sip import Request

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIRST_PORTS, LATER_PORTS = range(41000, 41100), range(42000, 42100)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def box(shared_world: EdgeWorld) -> AsyncIterator[NatBox]:
    await shared_world.clean()
    async with nat_box(shared_world, FIRST_PORTS) as built:
        yield built


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_edge_nat_whole_life(world: EdgeWorld, box: NatBox, transport: str) -> None:
    """T33-M-a to -c: register, call both ways, register again, leave, beside one without NAT.

    Two phones are behind the NAT, and one that has none is on the same endpoint.
    """
    alice = await box.phone(1, PRIVATE[0], transport=transport)
    carol = await box.phone(3, PRIVATE[1], transport=transport)
    bob = await world.new_ue(2, transport=transport)
    for ue in (alice, carol, bob):
        await within(ue.register())
    ports = box.nat_ports()
    assert set(ports) == set(PRIVATE)
    assert len({*ports.values()}) == 2
    modes = {a["ipsec3gpp"]["ueAddress"]: a for a in world.daemon.associations()}
    assert modes[PRIVATE[0]]["ipsec3gpp"]["udpEncapsulation"]["peerAddress"] == OUTSIDE

    for caller, callee, number in ((alice, bob, 2), (bob, alice, 1), (carol, alice, 1)):
        call = await within(caller.call(home.public_identity(number)))
        taken = await within(callee.calls.get())
        assert (await within(taken.reinvite())).status == 200
        assert (await within(call.bye())).status == 200

    await within(alice.register())
    await within(alice.message(home.public_identity(2), "on the new set"))
    await within(bob.messages.get())
    await within(bob.message(home.public_identity(1), "on the new set"))
    await within(alice.messages.get())
    for ue in (alice, carol, bob):
        assert (await within(ue.deregister())).status == 200
    await world.gone()
    assert world.scscf.violations == []
    assert [ue.violations for ue in (alice, carol, bob)] == [[], [], []]


async def test_edge_nat_that_forgets_in_mid_registration(world: EdgeWorld, box: NatBox) -> None:
    """T33-M-b: challenged through one port, answered through another, and called there."""
    alice = await box.phone(1, PRIVATE[0])
    bob = await world.new_ue(2)
    await within(bob.register())
    attempt = await within(alice.begin())
    box.forget(LATER_PORTS)
    await within(alice.finish(attempt))
    await box.learnt(PRIVATE[0], LATER_PORTS)
    await within(bob.message(home.public_identity(1), "where are you now?"))
    await within(alice.messages.get())

    box.forget(FIRST_PORTS)
    await within(alice.message(home.public_identity(2), "elsewhere again"))
    await within(bob.messages.get())
    await box.learnt(PRIVATE[0], FIRST_PORTS)
    await within(bob.message(home.public_identity(1), "found"))
    await within(alice.messages.get())


@pytest.mark.parametrize("claimed", [CORE, "172.31.0.9"])
async def test_edge_nat_has_no_address_of_the_network_behind_it(
    world: EdgeWorld, box: NatBox, claimed: str
) -> None:
    """T33-M-c: policies would be made for it, so neither the core's nor one that is not listed."""
    row = offer().replace("mod=trans", "mod=UDP-enc-tun")
    with RawClient(world.ue, (UE[4], 0), (EDGE[4], ACCESS_PORT)) as raw:
        response = await asyncio.to_thread(raw.ask, register(35, (claimed, 5070), client=[row]))

    assert response.status == 403
    assert world.states() == 0


@pytest.mark.parametrize(("named", "status"), [(OUTSIDE, 200), ("10.20.0.99", 403)])
async def test_edge_nat_phone_may_name_what_it_has_learnt(
    world: EdgeWorld, box: NatBox, named: str, status: int
) -> None:
    """T33-7.1-p2, TS 24.229 F.2.1.2.2: inside the tunnel the Via is its own address or the NAT's.

    A phone learns that one from the received parameter of the 401.
    """

    def outside(request: Request, purpose: str) -> Request:
        if purpose != "register-answer":
            return request
        (via,) = request.values("Via")
        return request.with_rows("Via", via.replace(PRIVATE[0], named))

    alice = await box.phone(1, PRIVATE[0], alter=outside)
    if status == 200:
        await within(alice.register())
        return
    with pytest.raises(RegistrationRefused) as refused:
        await within(alice.register())
    assert refused.value.response.status == status


async def test_edge_nat_without_udp_encapsulation_is_refused(
    world: EdgeWorld, box: NatBox
) -> None:
    """T33-M-a, T33-7.3.2.1: transport mode alone does not pass the NAT; 488 says so at once."""
    alice = await box.phone(1, PRIVATE[0], behind_nat=False)
    with pytest.raises(RegistrationRefused) as refused:
        await within(alice.register())

    assert refused.value.response.status == 488
    assert world.states() == 0
