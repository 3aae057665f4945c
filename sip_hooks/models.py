"""The daemon's answers as values with names of Python: for programs that are not hooks.

The counterpart of ``sad/api/org.sipsad.Associations.varlink``; a test compares the two. A field
that a later daemon adds is passed over, so an older program goes on. Instants are seconds since
1970, 0: never. Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing import Self


def camel_case(name: str) -> str:
    """Return ``secondsLeft`` for ``seconds_left``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@dataclasses.dataclass(frozen=True)
class _Answer:
    """Made of an answer's object; ``NESTED`` are fields that are objects themselves."""

    NESTED: ClassVar[Mapping[str, type[_Answer]]] = {}

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """Return the value; KeyError names a field that is missing."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            name = camel_case(field.name)
            is_optional = field.default is not dataclasses.MISSING
            value = answer.get(name, field.default) if is_optional else answer[name]
            if value is not None and field.name in cls.NESTED:
                value = cls.NESTED[field.name].of(value)
            elif isinstance(value, list):
                value = tuple(value)
            elif field.name.endswith("_at"):
                value = value / 1_000_000
            values[field.name] = value
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class Registration(_Answer):
    """The binding that an association serves."""

    private_identity: str
    public_identities: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Ipsec3gpp(_Answer):
    """One SA set by the names of TS 33.203 7.1."""

    ue_address: str
    pcscf_address: str
    spi_uc: int
    spi_us: int
    spi_pc: int
    spi_ps: int
    port_uc: int
    port_us: int
    port_pc: int
    port_ps: int
    integrity_algorithm: str
    encryption_algorithm: str


@dataclasses.dataclass(frozen=True)
class Association(_Answer):
    """One agreement in force or in the making.

    Of other mechanisms than ipsec-3gpp :meth:`sip_hooks.aio.AsyncClient.call` tells more.
    """

    NESTED: ClassVar[Mapping[str, type[_Answer]]] = {
        "registration": Registration,
        "ipsec3gpp": Ipsec3gpp,
    }

    id: str
    endpoint: str
    role: str
    mechanism: str
    state: str
    registration: Registration
    created_at: float
    confirmed_at: float
    expires_at: float
    seconds_left: int
    end_reason: str | None = None
    ipsec3gpp: Ipsec3gpp | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class SaCounters(_Answer):
    """Counters of one SA as the kernel holds them."""

    name: str
    direction: str
    spi: int
    bytes: int
    packets: int
    replay_failures: int
    integrity_failures: int
    last_used_at: float


@dataclasses.dataclass(frozen=True)
class Event(_Answer):
    """One line of ``Monitor``: present, ready, added, changed, ended or resync."""

    NESTED: ClassVar[Mapping[str, type[_Answer]]] = {"association": Association}

    event: str
    association: Association | None = None


@dataclasses.dataclass(frozen=True)
class Flow:
    """Where a SIP message came from and where it arrived."""

    peer_address: str
    peer_port: int
    local_address: str
    local_port: int

    def parameters(self) -> dict[str, Any]:
        """Return it as a call wants it."""
        return {camel_case(name): value for name, value in dataclasses.asdict(self).items()}
