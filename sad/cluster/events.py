"""What happens to the ownership of an endpoint, and what is to be done: values.

The machine that makes the one of the other is :mod:`sad.cluster.ownership`.
"""

import dataclasses
import enum
from typing import TypeAlias

# --- events --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What etcd holds of an endpoint.

    ``owner`` is empty if it was released, ``epoch`` 0 if it never had one. ``held`` is the node
    whose lease on it lives, ``asked_by`` the node that asks for it, both empty without.
    ``address_here``: this node has an address of the endpoint at this time.
    """

    owner: str = ""
    epoch: int = 0
    held: str = ""
    asked_by: str = ""
    address_here: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Renewed:
    """etcd has answered a renewal of the lease that was sent at this BOOTTIME second."""

    sent_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class Silent:
    """etcd does not answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class LeaseLost:
    """The lease of this node is gone before its time: revoked, or lost with a backup."""


@dataclasses.dataclass(frozen=True, slots=True)
class StartedBlind:
    """The daemon has started and etcd does not answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened but time."""


@dataclasses.dataclass(frozen=True, slots=True)
class TakeoverWanted:
    """An operator wants the endpoint here; ``fenced``: he says that its owner is down."""

    fenced: bool


@dataclasses.dataclass(frozen=True, slots=True)
class TakeoverGivenUp:
    """Who wanted the endpoint here waits no longer."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClaimWon:
    """etcd took the claim; the owner key now has this revision."""

    epoch: int


@dataclasses.dataclass(frozen=True, slots=True)
class ClaimLost:
    """etcd did not take it: the owner key was another than the one that was seen."""


@dataclasses.dataclass(frozen=True, slots=True)
class Installed:
    """Its sets are in the kernel."""


@dataclasses.dataclass(frozen=True, slots=True)
class TakenOut:
    """Its sets are out of the kernel."""


@dataclasses.dataclass(frozen=True, slots=True)
class Released:
    """The owner key was given back, or may have been: the answer did not come."""


Event: TypeAlias = (
    Seen
    | Renewed
    | Silent
    | LeaseLost
    | StartedBlind
    | TimePassed
    | TakeoverWanted
    | TakeoverGivenUp
    | ClaimWon
    | ClaimLost
    | Installed
    | TakenOut
    | Released
)


# --- actions -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Claim it, if the owner key still has revision ``expected`` (0: there is none).

    ``keep_epoch``: it is this node's own epoch, and only the lease is put back. ``over_lease``: an
    owner's lease may live (an operator says that the owner is down).
    """

    expected: int
    keep_epoch: bool = False
    over_lease: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """Put its sets into the kernel: those that were set aside, or those of etcd."""

    set_aside: bool


class Do(enum.Enum):
    """Actions without data."""

    TAKE_OUT = "block its traffic, then take its sets out of the kernel and set them aside"
    RELEASE = "give the owner key back, after all writes"
    ASK = "ask its owner for it"
    ASK_NO_MORE = "take that back"
    FORGET = "forget what was set aside: another has owned it since"


Action: TypeAlias = Claim | Install | Do
