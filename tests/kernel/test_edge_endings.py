"""Sets that the daemon ends by itself, at a real edge: the SIP side is told."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest

from tests.edge.steps import Interference, message
from tests.edge.world import EDGE, UE, EdgeWorld, within
from tests.support import eye
from tests.support.daemon import wait_until
from tests.ue import home
from tests.ue.ue import Ue

pytestmark = pytest.mark.asyncio(loop_scope="session")

AWAY = "the tables stay as they are"


def association_of(world: EdgeWorld, number: int) -> str:
    """The id of a subscriber's only association."""
    identity = home.private_identity(number)
    (found,) = [
        a["id"]
        for a in world.daemon.associations()
        if a["registration"]["privateIdentity"] == identity
    ]
    return str(found)


def known(world: EdgeWorld, association: str) -> dict[str, str]:
    """What Kamailio's workers share of a set: its four flows, and its registration."""
    tables = world.kamailio.table("sad_flows") | world.kamailio.table("sad_registrations")
    return {key: text for key, text in tables.items() if json.loads(text)[0] == association}


async def forgotten(world: EdgeWorld, association: str) -> float:
    """Wait until the workers share nothing of a set; return for how many seconds."""
    begun = time.monotonic()
    await asyncio.to_thread(
        wait_until, lambda: not known(world, association), "the SIP side was told"
    )
    return time.monotonic() - begun


async def called(world: EdgeWorld, number: int) -> int:
    """What the core gets for a MESSAGE to a subscriber."""
    return (await within(world.scscf.request_to(home.public_identity(number), "MESSAGE"))).status


async def registered(world: EdgeWorld, *numbers: int) -> list[tuple[Ue, str]]:
    """Register subscribers; return their UEs and associations."""
    ues = [await world.new_ue(number) for number in numbers]
    for ue in ues:
        await within(ue.register())
    return [(ue, association_of(world, number)) for ue, number in zip(ues, numbers, strict=True)]


def an_operator(world: EdgeWorld, association: str) -> None:
    """``sadctl release ID``."""
    world.daemon.sadctl("release", association)


def a_foreign_hand(world: EdgeWorld, association: str) -> None:
    """``ip xfrm state delete`` of one SA: the daemon finds the kernel short of it."""
    spi = world.daemon.call("Get", id=association)["association"]["ipsec3gpp"]["spiUs"]
    (sa,) = [sa for sa in eye.states(world.edge) if sa.spi == spi]
    where = ["src", sa.source, "dst", sa.destination, "proto", "esp", "spi", hex(spi)]
    world.edge.run(["ip", "xfrm", "state", "delete", *where])


@pytest.mark.parametrize("end", [an_operator, a_foreign_hand])
async def test_edge_endings_are_told(
    world: EdgeWorld, end: Callable[[EdgeWorld, str], None]
) -> None:
    """Design section 6: a set that is ended by others is unknown to Kamailio in a moment.

    UE             Kamailio                  sad        operator, kernel
     |== set A ======|                        |                |
     |               |                        |<- release A ---|
     |               |<- Monitor: ended A ----|
     |               | tables: nothing of A
     |               |<- MESSAGE of the core
     |               |-- 480, at once ->              (in place of a time-out)
     |               |<- MESSAGE for the other UE
     |               |-- 200 ->
    """
    (_, lost), (_, other) = await registered(world, 81, 82)
    assert len(known(world, lost)) == len(known(world, other)) == 5
    untouched = known(world, other)

    end(world, lost)
    seconds = await forgotten(world, lost)

    assert await called(world, 81) == 480
    assert await called(world, 82) == 200
    assert known(world, other) == untouched
    print(f"{end.__name__}: told within {seconds:.2f} s")


async def test_edge_endings_that_linger(world: EdgeWorld) -> None:
    """T24-D-1: released with a linger, nothing new begins either way; what was begun ends well.

    UE 88          Kamailio                  sad        operator
     |== call of UE 89 ==|                    |            |
     |               |                        |<- release -|    in a minute
     |               |<- changed: retiring ---|
     |-- MESSAGE --->|
     |<- 403 --------|<- MESSAGE of the core
     |               |-- 480 ->
     |-- BYE ------->|-- BYE ->
     |<- 200 --------|<- 200 --
    """
    (ue, leaving), (other, _) = await registered(world, 88, 89)
    call = await within(ue.call(home.public_identity(89)))
    taken = await within(other.calls.get())
    world.daemon.call("Release", id=leaving, wholeRegistration=True, lingerSeconds=60)
    await asyncio.to_thread(
        wait_until, lambda: len(known(world, leaving)) == 4, "its flows are left"
    )

    assert await called(world, 88) == 480
    assert await message(ue) == 403
    assert (await within(taken.reinvite())).status == 200
    assert await called(world, 88) == 480  # the core's request has not brought it back
    assert (await within(call.bye())).status == 200
    assert await called(world, 89) == 200


