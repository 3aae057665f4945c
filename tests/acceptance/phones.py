"""UEs and their S-CSCF on the machine ``ue``, told by lines of JSON what to do.

Each line of standard input is a call, ``{"id", "do", ...}``; each line of standard output the
answer to one, in any order. The counterpart of :class:`tests.acceptance.handsets.Handsets` on the
driver's side. Keys go over this pipe alone and only when asked for, never to a log.
"""

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tests.acceptance.plan import (
    ACCESS_PORT,
    CLEAR_PROBE,
    CORE,
    CORE_PORT,
    EDGE,
    T1,
    UE,
)
from tests.ue import home
from tests.ue.flow import HostPort
from tests.ue.registrar import RegistrarSettings
from tests.ue.registration import RegistrationRefused
from tests.ue.scscf import Scscf
from tests.ue.security import SaSet
from tests.ue.transaction import Timers, TransactionTimeout
from tests.ue.ue import Ue
from tests.ue.xfrm import IpXfrm

TIMERS = Timers(t1=T1)
_RETRY_SECONDS = 1.0


class RememberingXfrm(IpXfrm):
    """Keeps the keys of every set that was ever installed, to look for them in logs."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[bytes] = set()

    async def add(self, sa_set: SaSet) -> None:
        transforms = sa_set.transforms
        parts = (transforms.auth, transforms.enc, transforms.aead)
        keys = {part[1] for part in parts if part is not None}
        self.keys |= (keys | {key[:16] for key in keys}) - {b""}
        await super().add(sa_set)


class StayingUe(Ue):
    """A UE that keeps its sets and its connection after de-registration, until it is closed."""

    async def forget(self) -> None:
        return


class Stream:
    """A call-like stream of MESSAGEs from one UE to another, one after the other."""

    def __init__(self, sender: Ue, receiver: Ue) -> None:
        self.answers: Counter[str] = Counter()
        self.sent: list[str] = []
        self.longest = 0.0
        self._sender, self._receiver = sender, receiver
        self._ending = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._talk())

    async def _talk(self) -> None:
        while not self._ending.is_set():
            text = f"number {len(self.sent)}"
            self.sent.append(text)
            begun = time.monotonic()
            try:
                answer = await self._sender.message(self._receiver.config.public_identity, text)
                self.answers[str(answer.status)] += 1
            except TransactionTimeout:
                self.answers["timeout"] += 1
            self.longest = max(self.longest, time.monotonic() - begun)

    async def stop(self) -> dict[str, Any]:
        """End it and count: what was sent, answered, and received in which order."""
        self._ending.set()
        await self._task
        received = []
        while not self._receiver.messages.empty():
            received.append(self._receiver.messages.get_nowait().body.decode())
        return {
            "sent": len(self.sent),
            "answers": dict(self.answers),
            "lost": sorted(set(self.sent) - set(received)),
            "twice": len(received) - len(set(received)),
            "longest": round(self.longest, 2),
        }


class Phones:
    """All that lives on the machine; each public coroutine is a call."""

    def __init__(self) -> None:
        self._xfrm = RememberingXfrm()
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
    ) -> dict[str, Any]:
        """Switch a phone on; it says nothing yet."""
        if number not in self._admitted:
            self._scscf.add(home.subscriber(number))
            self._admitted.add(number)
        config = home.ue_config(
            number,
            address=UE[version],
            pcscf=HostPort(EDGE[version], ACCESS_PORT),
            port=0,
            timers=TIMERS,
            transport=transport,
            algorithms=((alg, ealg),),
        )
        made = (StayingUe if stays else Ue)(config, self._xfrm)
        await made.start()
        self._ues[ue] = made
        return {"identity": config.private_identity}

    async def register(self, ue: str) -> dict[str, Any]:
        """Register or register again; the status of the last answer."""
        phone = self._ues[ue]
        try:
            response = await phone.register()
        except RegistrationRefused as refused:
            return {"status": refused.response.status}
        return {"status": response.status, "granted": phone.granted, **_set_of(phone)}

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
        registrar = self._scscf.registrar
        registrar.settings.granted = RegistrarSettings().granted
        for binding in registrar.bindings(self._scscf.now()):
            registrar.remove(binding.private_identity)
        self._scscf.violations.clear()
        return {}

    async def keys(self) -> dict[str, Any]:
        """Every key that was ever in use here, in hex."""
        cards = [home.subscriber(number) for number in self._admitted]
        found = {key for card in cards for key in (card.k, card.opc)} | self._xfrm.keys
        return {"keys": sorted(key.hex() for key in found)}


def _set_of(phone: Ue) -> dict[str, Any]:
    """The names of a phone's newest set."""
    s = phone.channel().sa_set
    assert s is not None
    ports = {"port_uc": s.port_uc, "port_us": s.port_us, "port_pc": s.port_pc}
    spis = {"spi_uc": s.spi_uc, "spi_us": s.spi_us, "spi_pc": s.spi_pc, "spi_ps": s.spi_ps}
    return {**ports, **spis}


async def _answer(phones: Phones, line: bytes) -> None:
    call = json.loads(line)
    number, do = call.pop("id"), call.pop("do")
    work: Callable[..., Awaitable[dict[str, Any]]] = getattr(phones, do)
    try:
        result = {"id": number, "result": await work(**call)}
    except Exception as error:  # noqa: BLE001 - the other side raises it
        result = {"id": number, "error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    phones = Phones()
    await phones.start()
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = loop.create_task(_answer(phones, line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    await phones.stop()


if __name__ == "__main__":
    asyncio.run(serve())
