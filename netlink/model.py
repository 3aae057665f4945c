"""What the kernel holds, as immutable values in the words of RFC 4301.

Identity (:class:`SaId`, :class:`PolicyId`) stands apart from data, as it does in the kernel.
Operations are the requests of :mod:`netlink.kernel`; observations are what its dumps and
:mod:`netlink.events` say. Nothing here does I/O, and nothing here knows SIP.

Identities and selectors are named tuples, because they are made for every notice and every line of
a dump, and a table of 400 000 SAs is compared by them. Everything else is a dataclass.

Addresses are canonical text (``ipaddress.ip_address(text).compressed``); ports, SPIs and reqids
are host-order integers; times are whole seconds as the kernel counts them.
"""

import enum
import functools
import ipaddress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from netlink.secret import Secret
from netlink.transforms import Combined, Encryption, Integrity
from netlink.uapi import AF_INET, AF_INET6, IPPROTO_ESP


class Direction(enum.IntEnum):
    """Direction of a policy (XFRM_POLICY_*)."""

    IN = 0
    OUT = 1
    FORWARD = 2


class Mode(enum.IntEnum):
    """Mode of a security association (XFRM_MODE_*)."""

    TRANSPORT = 0
    TUNNEL = 1


class PolicyAction(enum.IntEnum):
    """What a policy does with a packet (XFRM_POLICY_*)."""

    ALLOW = 0
    BLOCK = 1


@functools.lru_cache(maxsize=65536)
def packed_address(address: str) -> bytes:
    """Return the 4 or 16 network-order bytes of an address."""
    return ipaddress.ip_address(address).packed


@functools.lru_cache(maxsize=65536)
def family_of(address: str) -> int:
    """Return AF_INET or AF_INET6."""
    return AF_INET if len(packed_address(address)) == 4 else AF_INET6


class Selector(NamedTuple):
    """A traffic selector (RFC 4301 4.4.1.1); protocol 0 and port mask 0 mean any.

    ``owner`` is the kernel's ``user`` field: free for an ownership tag, part of a policy's
    identity, without effect on matching.
    """

    source: str
    source_prefix: int
    destination: str
    destination_prefix: int
    source_port: int = 0
    source_port_mask: int = 0
    destination_port: int = 0
    destination_port_mask: int = 0
    protocol: int = 0
    owner: int = 0


class SaId(NamedTuple):
    """Identity of a security association: destination address, SPI, protocol."""

    destination: str
    spi: int
    protocol: int = IPPROTO_ESP


@dataclass(frozen=True, slots=True, kw_only=True)
class Encapsulation:
    """The UDP ports of ESP in UDP (RFC 3948), in the direction of the SA.

    An inbound SA takes packets from any port, and tells of those from another than its own
    (:class:`NatMapping`).
    """

    source_port: int
    destination_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityAssociation:
    """One unidirectional SA without its keys.

    ``integrity`` is None beside a combined mode algorithm, and only there.
    ``hard_add_seconds`` is the kernel's own time limit counted from the SA's add time, and
    ``hard_packets`` its limit of packets; 0 for none. ``replay_window`` is in packets; 0 switches
    replay protection off.
    """

    id: SaId
    source: str
    reqid: int
    selector: Selector
    integrity: Integrity | None
    encryption: Encryption | Combined
    replay_window: int
    hard_add_seconds: int
    hard_packets: int = 0
    mode: Mode = Mode.TRANSPORT
    encapsulation: Encapsulation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaKeys:
    """The keys of one SA; they never print.

    That of a combined mode algorithm, its salt included, is ``encryption``; ``integrity`` is
    empty then, as ``encryption`` is with the null cipher.
    """

    integrity: Secret
    encryption: Secret


class PolicyId(NamedTuple):
    """Identity of a policy: direction and selector (its owner tag included)."""

    direction: Direction
    selector: Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Which SA a policy demands: found by reqid, any SPI."""

    source: str
    destination: str
    reqid: int
    mode: Mode = Mode.TRANSPORT
    protocol: int = IPPROTO_ESP


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One SPD entry. Smaller ``priority`` wins. ``template`` is None for a block policy."""

    id: PolicyId
    action: PolicyAction
    priority: int
    template: Template | None = None
    hard_add_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayState:
    """Sequence numbers of an SA (RFC 4303 2.2, 3.4.3).

    ``sent`` is the last one sent, ``received`` the highest one received; of an SA one is used.
    """

    sent: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentLifetime:
    """Counters of an SA: bytes, packets, and wall-clock seconds of its addition and first use."""

    bytes: int
    packets: int
    add_time: int
    use_time: int