async def test_edge_endings_while_the_daemon_was_away(world: EdgeWorld) -> None:
    """Design section 8: what has ended meanwhile is found when the daemon lists what lives.

    UE 83, 84      Kamailio                  sad
     |== A, B =======|                        |
     |               |<- changed A: retiring -|    released, one second is left
     |               |                        X    kill -9
     |               | A, B stay, B is called
     |               |                        |    start: A's time is over
     |               |<- present B, ready ----|
     |               | tables: nothing of A
    """
    (_, lost), (other_ue, other) = await registered(world, 83, 84)
    untouched = known(world, other)
    (released,) = world.daemon.call("Release", id=lost, lingerSeconds=1)["associations"]
    said = world.kamailio.words().count(AWAY)
    world.daemon.kill()
    assert await called(world, 84) == 200
    assert await message(other_ue) == 200
    over = released["expiresAt"] / 1e6
    await asyncio.to_thread(
        wait_until,
        lambda: time.time() > over and world.kamailio.words().count(AWAY) > said,
        "its time is over, and Kamailio knows that the daemon is away",
    )
    assert len(known(world, lost)) >= 4  # its flows: who is away changes nothing
    world.daemon.start()

    await forgotten(world, lost)

    assert known(world, other) == untouched
    assert await called(world, 83) == 480
    assert await called(world, 84) == 200


async def test_edge_endings_before_its_confirmation(world: EdgeWorld) -> None:
    """T24-P-7: Confirm of a set that is no more is no call that waits: nothing is known of it.

    UE             Kamailio            sad          core
     |-- REGISTER in A ->|-------------------------->|
     |                   |              |<- release A (an operator)
     |                   |<--------------------- 200 |
     |                   |-- Confirm A ->|
     |                   |<- NoSuchAssociation
     |   X---- 200 ------| tables: nothing of A
     |                   |<- MESSAGE of the core
     |                   |-- 480 ->
    """
    ue = await world.new_ue(85)

    def release() -> None:
        world.daemon.call("Release", id=association_of(world, 85))

    with Interference(world, 2, release), pytest.raises(TimeoutError):
        await within(ue.register(), 2)

    assert world.kamailio.table("sad_flows") == {}
    assert world.kamailio.table("sad_registrations") == {}
    assert world.kamailio.table("sad_waiting") == {}
    assert await called(world, 85) == 480
    await world.drop(ue)
    again = await world.new_ue(85)
    await within(again.register())
    assert await called(world, 85) == 200


async def test_edge_endings_a_phone_with_a_new_address(world: EdgeWorld) -> None:
    """T33-7.5-a: registered from a new address, nothing of the old one is left anywhere.

    UE at 10.20.0.2    UE at 10.20.0.86    Kamailio           sad
     |== set A ===============================|                |
     X (leaves)          |-- REGISTER ------->|-- Offer B ---->|
                         |<- 401 -------------|                |
                         |== REGISTER in B ==>|-- Confirm B -->|
                         |<= 200 =============|<- ended A -----| replaced
                                              | tables: B only
    """
    moved_to = "10.20.0.86"
    world.own_address(moved_to)
    ((before, old), (_, other)) = await registered(world, 86, 87)
    untouched = known(world, other)
    left = {sa.spi for sa in eye.states(world.edge)}
    await world.drop(before)  # without a word

    after = await world.new_ue(86, address=moved_to)
    await within(after.register())
    new = association_of(world, 86)

    assert new != old
    there = {sa.spi: {sa.source, sa.destination} - {EDGE[4]} for sa in eye.states(world.edge)}
    assert sorted(there.values(), key=sorted) == [{UE[4]}] * 4 + [{moved_to}] * 4
    assert len(left & there.keys()) == 4  # the other phone's, at the same address
    await forgotten(world, old)
    assert len(known(world, new)) == 5
    assert known(world, other) == untouched
    assert await message(after) == 200
    assert await called(world, 86) == 200
    assert await called(world, 87) == 200
    world.assert_clean(after)
