"""A thousand phones in one namespace: each with an address, SAs in the kernel, and words to say.

Messages go protected from the client port of a phone to the server port of the edge and come back
from there (rows SA1 and SA2 of TS 33.203 7.1); whoever answers stands in for the SIP server.
"""

import asyncio
import dataclasses
import hashlib
import resource
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

from netlink.kernel import KernelIpsec
from netlink.secret import Secret
from sad.core.planning import plan_install
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association
from sad.model.endpoint import Role
from tests.cluster.net import ADDRESS, UE_NETWORK, Machine
from tests.support.make import LAYOUT, LIFETIMES, association, sa_set
from tests.support.many_sets import address_of, boottime

SERVER_PORT: Final = 5064
CLIENT_PORTS: Final = (5068, 5069, 5070, 5071)
PHONE_CLIENT, PHONE_SERVER = 6802, 6800

_IP_FREEBIND: Final = 15
_MESSAGE: Final = struct.Struct("!IQ")  # phone, number
_BUFFER: Final = 1 << 22
_AT_ONCE: Final = 64


def keys_of(number: int) -> tuple[bytes, bytes]:
    """Return IK and CK of a phone; no two phones share one."""
    digest = hashlib.sha256(b"phone %d" % number).digest()
    return digest[:16], digest[16:]


def install_of(number: int, *, encryption: str = "aes-cbc") -> dict[str, Any]:
    """Return the parameters of Install for a phone."""
    integrity_key, cipher_key = keys_of(number)
    return {
        "endpoint": "access",
        "registration": {
            "privateIdentity": f"{number}@ims.example",
            "publicIdentities": [],
        },
        "mechanism": "ipsec-3gpp",
        "ipsec3gpp": {
            "ueAddress": address_of(number),
            "pcscfAddress": ADDRESS,
            "spiUc": 10_000 + 2 * number,
            "spiUs": 10_001 + 2 * number,
            "portUc": PHONE_CLIENT,
            "portUs": PHONE_SERVER,
            "integrityAlgorithm": "null" if encryption == "aes-gcm" else "hmac-sha-1-96",
            "encryptionAlgorithm": encryption,
            "integrityKey": integrity_key.hex(),
            "cipherKey": cipher_key.hex(),
        },
        "lifetimeSeconds": 3600,
    }


def own_end(number: int, told: dict[str, Any]) -> Association:
    """Return a phone's end of what the edge has installed."""
    s = told["ipsec3gpp"]
    return association(
        id=f"{number:032x}",
        sa_set=sa_set(
            role=Role.UE,
            ue_address=s["ueAddress"],
            pcscf_address=s["pcscfAddress"],
            spi_uc=s["spiUc"],
            spi_us=s["spiUs"],
            spi_pc=s["spiPc"],
            spi_ps=s["spiPs"],
            port_uc=s["portUc"],
            port_us=s["portUs"],
            port_pc=s["portPc"],
            port_ps=s["portPs"],
            integrity_algorithm=s["integrityAlgorithm"],
            encryption_algorithm=s["encryptionAlgorithm"],
        ),
        # Far apart in the kernel's hash chains.
        reqid_in=0x2000_0000 + 7919 * (3 * number + 1) % 0x4000_0000,
        reqid_out=tuple(0x2000_0000 + 7919 * (3 * number + n) % 0x4000_0000 for n in (2, 3)),
        deadline_at=boottime() + 3600,
        policies_until=boottime() + LIFETIMES.longest_registration,
    )


async def lay_phones(machine: Machine, ends: Sequence[tuple[int, Association]]) -> None:
    """Put the phones' SAs and policies into their kernel."""
    with machine.enter():
        kernel = await KernelIpsec.open()
    try:
        for start in range(0, len(ends), _AT_ONCE):
            await asyncio.gather(
                *(_lay(kernel, number, end) for number, end in ends[start : start + _AT_ONCE])
            )
    finally:
        kernel.close()


