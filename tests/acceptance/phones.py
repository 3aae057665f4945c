"""UEs and their S-CSCF on the machine ``ue``, told by :mod:`tests.acceptance.pipe` what to do.

The counterpart of :class:`tests.acceptance.handsets.Handsets` on the driver's side. Keys are told
when they are asked for.
"""

import asyncio
import contextlib
import socket
import time
from typing import Any

from netlink.uapi import IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP
from tests.acceptance.phone_parts import RememberingXfrm, StayingUe, Stream, claiming
from tests.acceptance.pipe import serve
from tests.acceptance.plan import (
    ACCESS_PORT,
    BEHIND,
    CLEAR_PROBE,
    CORE,
    CORE_PORT,
    EDGE,
    NAT_PORT,
    PRIVATE,
    T1,
    UE,
)
from tests.ue import home
from tests.ue.flow import HostPort
from tests.ue.registrar import RegistrarSettings
from tests.ue.registration import Attempt, RegistrationRefused
from tests.ue.scscf import Scscf
from tests.ue.transaction import Timers, TransactionTimeout
from tests.ue.transport import bound_socket
from tests.ue.ue import Ue

TIMERS = Timers(t1=T1)
_RETRY_SECONDS = 1.0


class Phones:
    """All that lives on the machine; each public coroutine is a call."""

    def __init__(self) -> None:
        self._xfrm, self._xfrm_behind = RememberingXfrm(), RememberingXfrm(BEHIND)
        self._encapsulating: dict[str, socket.socket] = {}
        self._attempts: dict[str, Attempt] = {}
        self._scscf = Scscf(
            home.DOMAIN,
            HostPort(CORE, CORE_PORT),
            settings=RegistrarSettings(require_protection=True),
            timers=TIMERS,
        )
        self._ues: dict[str, Ue] = {}
        self._admitted: set[int] = set()
        self._streams: dict[str, Stream] = {}
        self._closed: dict[str, list[str]] = {}

    async def start(self) -> None:
        await self._scscf.start()

    async def stop(self) -> None:
        for name in [*self._ues]:
            await self.drop(name)
        await self._scscf.close()
        await self._xfrm.close()
        await self._leave_nat()

    async def open(
        self,
        ue: str,
        number: int,
        *,
        version: int = 4,
        transport: str = "UDP",
        alg: str = "hmac-sha-1-96",
        ealg: str = "aes-cbc",
        stays: bool = False,
        behind: int | None = None,
        ports_of: str | None = None,
    ) -> dict[str, Any]:
        """Switch a phone on; it says nothing yet.

        ``behind``: the NAT, with which of the addresses there. ``ports_of``: it claims the
        protected ports of another phone.
        """
        if number not in self._admitted:
            self._scscf.add(home.subscriber(number))
            self._admitted.add(number)
        address = UE[version] if behind is None else PRIVATE[version][behind]
        config = home.ue_config(
            number,
            address=address,
            pcscf=HostPort(EDGE[version], ACCESS_PORT),
            port=0,
            timers=TIMERS,
            transport=transport,
            algorithms=((alg, ealg),),
            behind_nat=behind is not None,
            namespace=None if behind is None else BEHIND,
        )
        alter = None if ports_of is None else claiming(_set_of(self._ues[ports_of]))
        xfrm = self._xfrm if behind is None else self._xfrm_behind
        if behind is not None and address not in self._encapsulating:
            opened = bound_socket(socket.SOCK_DGRAM, HostPort(address, NAT_PORT), BEHIND)
            opened.setsockopt(IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
            self._encapsulating[address] = opened
        made = (StayingUe if stays else Ue)(config, xfrm, alter=alter)
        await made.start()
        self._ues[ue] = made
        return {"identity": config.private_identity}

    async def _leave_nat(self) -> None:
        """Let go of the namespace behind the NAT."""
        for opened in self._encapsulating.values():
            opened.close()
        self._encapsulating.clear()
        await self._xfrm_behind.close()

    async def register(self, ue: str) -> dict[str, Any]:
        """Register or register again; the status of the last answer."""
        phone = self._ues[ue]
        try:
            response = await phone.register()
        except RegistrationRefused as refused:
            return {"status": refused.response.status}
        return {"status": response.status, "granted": phone.granted, **_set_of(phone)}

    async def begin_registration(self, ue: str) -> dict[str, Any]:
        """Go as far as the challenge: the temporary set stands."""
        self._attempts[ue] = await self._ues[ue].begin()
        return {"status": self._attempts[ue].response.status}

    async def finish_registration(self, ue: str) -> dict[str, Any]:
        """Answer the challenge, on the temporary set."""
        response = await self._ues[ue].finish(self._attempts.pop(ue))
        return {"status": response.status, **_set_of(self._ues[ue])}

    async def recover(self, ue: str, within: float) -> dict[str, Any]:
        """What a phone does by itself that the edge no longer knows: try, forget, start anew."""
        end = time.monotonic() + within
        phone = self._ues[ue]
        tries = 0
        while True:
            tries += 1
            with contextlib.suppress(RegistrationRefused, TransactionTimeout):
                response = await phone.register()
                return {"status": response.status, "tries": tries, **_set_of(phone)}
            await phone.forget()
            if time.monotonic() > end:
                return {"status": 0, "tries": tries}
            await asyncio.sleep(_RETRY_SECONDS)

    async def deregister(self, ue: str) -> dict[str, Any]:
        return {"status": (await self._ues[ue].deregister()).status}

    async def drop(self, ue: str) -> dict[str, Any]:
        """Take its battery out."""
        phone = self._ues.pop(ue)
        if isinstance(phone, StayingUe):
            await Ue.forget(phone)
        await phone.close()
        return {"violations": phone.violations}

    async def message(self, ue: str, to: str) -> dict[str, Any]:
        """Send one MESSAGE; whether it arrived."""
        receiver = self._ues[to]
        answer = await self._ues[ue].message(receiver.config.public_identity, "hello")
        received = answer.status == 200 and (await receiver.messages.get()).body == b"hello"
        return {"status": answer.status, "received": received}

    async def call(self, ue: str, to: str) -> dict[str, Any]:
        """Call, talk for no time at all, hang up; the status of the BYE."""
        callee = self._ues[to]
        call = await self._ues[ue].call(callee.config.public_identity)
        await callee.calls.get()
        return {"status": (await call.bye()).status}

    async def begin_stream(self, ue: str, to: str) -> dict[str, Any]:
        self._streams[ue] = Stream(self._ues[ue], self._ues[to])
        return {}

    async def sent(self, ue: str) -> dict[str, Any]:
        """How many messages of a stream have been answered up to now."""
        return {"answered": sum(self._streams[ue].answers.values())}

    async def end_stream(self, ue: str) -> dict[str, Any]:
        return await self._streams.pop(ue).stop()

    async def connection(self, ue: str) -> dict[str, Any]:
        """Whether the phone's TCP connection to port_ps is open."""
        tcp = self._ues[ue].channels[-1].tcp if self._ues[ue].channels else None
        return {"open": tcp is not None and tcp.is_open}

    async def grant(self, lasting: int) -> dict[str, Any]:
        """Let registrations last so many seconds."""
        self._scscf.registrar.settings.granted = lasting
        return {}

    async def probe(self, version: int, port: int) -> dict[str, Any]:
        """Send SIP in clear to a port of the edge; True if anything came back in two seconds."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        loop = asyncio.get_running_loop()
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect((EDGE[version], port))
            text = b"OPTIONS sip:edge SIP/2.0\r\nX-Probe: " + CLEAR_PROBE + b"\r\n\r\n"
            await loop.sock_sendall(sock, text)
            try:
                async with asyncio.timeout(2):
                    return {"answered": bool(await loop.sock_recv(sock, 2048))}
            except (TimeoutError, OSError):
                return {"answered": False}

    async def violations(self) -> dict[str, Any]:
        """What UEs and S-CSCF saw that the standards forbid."""
        found = {name: ue.violations for name, ue in self._ues.items() if ue.violations}
        return {"ues": found, "scscf": self._scscf.violations}

    async def reset(self) -> dict[str, Any]:
        """Switch every phone off and forget its registration."""
        for name in [*self._ues]:
            await self.drop(name)
        self._attempts.clear()
        await self._leave_nat()
        registrar = self._scscf.registrar
        registrar.settings.granted = RegistrarSettings().granted
        for binding in registrar.bindings(self._scscf.now()):
            registrar.remove(binding.private_identity)
        self._scscf.violations.clear()
        return {}

    async def keys(self) -> dict[str, Any]:
        """Every key that was ever in use here, in hex."""
        cards = [home.subscriber(number) for number in self._admitted]
        found = {key for card in cards for key in (card.k, card.opc)}
        found |= self._xfrm.keys | self._xfrm_behind.keys
        return {"keys": sorted(key.hex() for key in found)}


def _set_of(phone: Ue) -> dict[str, Any]:
    """The names of a phone's newest set."""
    s = phone.channel().sa_set
    assert s is not None
    ports = {"port_uc": s.port_uc, "port_us": s.port_us, "port_pc": s.port_pc}
    spis = {"spi_uc": s.spi_uc, "spi_us": s.spi_us, "spi_pc": s.spi_pc, "spi_ps": s.spi_ps}
    return {**ports, **spis}


async def main() -> None:
    """Serve calls until standard input ends."""
    phones = Phones()
    await phones.start()
    await serve(phones)
    await phones.stop()


if __name__ == "__main__":
    asyncio.run(main())
