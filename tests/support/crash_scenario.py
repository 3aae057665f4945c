"""What the crash tests play: registrations by Install and by Offer, v4 and v6, and an operator.

A program is the life of one phone, step by step; programs can be interleaved in any order.
"""

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from tests.support.crash_model import LINGER, REG_AWAIT_AUTH, Call, SetModel, World
from tests.support.make import CK, IK, security_client

EDGE: Final = {4: "10.10.0.1", 6: "2001:db8:1::1"}
SERVER_PORT: Final = 5064
CLIENT_PORTS: Final = "5068-5071"

_PHONE: Final = {4: "10.20.0.{}", 6: "2001:db8:2::{}"}
_KEYS: Final = {"integrityKey": IK.hex(), "cipherKey": CK.hex()}
_spis = itertools.count(100_000, 2)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One step: a call, or what an operator does before it.

    ``damage``: a policy of ours is deleted and a stale SA of ours is left by another process.
    ``restart``: the daemon is killed first, and started again as part of the step.
    """

    name: str
    call: Callable[[World], Call] | None
    damage: bool = False
    restart: bool = False


class Phone:
    """Makes the calls that a SIP server makes for one user agent."""

    def __init__(self, version: int, number: int) -> None:
        self.version = version
        self.address = _PHONE[version].format(number)
        self.identity = f"ue{version}-{number}@ims.example"
        self.made: list[Call] = []

    def registration(self) -> dict[str, Any]:
        return {"privateIdentity": self.identity, "publicIdentities": []}

    def install(self, _world: World) -> Call:
        spi = next(_spis)
        parameters = {
            "ueAddress": self.address,
            "pcscfAddress": EDGE[self.version],
            "spiUc": spi,
            "spiUs": spi + 1,
            "portUc": 7000,
            "portUs": 7001,
            "integrityAlgorithm": "hmac-sha-1-96",
            "encryptionAlgorithm": "null",
        }
        return Call(
            method="Install",
            target=self._set(spi, 7000, 7001, state="established"),
            seconds=300,
            parameters={
                "endpoint": "access",
                "registration": self.registration(),
                "mechanism": "ipsec-3gpp",
                "ipsec3gpp": parameters | _KEYS,
                "lifetimeSeconds": 300,
            },
        )

    def offer(self, world: World, ports: tuple[int, int], on: int | None = None) -> Call:
        """A REGISTER in clear, or on the phone's set of that number (from the newest, -1)."""
        spi = next(_spis)
        set_ = None if on is None else self.sets(world)[on]
        row = security_client(spi_c=spi, spi_s=spi + 1, port_c=ports[0], port_s=ports[1])
        call = Call(
            method="Offer",
            target=dataclasses.replace(
                self._set(spi, *ports, state="temporary"),
                offered_on="" if set_ is None else set_.identifier,
            ),
            parameters={
                "endpoint": "access",
                "registration": self.registration(),
                "flow": {
                    "peerAddress": self.address,
                    "peerPort": 5060 if set_ is None else set_.port_uc,
                    "localAddress": EDGE[self.version],
                    "localPort": 5060 if set_ is None else SERVER_PORT,
                },
                "transaction": {"callId": f"call{spi}", "cseq": 1, "branch": "z9hG4bKa"},
                "association": None if set_ is None else set_.identifier,
                "securityClient": [row],
            }
            | _KEYS,
        )
        self.made.append(call)
        return call

    def confirm(self, world: World, seconds: int) -> Call:
        identifier = self.sets(world)[-1].identifier
        parameters = {"id": identifier, "expiresSeconds": seconds}
        return Call(
            method="Confirm", identifier=identifier, seconds=seconds, parameters=parameters
        )

    def take_into_use(self, world: World) -> Call:
        identifier = self.sets(world)[-1].identifier
        return Call(method="TakeIntoUse", identifier=identifier, parameters={"id": identifier})

    def release(
        self, world: World, seconds: int = 0, *, whole: bool = False, number: int = -1
    ) -> Call:
        identifier = self.sets(world)[number].identifier
        parameters = {"id": identifier, "lingerSeconds": seconds, "wholeRegistration": whole}
        return Call(
            method="Release",
            identifier=identifier,
            seconds=seconds,
            whole=whole,
            parameters=parameters,
        )

    def sets(self, world: World) -> Sequence[SetModel]:
        return [s for s in world if s.identity == self.identity]

    def _set(self, spi: int, port_uc: int, port_us: int, *, state: str) -> SetModel:
        return SetModel(
            name=(self.address, spi),
            identity=self.identity,
            port_uc=port_uc,
            port_us=port_us,
            state=state,
            deadline=(0.0, REG_AWAIT_AUTH),
        )


def installed(version: int) -> list[Step]:
    """A set that somebody else negotiated: installed, lengthened, shortened, released."""
    p = Phone(version, 1)
    return [
        Step(f"v{version} install", p.install),
        Step(f"v{version} lengthen", lambda w: p.confirm(w, 600)),
        Step(f"v{version} linger", lambda w: p.release(w, LINGER)),
        Step(f"v{version} release", p.release),
    ]


def registered(version: int) -> list[Step]:
    """The whole matrix of the norms, section 12, from the first REGISTER to the last."""
    p = Phone(version, 2)
    first, second, third = (6302, 6300), (6304, 6300), (6306, 6310)
    steps: list[tuple[str, Callable[[World], Call]]] = [
        ("offer", lambda w: p.offer(w, first)),
        ("the same offer", lambda _: p.made[-1]),
        ("offer in its place", lambda w: p.offer(w, first)),
        ("confirm", lambda w: p.confirm(w, 600)),
        ("offer on the set", lambda w: p.offer(w, second, on=0)),
        ("offer on the set again", lambda w: p.offer(w, second, on=0)),
        ("confirm the second", lambda w: p.confirm(w, 600)),
        ("take into use", p.take_into_use),
        ("refresh", lambda w: p.confirm(w, 1200)),
        ("offer after a reboot", lambda w: p.offer(w, third)),
        ("confirm after a reboot", lambda w: p.confirm(w, 600)),
        ("offer on it", lambda w: p.offer(w, (6308, 6310), on=0)),
        ("confirm it", lambda w: p.confirm(w, 900)),
        ("release all with linger", lambda w: p.release(w, LINGER, whole=True, number=0)),
        ("release all", lambda w: p.release(w, whole=True, number=0)),
    ]
    return [Step(f"v{version} {name}", call) for name, call in steps]


def operated() -> list[Step]:
    """What an operator and other programs do."""

    def reconcile(_world: World) -> Call:
        return Call(method="Reconcile")

    return [
        Step("reconcile", reconcile, damage=True),
        Step("restart", None, damage=True, restart=True),
        Step("restart again", None, restart=True),
    ]


def in_order() -> list[Step]:
    """Every step, v4 and v6 side by side, the operator while most sets live."""
    phones = (installed(4), installed(6), registered(4), registered(6))
    steps = [s for beat in itertools.zip_longest(*phones) for s in beat if s is not None]
    at = next(i for i, s in enumerate(steps) if s.name == "v6 confirm the second") + 1
    return steps[:at] + operated() + steps[at:]


def shuffled(choice: random.Random) -> Iterator[Step]:
    """Every step, each program in its own order and the programs mixed at random."""
    programs = [installed(4), installed(6), registered(4), registered(6), operated()]
    while programs := [p for p in programs if p]:
        # By what is left of them, so that none is over long before the others.
        yield choice.choices(programs, [len(p) for p in programs])[0].pop(0)