async def _lay(kernel: KernelIpsec, number: int, end: Association) -> None:
    integrity, cipher = keys_of(number)
    s = end.sa_set
    pair = AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm)
    keys = derive_keys(pair, Secret(integrity), Secret(cipher))
    outcomes = await kernel.commit(plan_install((), end, keys, LAYOUT, LIFETIMES, boottime()))
    assert not any(outcomes), f"phone {number}: {outcomes}"


def prepare(machine: Machine) -> None:
    """Have every address of the phones' network be a machine's own."""
    machine.run(["ip", "route", "add", "local", UE_NETWORK, "dev", "lo"])


class Answerer:
    """The SIP server of each node: sends everything back, from the address that moves."""

    def __init__(self, machines: Iterable[Machine]) -> None:
        self._selector = selectors.DefaultSelector()
        for machine in machines:
            with machine.enter():
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            sock.setblocking(False)
            sock.bind((ADDRESS, SERVER_PORT))
            self._selector.register(sock, selectors.EVENT_READ, machine.name)
        self.answered: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]  # they are sockets

    def _work(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(0.05):
                sock: socket.socket = key.fileobj  # type: ignore[assignment]  # as above
                try:
                    while True:
                        data, source = sock.recvfrom(2048)
                        sock.sendto(data, source)
                        self.answered[key.data] = self.answered.get(key.data, 0) + 1
                except BlockingIOError:
                    pass
                except OSError:
                    pass  # its address is elsewhere, or its traffic is blocked: not answered


@dataclasses.dataclass(slots=True)
class Said:
    """One message: who sent it, when, and when the answer came (monotonic seconds)."""

    phone: int
    sent_at: float
    answered_at: float | None = None


class Traffic:
    """Phones that talk, ``rate`` messages a second over all of them in turn."""

    def __init__(self, machine: Machine, phones: Sequence[int], rate: float) -> None:
        self.said: list[Said] = []
        self.refused = 0
        self._phones = phones
        self.pause = 1 / rate
        self._over = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[int, socket.socket] = {}
        wanted = len(phones) + 256
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
        with machine.enter():
            for phone in phones:
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.setblocking(False)
                sock.bind((address_of(phone), PHONE_CLIENT))
                self._sockets[phone] = sock
                self._selector.register(sock, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for sock in self._sockets.values():
            self._selector.unregister(sock)
            sock.close()
        self._selector.close()

    def _work(self) -> None:
        due = time.monotonic()
        turn = 0
        while not self._over.is_set():
            now = time.monotonic()
            if now >= due:
                self._say(self._phones[turn % len(self._phones)])
                turn += 1
                due += self.pause
                if due < now - 1:  # the machine stood still: no burst to make up for it
                    due = now
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                self._hear(key.fileobj)  # type: ignore[arg-type]  # they are sockets
        self._selector.select(0)

    def _say(self, phone: int) -> None:
        number = len(self.said)
        self.said.append(Said(phone, time.monotonic()))
        try:
            self._sockets[phone].sendto(_MESSAGE.pack(phone, number), (ADDRESS, SERVER_PORT))
        except OSError:
            self.refused += 1

    def _hear(self, sock: socket.socket) -> None:
        try:
            while True:
                _, number = _MESSAGE.unpack(sock.recv(2048))
                self.said[number].answered_at = time.monotonic()
        except OSError:
            pass

    # --- what came of it -------------------------------------------------------------------------

    def answered(self) -> int:
        """How many were answered so far."""
        return sum(said.answered_at is not None for said in self.said)

    def first_answer_to_what_was_sent_after(self, instant: float) -> float | None:
        """When the first such answer came."""
        return min(
            (s.answered_at for s in self.said if s.sent_at >= instant and s.answered_at),
            default=None,
        )

    def lost(self, patience: float = 1.0) -> list[Said]:
        """Return what was not answered, of what was sent long enough ago."""
        until = time.monotonic() - patience
        return [s for s in self.said if s.answered_at is None and s.sent_at < until]

    def phones_answered_since(self, instant: float) -> set[int]:
        """Return who was heard, with a message of after an instant."""
        return {s.phone for s in self.said if s.sent_at >= instant and s.answered_at}
