"""A UE behind a P-CSCF with sec-agree: protected ports, flows and sets, on the loopback address.

The kernel's part is left out (the ports are real, ESP is not); it has its own test in the
kernel lane.
"""

import pytest

from tests.support.ue_world import within, world
from tests.ue import home
from tests.ue.agent import Trace
from tests.ue.pcscf import Pcscf
from tests.ue.registrar import RegistrarSettings
from tests.ue.sip import Request, parse
from tests.ue.ue import Ue

LOOPBACK = pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
TRANSPORTS = pytest.mark.parametrize("transport", ["UDP", "TCP"])


def requests_of(ue: Ue) -> list[tuple[Trace, Request]]:
    """Collect the REGISTERs that ``ue`` sends from now on."""
    found: list[tuple[Trace, Request]] = []

    def note(trace: Trace) -> None:
        if trace.kind == "sent" and trace.text.startswith("REGISTER"):
            message = parse(trace.raw, stream=False)
            assert isinstance(message, Request)
            found.append((trace, message))

    ue.on_trace = note
    return found


@LOOPBACK
async def test_register_over_udp_uses_the_four_ports(address: str) -> None:
    """T33-7.1-d, T24-UE-2, T24-UE-3: u.c -> p.s out, p.c -> u.s back, Via and Contact name u.s."""
    async with world(address, RegistrarSettings(require_protection=True), pcscf=Pcscf) as here:
        ue = await here.ue(1)
        traces: list[Trace] = []
        ue.on_trace = traces.append
        await ue.register()
        flows = [(t.kind, t.flow) for t in traces if t.flow is not None]
        s = ue.channel().sa_set
        assert s is not None
        assert len({s.port_uc, s.port_us, s.port_pc, s.port_ps}) == 4
        _, _, (_, out), (_, back) = flows
        assert out is not None
        assert back is not None
        assert (out.local.port, out.remote.port) == (s.port_uc, s.port_ps)
        assert (back.local.port, back.remote.port) == (s.port_us, s.port_pc)
        answer = parse(next(t.raw for t in reversed(traces) if t.kind == "sent"), stream=False)
        assert (answer.vias[0].port, answer.addresses("Contact")[0].uri.port) == (s.port_us,) * 2
        here.assert_clean()


@TRANSPORTS
async def test_protected_register_repeats_what_was_agreed(transport: str) -> None:
    """T24-UE-2, T33-H-g: same Call-ID, same Security-Client, Verify mirrors Security-Server."""
    async with world(pcscf=Pcscf) as here:
        ue = await here.ue(1, transport=transport, algorithms=(("hmac-sha-1-96", "null"),) * 1)
        found = requests_of(ue)
        await ue.register()
        (_, first), (_, second) = found
        assert first.get("Security-Verify") is None
        assert first.call_id == second.call_id
        assert first.one("Security-Client") == second.one("Security-Client")
        assert here.pcscf is not None
        assert second.one("Security-Verify") == here.pcscf.sets[0].security_server
        for request in (first, second):
            assert request.options("Require") == request.options("Proxy-Require") == ["sec-agree"]
        assert [s.integrity_protected for s in here.scscf.registrar.seen] == ["no", "yes"]
        here.assert_clean()


@pytest.mark.parametrize(
    ("transport", "delivery"), [("UDP", "UDP"), ("TCP", "TCP"), ("TCP", "UDP"), ("UDP", "TCP")]
)
@LOOPBACK
async def test_calls_and_messages_both_ways(address: str, transport: str, delivery: str) -> None:
    """INVITE, re-INVITE, BYE and MESSAGE pass in both directions through both P-CSCF legs."""
    async with world(address, pcscf=Pcscf) as here:
        settings = {"transport": transport, "delivery": delivery}
        first, second = await here.ue(1, **settings), await here.ue(2, **settings)
        await first.register()
        await second.register()
        for caller, callee, number in ((first, second, 2), (second, first, 1)):
            target = home.public_identity(number)
            placed = await within(10, caller.call(target))
            taken = await within(10, callee.calls.get())
            assert (await within(10, taken.reinvite())).status == 200
            assert (await within(10, placed.reinvite())).status == 200
            assert (await within(10, taken.bye())).status == 200
            await within(10, placed.ended.wait())
            assert (await within(10, caller.message(target, "good day"))).status == 200
            assert (await within(10, callee.messages.get())).body == b"good day"
        here.assert_clean()


