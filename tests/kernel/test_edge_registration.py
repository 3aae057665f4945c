"""Registrations through real Kamailio, hook and daemon: the way of design section 3."""

import asyncio

import pytest

from tests.edge.world import BLOCK_POLICIES, EdgeWorld, within
from tests.support import eye
from tests.support.daemon import wait_until
from tests.ue import home
from tests.ue.agent import Trace
from tests.ue.transaction import Timers

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODES = pytest.mark.parametrize(
    ("version", "transport"), [(4, "UDP"), (4, "TCP"), (6, "UDP"), (6, "TCP")]
)


def states_of(world: EdgeWorld, number: int) -> list[str]:
    """States of a subscriber's associations, as the daemon lists them."""
    identity = home.private_identity(number)
    return sorted(
        a["state"]
        for a in world.daemon.associations()
        if a["registration"]["privateIdentity"] == identity
    )


@MODES
async def test_edge_registration_whole_life(
    world: EdgeWorld, version: int, transport: str
) -> None:
    """T24-UE-1 to -6, T24-P-1 to -9, T24-D-1: register, call, register again, leave, all in ESP.

    The kernel holds 4 SAs a set, both sets side by side after the re-registration, and nothing at
    the end; neither UE nor S-CSCF sees anything that the standards forbid.
    """
    alice = await world.new_ue(1, version=version, transport=transport)
    bob = await world.new_ue(2, version=4, transport="UDP")
    world.scscf.registrar.seen.clear()
    await within(alice.register())
    assert world.states() == 4
    assert states_of(world, 1) == ["inUse"]
    assert [s.integrity_protected for s in world.scscf.registrar.seen] == ["no", "yes"]
    await within(bob.register())

    call = await within(alice.call(home.public_identity(2)))
    taken = await within(bob.calls.get())
    assert (await within(taken.reinvite())).status == 200
    assert (await within(call.reinvite())).status == 200
    assert (await within(call.bye())).status == 200
    back = await within(bob.call(home.public_identity(1)))
    heard = await within(alice.calls.get())
    assert (await within(heard.bye())).status == 200
    await within(back.ended.wait())
    for sender, receiver in ((alice, bob), (bob, alice)):
        answer = await within(sender.message(receiver.config.public_identity, "a text"))
        assert answer.status == 200
        got = await within(receiver.messages.get())
        assert got.get("P-Asserted-Identity") == f"<{sender.config.public_identity}>"
        assert got.get("P-Preferred-Identity") is None

    await within(alice.register())
    assert world.states() == 12
    assert states_of(world, 1) == ["established", "inUse"]
    # T24-P-9: what the network sends still goes on the old set.
    await within(bob.message(home.public_identity(1), "on the old set"))
    await within(alice.messages.get())
    assert states_of(world, 1) == ["established", "inUse"]
    await within(alice.message(home.public_identity(2), "on the new set"))
    await within(bob.messages.get())
    assert states_of(world, 1) == ["inUse", "retiring"]
    await within(bob.message(home.public_identity(1), "on the new set"))
    await within(alice.messages.get())
    await asyncio.to_thread(wait_until, lambda: world.states() == 8, "64*T1 end the old set")

    for ue in (alice, bob):
        assert (await within(ue.deregister())).status == 200
    await world.gone()
    assert world.policies() == BLOCK_POLICIES
    world.assert_clean(alice, bob)


async def test_edge_registration_refresh_without_challenge(world: EdgeWorld) -> None:
    """T24-P-11, T24-UE-6: a 200 without a challenge lengthens and makes no set."""
    ue = await world.new_ue(3)
    world.scscf.registrar.settings.granted = 600
    await within(ue.register())
    (before,) = world.daemon.associations()
    world.scscf.registrar.settings.challenge_refresh = False
    world.scscf.registrar.settings.granted = 3600
    try:
        await within(ue.register())
        (after,) = world.daemon.associations()
        assert after["id"] == before["id"]
        assert after["secondsLeft"] > 3600 > before["secondsLeft"]
        assert world.states() == 4
    finally:
        world.scscf.registrar.settings.challenge_refresh = True
        world.scscf.registrar.settings.granted = 600_000
    await within(ue.deregister())
    await world.gone()
    world.assert_clean(ue)


async def test_edge_registration_ended_by_the_network(world: EdgeWorld) -> None:
    """T24-D-3: a NOTIFY of the reg event that ends all contacts ends the sets after its answer."""
    ue = await world.new_ue(4, timers=Timers(t1=0.05))
    await within(ue.register())
    assert (await within(ue.subscribe())).status == 200
    await within(ue.messages.get())
    await within(world.scscf.deregister(home.private_identity(4)))
    await within(ue.deregistered.wait())
    await world.gone()
    world.assert_clean(ue)


async def test_edge_registration_sets_stand_before_the_challenge_leaves(world: EdgeWorld) -> None:
    """INTEROP-2: at the instant a UE receives the 401 its four SAs are in the edge's kernel.

    The count is taken inside the callback of the received packet, before anything else happens;
    the answer to the challenge leaves within the same turn and is never lost.
    """
    counts: list[int] = []

    def on_trace(trace: Trace) -> None:
        if trace.kind == "received" and trace.raw.startswith(b"SIP/2.0 401"):
            counts.append(len(eye.states(world.edge)))

    ue = await world.new_ue(5, on_trace=on_trace)
    for _ in range(2):
        await within(ue.register())
        await within(ue.deregister())
        await world.gone()
    assert counts[0::2] == [4] * 2
    assert [s.status for s in world.scscf.registrar.seen] == [401, 200] * 4  # nothing twice
    world.assert_clean(ue)
