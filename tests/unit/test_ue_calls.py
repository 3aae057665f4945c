"""Calls and messages between UEs through the S-CSCF, on the loopback address, without IPsec."""

from typing import Any

import pytest

from tests.support.ue_world import within, world
from tests.ue import home
from tests.ue.calls import CallRefused
from tests.ue.transaction import Timers, TransactionTimeout

LOOPBACK = pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
TRANSPORTS = pytest.mark.parametrize("transport", ["UDP", "TCP"])


@TRANSPORTS
@LOOPBACK
async def test_call_with_reinvite_and_bye_from_either_side(address: str, transport: str) -> None:
    """INVITE, 180, 200, ACK, re-INVITE both ways, BYE by the callee, then by the caller."""
    async with world(address) as here:
        caller, callee = (
            await here.ue(1, transport=transport),
            await here.ue(2, transport=transport),
        )
        await caller.register()
        await callee.register()
        for hang_up_first in ("callee", "caller"):
            placed = await within(10, caller.call(home.public_identity(2)))
            taken = await within(10, callee.calls.get())
            assert (await within(10, placed.reinvite())).status == 200
            assert (await within(10, taken.reinvite())).status == 200
            assert (placed.reinvited, taken.reinvited) == (1, 1)
            first, other = (taken, placed) if hang_up_first == "callee" else (placed, taken)
            assert (await within(10, first.bye())).status == 200
            await within(10, other.ended.wait())
        here.assert_clean()


@pytest.mark.parametrize(("one", "other"), [("UDP", "UDP"), ("TCP", "TCP"), ("UDP", "TCP")])
async def test_messages_both_ways(one: str, other: str) -> None:
    """MESSAGE reaches the other UE whole, in both directions and between transports."""
    async with world() as here:
        first, second = await here.ue(1, transport=one), await here.ue(2, transport=other)
        await first.register()
        await second.register()
        for sender, receiver, number in ((first, second, 2), (second, first, 1)):
            text = f"to {number} " + "x" * 2000
            response = await within(10, sender.message(home.public_identity(number), text))
            assert response.status == 200
            assert (await within(10, receiver.messages.get())).body == text.encode()
        here.assert_clean()


async def test_callee_registered_by_tcp_is_reached_by_udp_if_its_contact_says_so() -> None:
    """INTEROP-1: the transport of the delivery is the Contact's, not the registration's."""
    async with world() as here:
        sender = await here.ue(1)
        receiver = await here.ue(2, transport="TCP", delivery="UDP")
        await sender.register()
        await receiver.register()
        assert (await within(10, sender.message(home.public_identity(2), "hi"))).status == 200
        via = (await within(10, receiver.messages.get())).vias[0]
        assert via.transport == "UDP"
        here.assert_clean()


async def test_refused_unknown_and_absent_callees() -> None:
    """486 of the callee, 404 of the core, 480 for a user that is not registered."""
    async with world() as here:
        caller, callee = await here.ue(1), await here.ue(2, answer=lambda _: 486)
        await caller.register()
        await callee.register()
        for target, status in (
            (home.public_identity(2), 486),
            (home.public_identity(3), 480),
            (f"sip:nobody@{home.DOMAIN}", 404),
        ):
            with pytest.raises(CallRefused) as caught:
                await within(10, caller.call(target))
            assert caught.value.response.status == status
        here.assert_clean()


@TRANSPORTS
async def test_network_sends_a_request_of_its_own(transport: str) -> None:
    """The core's OPTIONS follows the binding to the UE and is answered."""
    async with world() as here:
        ue = await here.ue(1, transport=transport)
        await ue.register()
        response = await within(10, here.scscf.request_to(home.public_identity(1), "OPTIONS"))
        assert response.status == 200
        assert "INVITE" in response.one("Allow")
        here.assert_clean()


async def test_lost_datagrams_are_sent_again() -> None:
    """RFC 3261 17: the first datagram of every transaction is lost, the call stands anyway."""
    async with world() as here:
        caller, callee = await here.ue(1), await here.ue(2)
        await caller.register()
        await callee.register()
        seen: set[bytes] = set()
        for node in (caller, callee, here.scscf):
            keep = node.received

            def lossy(data: bytes, flow: Any, hop: Any, *, keep: Any = keep) -> None:
                key = bytes(flow.local.host + str(flow.local.port), "ascii") + data
                if key in seen:
                    keep(data, flow, hop)
                seen.add(key)

            node.received = lossy  # type: ignore[method-assign]  # a lossy network
        placed = await within(20, caller.call(home.public_identity(2)))
        taken = await within(20, callee.calls.get())
        assert (await within(20, placed.bye())).status == 200
        await within(20, taken.ended.wait())
        here.assert_clean()


async def test_silence_is_a_timeout() -> None:
    """RFC 3261 17.1.2.2 timer F: no answer in 64*T1 is an error, not a wait for ever."""
    async with world() as here:
        ue = await here.ue(1, timers=Timers(t1=0.002))
        here.scscf.received = lambda *_: None  # type: ignore[method-assign]
        with pytest.raises(TransactionTimeout):
            await within(10, ue.register())


async def test_message_from_a_stranger_is_dropped_and_noted() -> None:
    """T33-7.1-p4 seen from the UE: what comes from elsewhere than its P-CSCF is no message."""
    async with world() as here:
        ue = await here.ue(1)
        await ue.register()
        stranger = await here.ue(2)
        assert ue.unprotected is not None
        request = ue.new_request("MESSAGE", home.public_identity(1))
        via = f"SIP/2.0/UDP {here.scscf.local};branch=z9hG4bKstranger"
        data = request.prepend("Via", via).encode()
        assert stranger.unprotected is not None
        stranger.unprotected.datagrams().port.send_to(data, ue.unprotected.local_server)
        await within(10, ue.violated.wait())
        assert "no SA set explains" in ue.violations[0]
        assert ue.messages.empty()