async def test_pcscf_opens_its_own_connection_to_port_us() -> None:
    """T33-7.1-d: TCP from the P-CSCF goes p.c -> u.s and is answered on that connection."""
    async with world(pcscf=Pcscf) as here:
        sender, receiver = await here.ue(1), await here.ue(2, transport="TCP")
        await sender.register()
        await receiver.register()
        traces: list[Trace] = []
        receiver.on_trace = traces.append
        await within(10, sender.message(home.public_identity(2), "hi"))
        s = receiver.channel().sa_set
        assert s is not None
        got, answered = (t.flow for t in traces if t.flow is not None)
        assert got == answered
        assert got is not None
        assert (got.local.port, got.remote.port) == (s.port_us, s.port_pc)
        here.assert_clean()


@TRANSPORTS
async def test_reregistration_keeps_both_sets_until_the_new_one_is_used(transport: str) -> None:
    """T24-UE-5, T33-7.1-g: new SPIs and client ports, same server ports; then the old set goes."""
    async with world(pcscf=Pcscf) as here:
        ue = await here.ue(1, transport=transport)
        await ue.register()
        old = ue.channel().sa_set
        found = requests_of(ue)
        await ue.register()
        new = ue.channel().sa_set
        assert old is not None
        assert new is not None
        assert (new.port_us, new.port_ps) == (old.port_us, old.port_ps)
        assert new.port_uc != old.port_uc
        assert new.port_pc != old.port_pc
        assert not {new.spi_uc, new.spi_us} & {old.spi_uc, old.spi_us}
        assert [t.flow.local.port for t, _ in found if t.flow] == [old.port_uc, new.port_uc]
        assert ue.installed == 2
        assert ue.channel().sa_set == new
        await ue.message(home.public_identity(1), "to myself")
        await within(20, ue.sets_become(1))
        assert here.pcscf is not None
        here.assert_clean()


async def test_refresh_without_challenge_uses_none_of_the_offered_values() -> None:
    """T24-UE-6, T24-UE-4: a 200 at once changes no set and never shortens the lifetime."""
    async with world(settings=RegistrarSettings(challenge_refresh=False), pcscf=Pcscf) as here:
        ue = await here.ue(1, expires=7200)
        await ue.register()
        before, ends_at = ue.channel(), ue.channel().ends_at
        await ue.register(expires=600)
        assert (ue.channel(), ue.channel().ends_at, ue.installed) == (before, ends_at, 1)
        assert [s.status for s in here.scscf.registrar.seen] == [401, 200, 200]
        await ue.register(expires=10000)
        assert ue.channel().ends_at > ends_at
        here.assert_clean()


@TRANSPORTS
@pytest.mark.parametrize("challenge", [True, False])
async def test_deregistration_leaves_nothing(transport: str, challenge: bool) -> None:
    """T24-D-1: the 200 comes on the set, then SAs and ports go; a new registration starts."""
    async with world(settings=RegistrarSettings(challenge_refresh=challenge), pcscf=Pcscf) as here:
        ue = await here.ue(1, transport=transport)
        for _ in range(2):
            await ue.register()
            assert (await ue.deregister()).status == 200
            assert (ue.current, ue.installed, ue.channels) == (None, 0, [])
        assert here.scscf.registrar.bindings(here.scscf.now()) == []
        here.assert_clean()


async def test_network_ends_a_protected_registration() -> None:
    """T24-D-3: after the NOTIFY and its transaction the UE holds no set."""
    async with world(pcscf=Pcscf) as here:
        ue = await here.ue(1, transport="TCP")
        await ue.register()
        await within(10, ue.subscribe())
        await within(10, ue.messages.get())
        await within(10, here.scscf.deregister(home.private_identity(1)))
        await within(10, ue.deregistered.wait())
        assert (ue.current, ue.installed) == (None, 0)
        here.assert_clean()


async def test_temporary_set_ends_after_reg_await_auth() -> None:
    """T24-UE-2: a set whose REGISTER was never sent lives reg-await-auth, no longer."""
    async with world(pcscf=Pcscf) as here:
        ue = await here.ue(1, reg_await_auth=0.05)
        await ue.begin()
        assert ue.installed == 1
        await within(20, ue.sets_become(0))
        here.assert_clean()


async def test_new_attempt_drops_the_unfinished_one() -> None:
    """T24-UE-9: only one registration procedure at a time."""
    async with world(pcscf=Pcscf) as here:
        ue = await here.ue(1)
        unfinished = (await ue.begin()).channel
        finished = (await ue.begin()).channel
        assert unfinished is not None
        assert ue.channels == [finished]
        here.assert_clean()
