"""Everything a caller can be refused with: a type, its data, and the way out.

Each class is one error of ``org.sipsad.Associations`` (same name, same fields in camelCase); a
test compares the two. No error ever carries key material.
"""

from dataclasses import dataclass, fields

from sad.model.agreement import Refusal


@dataclass(eq=False, kw_only=True)
class SadError(Exception):
    """A typed refusal. Subclasses are values: their fields are the error's parameters."""

    def __str__(self) -> str:
        parts = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(eq=False, kw_only=True)
class NoSuchEndpoint(SadError):
    """No endpoint of this name is configured."""

    endpoint: str
    hint: str = "sadctl status lists the endpoints"


@dataclass(eq=False, kw_only=True)
class NotOwner(SadError):
    """Another node of the cluster owns the endpoint; ``owner`` is empty if nobody does."""

    endpoint: str
    owner: str
    hint: str = "ask there; sadctl takeover brings it here, sadctl status says more"


@dataclass(eq=False, kw_only=True)
class TakeoverRefused(SadError):
    """An endpoint was not taken over."""

    endpoint: str
    owner: str
    reason: str
    hint: str


@dataclass(eq=False, kw_only=True)
class NoCluster(SadError):
    """This node is in no cluster, or etcd could not be asked."""

    reason: str
    hint: str


@dataclass(eq=False, kw_only=True)
class NoSuchAssociation(SadError):
    """No association has this id, or none matches."""

    hint: str = "it may have ended: sadctl list shows those that live"


@dataclass(eq=False, kw_only=True)
class UnknownFlow(SadError):
    """No association protects this flow."""

    hint: str = "the message came in clear or its association has ended: ask for a registration"


@dataclass(eq=False, kw_only=True)
class NoSuchConnection(SadError):
    """The TCP connection that a TLS association should be bound to is not, or no longer, open."""

    reason: str
    hint: str = "answer nothing and close it: a new connection needs a new agreement"


@dataclass(eq=False, kw_only=True)
class NotPermitted(SadError):
    """The caller may not do this."""

    reason: str
    hint: str


@dataclass(eq=False, kw_only=True)
class BadParameter(SadError):
    """A parameter's value breaks a rule."""

    parameter: str
    reason: str
    rule: str | None
    hint: str


@dataclass(eq=False, kw_only=True)
class AlgorithmUnavailable(SadError):
    """The algorithm is unknown, switched off, or missing in this kernel."""

    algorithm: str
    reason: str
    hint: str


@dataclass(eq=False, kw_only=True)
class MechanismUnavailable(SadError):
    """The mechanism is unknown or not available on this endpoint."""

    mechanism: str
    reason: str
    hint: str


@dataclass(eq=False, kw_only=True)
class NoCredential(SadError):
    """The endpoint has no TLS credential set that may be used."""

    endpoint: str
    reason: str
    hint: str


def no_settings_of_a_credential(endpoint: str) -> NoCredential:
    """Return the refusal for an endpoint without ``[endpoint.tls]``."""
    return NoCredential(
        endpoint=endpoint,
        reason="the settings name no TLS credential for it",
        hint="write [endpoint.tls] below its [[endpoint]]",
    )


@dataclass(eq=False, kw_only=True)
class FlowInUse(SadError):
    """A live association has this peer address and port, or this SPI."""

    reason: str
    id: str
    hint: str


@dataclass(eq=False, kw_only=True)
class LimitExceeded(SadError):
    """More than TS 33.203 7.1 or a setting allows."""

    limit: str
    maximum: int
    hint: str


@dataclass(eq=False, kw_only=True)
class PoolExhausted(SadError):
    """No free SPI or port is left."""

    pool: str
    size: int
    hint: str


@dataclass(eq=False, kw_only=True)
class NoCommonMechanism(SadError):
    """Nothing in the Security-Client list can be taken; each offer has its refusal."""

    refusals: tuple[Refusal, ...]
    hint: str = "answer 4xx (TS 33.203 7.3.2.1), or add what the phones offer to the endpoint"


@dataclass(eq=False, kw_only=True)
class BadHeader(SadError):
    """A header cannot be read; ``row`` and ``position`` count from 0."""

    header: str
    row: int
    position: int
    reason: str
    rule: str | None
    hint: str


@dataclass(eq=False, kw_only=True)
class VerifyMismatch(SadError):
    """A list came back other than it went: perhaps a man in the middle (T33-7.3.2.3)."""

    header: str
    difference: str
    security_server: str
    hint: str


@dataclass(eq=False, kw_only=True)
class KernelRefused(SadError):
    """The kernel refused; nothing of the set remains."""

    errno: int
    name: str
    message: str
    object: str
    hint: str


@dataclass(eq=False, kw_only=True)
class JournalUnavailable(SadError):
    """The journal cannot be written; nothing was installed."""

    reason: str
    hint: str


@dataclass(eq=False, kw_only=True)
class Busy(SadError):
    """Try again later."""

    retry_after_milliseconds: int
    reason: str


class Lost(Exception):
    """Internal: the kernel no longer holds an association that should be in force."""


class LeftBehind(Exception):
    """Internal: an install was refused and could not be taken back whole."""

    def __init__(self, refusal: KernelRefused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