# --- operations: what may be asked of the kernel -------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSa:
    """NEWSA with NLM_F_EXCL: an SA of this identity must not exist.

    With ``replay`` it goes on where an earlier one of the same keys stopped: the next packet has
    the number ``sent + 1``, and nothing numbered ``received`` or less is taken, received before
    or not. ``current`` are the counters it begins with; its time limit counts from their
    ``add_time``. With ``tell_counters`` the kernel tells of them at most once in a while, however
    many packets pass (:mod:`netlink.counter_events`).
    """

    sa: SecurityAssociation
    keys: SaKeys = field(repr=False)
    replay: ReplayState | None = None
    current: CurrentLifetime | None = None
    tell_counters: bool = False


@dataclass(frozen=True, slots=True)
class ShortenSa:
    """UPDSA with ``sa.hard_add_seconds`` and zero keys: the timer moves, the kernel's keys stay.

    The new limit counts from the original add time. ``sa.hard_packets`` is written too, and so
    are the ports of ``sa.encapsulation``: an SA has it for life or never.
    """

    sa: SecurityAssociation


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveLifetime:
    """NEWAE with LTIME_VAL: overwrite the SA's counters, and with ``add_time`` its time origin.

    ``add_time`` may lie in the future. It can lengthen a lifetime, never shorten it.
    """

    id: SaId
    source: str
    reqid: int
    current: CurrentLifetime


@dataclass(frozen=True, slots=True)
class DeleteSa:
    """DELSA."""

    id: SaId


@dataclass(frozen=True, slots=True)
class AddPolicy:
    """NEWPOLICY with NLM_F_EXCL: a policy of this identity must not exist."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class UpdatePolicy:
    """UPDPOLICY: replace or create; its lifetime starts anew."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class DeletePolicy:
    """DELPOLICY by direction and selector."""

    id: PolicyId


Operation: TypeAlias = (
    AddSa | ShortenSa | MoveLifetime | DeleteSa | AddPolicy | UpdatePolicy | DeletePolicy
)


# --- observations: what the kernel says ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedSa:
    """An SA as dumped; keys are never decoded.

    ``replay_failures`` and ``integrity_failures`` count packets refused by this SA.
    """

    id: SaId
    source: str
    reqid: int
    selector: Selector
    mode: Mode
    hard_add_seconds: int
    hard_packets: int
    current: CurrentLifetime
    replay_window: int
    replay_failures: int
    integrity_failures: int
    encapsulation: Encapsulation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPolicy:
    """A policy as dumped. ``index`` is the kernel's handle; ``template`` the first one, if any."""

    id: PolicyId
    action: PolicyAction
    priority: int
    index: int
    template: Template | None
    hard_add_seconds: int
    add_time: int


@dataclass(frozen=True, slots=True)
class SaAdded:
    """An SA appeared or was updated. ``port_id`` is the netlink port of the requester."""

    id: SaId
    owner: int
    port_id: int


@dataclass(frozen=True, slots=True)
class SaDeleted:
    """An SA was deleted by request; the kernel's notice carries its whole body.

    ``replay`` are the sequence numbers it ended with, None if the notice does not say.
    """

    id: SaId
    owner: int
    port_id: int
    replay: ReplayState | None = None


@dataclass(frozen=True, slots=True)
class SaExpired:
    """A time limit of an SA was reached; after a hard one it is gone."""

    id: SaId
    owner: int
    hard: bool


@dataclass(frozen=True, slots=True)
class PolicyAdded:
    """A policy appeared or was updated."""

    id: PolicyId
    port_id: int


@dataclass(frozen=True, slots=True)
class PolicyDeleted:
    """A policy was deleted by request."""

    id: PolicyId
    port_id: int


@dataclass(frozen=True, slots=True)
class PolicyExpired:
    """A time limit of a policy was reached; after a hard one it is gone."""

    id: PolicyId
    hard: bool


@dataclass(frozen=True, slots=True)
class SadFlushed:
    """Somebody flushed the whole SAD (or one protocol of it)."""

    protocol: int
    port_id: int


@dataclass(frozen=True, slots=True)
class SpdFlushed:
    """Somebody flushed the SPD."""

    port_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NatMapping:
    """A genuine packet came on an encapsulated SA from elsewhere than it says; told of each."""

    id: SaId
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Overrun:
    """The receive buffer ran over: notices were lost, a dump must say what is true."""


KernelEvent: TypeAlias = (
    SaAdded
    | SaDeleted
    | SaExpired
    | PolicyAdded
    | PolicyDeleted
    | PolicyExpired
    | SadFlushed
    | SpdFlushed
    | NatMapping
    | Overrun
)
