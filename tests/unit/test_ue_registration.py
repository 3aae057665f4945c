"""Registration of a UE at the S-CSCF, on the loopback address, without IPsec."""

import pytest

from tests.support.ue_world import within, world
from tests.ue import home
from tests.ue.calls import CallRefused
from tests.ue.registrar import RegistrarSettings
from tests.ue.registration import RegistrationRefused
from tests.ue.sip import Request

LOOPBACK = pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
TRANSPORTS = pytest.mark.parametrize("transport", ["UDP", "TCP"])


@LOOPBACK
@TRANSPORTS
async def test_ue_registers_by_answering_the_challenge(address: str, transport: str) -> None:
    """T24-UE-1, T24-UE-2: 401, then 200 with the Service-Route, over UDP and TCP, v4 and v6."""
    async with world(address, RegistrarSettings(granted=1800)) as here:
        ue = await here.ue(1, transport=transport)
        response = await ue.register()
        assert (response.status, ue.granted) == (200, 1800)
        assert [seen.status for seen in here.scscf.registrar.seen] == [401, 200]
        assert ue.service_route == (f"<sip:orig@{here.scscf.local};lr>",)
        assert ue.associated == (home.public_identity(1),)
        here.assert_clean()


async def test_wrong_key_is_noticed_by_the_ue_and_refused_by_the_core() -> None:
    """T33-7.3.1.2: a MAC that is wrong gets an empty response without auts, then a 403."""
    async with world() as here:
        ue = await here.ue(1)
        ue.usim = type(ue.usim)(bytes(16), bytes(16))
        sent: list[str] = []

        def note(request: Request, _: str) -> Request:
            sent.append(request.one("Authorization"))
            return request

        ue.alter = note
        attempt = await ue.begin()
        with pytest.raises(RegistrationRefused, match="403"):
            await ue.finish(attempt)
        assert 'response=""' in sent[1]
        assert "auts" not in sent[1]
        assert here.scscf.registrar.binding(home.public_identity(1), here.scscf.now()) is None


async def test_wrong_response_is_refused() -> None:
    """T33-7.3.1.1: a RES that is wrong is answered 403 and registers nobody."""

    def forge(request: Request, purpose: str) -> Request:
        if purpose != "register-answer":
            return request
        value = request.one("Authorization")
        at = value.index('response="') + len('response="')
        other = "0" if value[at] != "0" else "1"
        return request.with_rows("Authorization", value[:at] + other + value[at + 1 :])

    async with world() as here:
        ue = await here.ue(1, alter=forge)
        with pytest.raises(RegistrationRefused, match="403"):
            await ue.register()
        assert ue.current is None
        assert here.scscf.registrar.binding(home.public_identity(1), here.scscf.now()) is None


async def test_sequence_number_out_of_range_is_resynchronised() -> None:
    """T33-7.3.1.3: REGISTER with auts, a new challenge from the right SQN on, then 200."""
    async with world() as here:
        ue = await here.ue(1, sqn=5000)
        assert (await ue.register()).status == 200
        assert [seen.status for seen in here.scscf.registrar.seen] == [401, 401, 200]
        assert ue.usim.sqn > 5000
        here.assert_clean()


async def test_another_identity_is_refused() -> None:
    """T24-P-4: the private identity must own the public one."""

    def impersonate(request: Request, _: str) -> Request:
        value = request.one("Authorization")
        other = value.replace(home.private_identity(1), home.private_identity(2))
        return request.with_rows("Authorization", other)

    async with world() as here:
        ue = await here.ue(1, alter=impersonate)
        with pytest.raises(RegistrationRefused, match="403"):
            await ue.register()


async def test_reregistration_is_challenged_again() -> None:
    """T24-UE-6: without protection each REGISTER is challenged, the Call-ID stays."""
    async with world() as here:
        calls: set[str] = set()

        def note(request: Request, _: str) -> Request:
            calls.add(request.call_id)
            return request

        ue = await here.ue(1, alter=note)
        await ue.register()
        await ue.register()
        assert [seen.status for seen in here.scscf.registrar.seen] == [401, 200, 401, 200]
        assert len(calls) == 1
        here.assert_clean()


async def test_refresh_without_challenge_needs_integrity_protection() -> None:
    """T33-6.1-a: only integrity-protected="yes" of a registered user spares the challenge."""
    protected = False

    def as_pcscf(request: Request, _: str) -> Request:
        value = request.get("Authorization")
        if value is None:
            return request
        flag = "yes" if protected else "no"
        return request.with_rows("Authorization", f'{value}, integrity-protected="{flag}"')

    async with world(settings=RegistrarSettings(challenge_refresh=False)) as here:
        ue = await here.ue(1, alter=as_pcscf)
        await ue.register()
        await ue.register()
        protected = True
        await ue.register()
        seen = here.scscf.registrar.seen
        assert [s.status for s in seen] == [401, 200, 401, 200, 200]
        assert [s.integrity_protected for s in seen] == ["no", "no", "no", "no", "yes"]


async def test_answer_that_came_unprotected_is_refused_behind_a_pcscf() -> None:
    """T33-6.1-a: behind a P-CSCF a right response without protection is worth nothing."""
    async with world(settings=RegistrarSettings(require_protection=True)) as here:
        ue = await here.ue(1)
        with pytest.raises(RegistrationRefused, match="403"):
            await ue.register()


async def test_deregistered_ue_is_gone() -> None:
    """T24-D-1: after the 200 to Expires 0 nobody reaches the UE and it sends nothing."""
    async with world() as here:
        caller, callee = await here.ue(1), await here.ue(2)
        await caller.register()
        await callee.register()
        assert (await callee.deregister()).status == 200
        with pytest.raises(CallRefused, match="480"):
            await within(10, caller.call(home.public_identity(2)))
        with pytest.raises(RuntimeError, match="not registered"):
            callee.channel()
        here.assert_clean()


async def test_network_ends_a_registration_by_notify() -> None:
    """T24-D-3: the UE follows its registration and drops it when the NOTIFY says so."""
    async with world() as here:
        ue = await here.ue(1)
        await ue.register()
        assert (await within(10, ue.subscribe())).status == 200
        first = await within(10, ue.messages.get())
        assert b'state="active"' in first.body
        answers = await within(10, here.scscf.deregister(home.private_identity(1)))
        assert [answer.status for answer in answers] == [200]
        await within(10, ue.deregistered.wait())
        assert ue.current is None
        here.assert_clean()
