"""The UE notices what a P-CSCF does wrong, and does wrong on demand what a P-CSCF must notice."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from tests.support.ue_world import World, within, world
from tests.ue import home
from tests.ue.flow import Hop, HostPort
from tests.ue.headers import parse_digest, render_digest
from tests.ue.pcscf import Pcscf
from tests.ue.registration import RegistrationRefused
from tests.ue.security import AgreementAborted
from tests.ue.sip import Request, Response
from tests.ue.transport import UdpHop
from tests.ue.ue import Ue


class RepliesFromServerPort(Pcscf):
    """Answers UDP from port_ps, as a server does that answers where it was asked."""

    def datagrams(self, local: HostPort, remote: HostPort) -> UdpHop:
        if local.port in self.client_ports:
            local = self.protected
        return super().datagrams(local, remote)


class LeaksKeys(Pcscf):
    """Forgets to take ck and ik out of the challenge."""

    def send(self, hop: Hop, data: bytes) -> None:
        leak = b'qop="auth", ck="%s", ik="%s"\r\n' % (b"00" * 16, b"00" * 16)
        super().send(hop, data.replace(b'qop="auth"\r\n', leak))


class Rewrites(Pcscf):
    """Sends each response through :attr:`rewrite`, each request through :attr:`corrupt`."""

    rewrite: Callable[[Response], Response] = staticmethod(lambda response: response)
    corrupt: Callable[[bytes], bytes] = staticmethod(lambda data: data)

    def _answer(self, context: object, response: Response) -> None:
        super()._answer(context, self.rewrite(response))  # type: ignore[arg-type]  # as it came

    def send(self, hop: Hop, data: bytes) -> None:
        if hop.flow.remote == self.core or data.startswith(b"SIP/2.0"):
            super().send(hop, data)
        else:
            super().send(hop, self.corrupt(data))


async def stop_when_violated(judge: Ue, work: Coroutine[Any, Any, Any]) -> None:
    """Run ``work`` until ``judge`` has seen something forbidden, then give it up."""
    task = asyncio.get_running_loop().create_task(work)
    await within(10, judge.violated.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def registered_pair(here: World) -> tuple[Ue, Ue]:
    first, second = await here.ue(1), await here.ue(2)
    await first.register()
    await second.register()
    return first, second


async def test_response_from_the_wrong_port_is_dropped() -> None:
    """T33-7.1-d: a 200 from port_ps to port_us is on no SA, so the UE stays unregistered."""
    async with world(pcscf=RepliesFromServerPort) as here:
        ue = await here.ue(1)
        await stop_when_violated(ue, ue.register())
        assert "no SA set explains" in ue.violations[0]
        assert (ue.current, ue.channels) == (None, [])


async def test_lax_ue_takes_responses_from_the_server_port() -> None:
    """INTEROP-1: with cross pairs asked for, p.s -> u.s is a way too."""
    async with world(pcscf=RepliesFromServerPort) as here:
        ue = await here.ue(1, cross_pairs=True)
        assert (await ue.register()).status == 200
        here.assert_clean()


async def test_keys_in_the_challenge_are_noticed() -> None:
    """T33-7.2-d: a 401 with ck and ik aborts the agreement and is noted."""
    async with world(pcscf=LeaksKeys) as here:
        ue = await here.ue(1)
        with pytest.raises(AgreementAborted):
            await ue.register()
        assert ue.violations == ["401 with ck or ik"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("ipsec-3gpp;", "ipsec-ike;", "nothing that was offered"),
        (";spi-s=", ";spi-x=", "without a usable spi-s"),
        (";port-c=", ";port-c=5060;x=", "equal each other or a SIP port"),
        (";spi-c=", ";spi-c=100;x=", "reserved SPI"),
        (";spi-c=", ";spi-c=99999999999;x=", "without a usable spi-c"),
        (None, None, "401 without Security-Server"),
    ],
)
async def test_unusable_security_server_is_abandoned(
    old: str | None, new: str | None, reason: str
) -> None:
    """T24-5.1.1.5.1-a, R3329-2.3.1-k, T33-7.1-e: no set, no protected REGISTER, a new Call-ID."""

    def spoil(response: Response) -> Response:
        rows = response.rows("Security-Server")
        if old is None or new is None:
            return response.without("Security-Server")
        return response.with_rows("Security-Server", *(row.replace(old, new) for row in rows))

    async with world(pcscf=Rewrites) as here:
        assert isinstance(here.pcscf, Rewrites)
        here.pcscf.rewrite = spoil
        calls: list[str] = []

        def note(request: Request, _: str) -> Request:
            calls.append(request.call_id)
            return request

        ue = await here.ue(1, alter=note)
        for _ in range(2):
            with pytest.raises(AgreementAborted, match=reason):
                await ue.register()
        assert (ue.channels, len(set(calls)), len(calls)) == ([], 2, 2)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"\r\nFrom:", b"\r\nSecurity-Verify: tls\r\nFrom:", "somebody else's first hop"),
        (b"\r\nFrom:", b"\r\nRequire: sec-agree\r\nFrom:", "sec-agree was not removed"),
        (b"\r\nMax-Forwards:", b"\r\nMax-Backwards:", "Max-Forwards is missing"),
        (b"\r\nContent-Length:", b"\nContent-Length:", "bare CR or LF"),
        (b"SIP/2.0/UDP", b"SIP/2.0/TCP", "Via names TCP"),
    ],
)
async def test_faulty_request_is_dropped(old: bytes, new: bytes, reason: str) -> None:
    """R3329-2.3.1-p, RFC 3261: what must not reach a UE is noted and has no effect."""
    async with world(pcscf=Rewrites) as here:
        assert isinstance(here.pcscf, Rewrites)
        sender, receiver = await registered_pair(here)
        here.pcscf.corrupt = lambda data: data.replace(old, new, 1)
        await stop_when_violated(receiver, sender.message(home.public_identity(2), "hi"))
        assert all(reason in violation for violation in receiver.violations)
        assert receiver.messages.empty()


async def test_request_on_the_unprotected_port_is_dropped() -> None:
    """T33-7.1-u1: a registered UE takes no request in clear, even from its own P-CSCF."""
    async with world(pcscf=Pcscf) as here:
        assert here.pcscf is not None
        ue = await here.ue(1)
        await ue.register()
        assert ue.unprotected is not None
        request = ue.new_request("MESSAGE", home.public_identity(1)).without("Require")
        request = request.without("Proxy-Require", "Security-Verify")
        data = request.prepend("Via", f"SIP/2.0/UDP {here.pcscf.clear};branch=z9hG4bKclear")
        here.pcscf.datagrams(here.pcscf.clear, ue.unprotected.local_server).send(data.encode())
        await within(10, ue.violated.wait())
        assert "request on unprotected ports" in ue.violations[0]
        assert ue.messages.empty()


async def test_connection_from_the_wrong_port_is_refused() -> None:
    """T33-7.1-p4 seen from the UE: only port_pc may open connections to port_us."""
    async with world(pcscf=Pcscf) as here:
        assert here.pcscf is not None
        ue = await here.ue(1)
        await ue.register()
        local = HostPort(here.pcscf.clear.host, 0)
        await here.pcscf.connection(local, ue.channel().local_server)
        await within(10, ue.violated.wait())
        assert "no SA set explains" in ue.violations[0]


def _other_verify(request: Request) -> Request:
    text = request.one("Security-Verify").replace("ealg=null", "ealg=aes-cbc")
    return request.with_rows("Security-Verify", text)


def _no_verify(request: Request) -> Request:
    return request.without("Security-Verify")


def _other_client(request: Request) -> Request:
    text = request.one("Security-Client").replace("hmac-sha-1-96", "hmac-md5-96")
    return request.with_rows("Security-Client", text)


def _other_identity(request: Request) -> Request:
    given = parse_digest(request.one("Authorization"))
    given["username"] = home.private_identity(2)
    return request.with_rows("Authorization", render_digest(given))


@pytest.mark.parametrize(
    ("alter", "status"),
    [(_other_verify, 494), (_no_verify, 494), (_other_client, 494), (_other_identity, 403)],
)
async def test_altered_protected_register_is_refused(
    alter: Callable[[Request], Request], status: int
) -> None:
    """T24-P-2, T24-P-4: the hook reaches the wire; the UE drops the set and may start again."""

    def hook(request: Request, purpose: str) -> Request:
        return alter(request) if purpose == "register-answer" else request

    async with world(pcscf=Pcscf) as here:
        ue = await here.ue(1, alter=hook)
        with pytest.raises(RegistrationRefused) as caught:
            await ue.register()
        assert caught.value.response.status == status
        assert (ue.current, ue.channels) == (None, [])
        ue.alter = lambda request, _: request
        assert (await ue.register()).status == 200
        here.assert_clean()


async def test_second_via_reaches_the_wire() -> None:
    """R3329-2.3.2-b can be provoked: the UE sends two Via and takes an answer with both."""

    def two_vias(request: Request, _: str) -> Request:
        second = request.vias[0].with_param("branch", "z9hG4bKinvented")
        own, *rest = request.headers
        return replace(request, headers=(own, ("Via", str(second)), *rest))

    async with world(pcscf=Pcscf) as here:
        ue = await here.ue(1, alter=two_vias)
        seen: list[int] = []
        assert here.pcscf is not None
        here.pcscf.on_trace = lambda _kind, _flow, data: seen.append(data.count(b"\r\nVia:"))
        attempt = await ue.begin()
        assert (attempt.response.status, seen[0]) == (401, 2)


async def test_offer_of_a_sip_port_can_be_provoked() -> None:
    """T33-7.1-e can be provoked: port_us is what the settings say, 5060 included."""
    async with world(pcscf=Pcscf) as here:
        ue = await here.ue(1, port_us=5060)
        offers: list[str] = []

        def note(request: Request, _: str) -> Request:
            offers.append(request.one("Security-Client"))
            return request

        ue.alter = note
        await ue.begin()
        assert "port-s=5060" in offers[0]
