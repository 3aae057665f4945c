"""What every request is asked first: who may, and is there such a thing."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Protocol

from sad.core.decision import Circumstances
from sad.model.association import Association, AssociationState, Phase
from sad.model.credential import HandedOut
from sad.model.endpoint import Endpoint
from sad.model.errors import (
    Busy,
    MechanismUnavailable,
    NoSuchAssociation,
    NoSuchEndpoint,
    NotPermitted,
)
from sad.model.requests import Caller
from sad.model.views import DaemonState
from sad.runtime.ports import MechanismDriver, SetMechanism
from sad.runtime.state import Shared


class Access(Protocol):
    """Who may do what; the counterpart is the authorisation of the socket."""

    def may_use_endpoint(self, caller: Caller, endpoint: Endpoint) -> bool:
        """Whether the caller may install, confirm and release on an endpoint."""

    def may_control(self, caller: Caller) -> bool:
        """Whether the caller is an operator."""


def circumstances_of(
    shared: Shared, own_addresses: AbstractSet[str], missing_algorithms: AbstractSet[str]
) -> Circumstances:
    """Return what a decision of this instant depends on."""
    settings = shared.settings
    return Circumstances(
        layout=settings.layout,
        lifetimes=settings.lifetimes,
        limits=settings.limits,
        own_addresses=own_addresses,
        missing_algorithms=missing_algorithms,
        now=shared.clock.boottime(),
        realtime=shared.clock.realtime(),
    )


class Gate:
    """Looks things up for a caller, or refuses. ``access`` may be replaced at any time."""

    def __init__(
        self,
        shared: Shared,
        *,
        access: Access,
        own_addresses: Callable[[], AbstractSet[str]],
        missing_algorithms: AbstractSet[str],
    ) -> None:
        self._shared = shared
        self.access = access
        self.own_addresses = own_addresses
        self.missing_algorithms = missing_algorithms

    def circumstances(self) -> Circumstances:
        """What a decision of this instant depends on."""
        return circumstances_of(self._shared, self.own_addresses(), self.missing_algorithms)

    def require_running(self) -> None:
        """Refuse what would outlive the daemon's stop, or keep it from coming to its end."""
        if self._shared.daemon_state is DaemonState.STOPPING:
            raise Busy(retry_after_milliseconds=1000, reason="sad is stopping")

    def endpoint(self, caller: Caller, name: str) -> Endpoint:
        """Return an endpoint that the caller may use."""
        endpoint = self._shared.settings.endpoints.get(name)
        if endpoint is None:
            raise NoSuchEndpoint(endpoint=name)
        if not self.access.may_use_endpoint(caller, endpoint):
            raise _no_user(caller, endpoint.name)
        return endpoint

    def serving(self, caller: Caller, name: str) -> Endpoint:
        """As :meth:`endpoint`, if this node owns it: something is to be installed there."""
        endpoint = self.endpoint(caller, name)
        self._shared.cluster.require(name)
        return endpoint

    def credential(self, caller: Caller, endpoint: str, known_generation: str | None) -> HandedOut:
        """Hand out a TLS credential set to the users of its endpoint, and not even to root."""
        found = self.endpoint(caller, endpoint)
        return self._shared.credentials.hand_out(found.name, known_generation)

    def mechanism(self, name: str) -> MechanismDriver:
        """Return a mechanism by its RFC name."""
        mechanism = self._shared.mechanisms.get(name)
        if mechanism is None:
            raise MechanismUnavailable(
                mechanism=name,
                reason="not known to this version",
                hint=f"this version has {', '.join(sorted(self._shared.mechanisms))}",
            )
        return mechanism

    def set_mechanism(self, name: str) -> SetMechanism:
        """Return the mechanism of this name whose parameters are negotiated in the lists."""
        mechanism = self._shared.set_mechanisms.get(name)
        if mechanism is None:
            raise MechanismUnavailable(
                mechanism=name,
                reason="its parameters do not come with a call",
                hint=f"here they do for {', '.join(sorted(self._shared.set_mechanisms))}",
            )
        return mechanism

    def may_use(self, caller: Caller, association: Association) -> bool:
        """Whether the caller may change an association: the users of its endpoint."""
        endpoint = self._shared.settings.endpoints.get(association.endpoint)
        return endpoint is not None and self.access.may_use_endpoint(caller, endpoint)

    def may_release(self, caller: Caller, association: Association) -> bool:
        """Operators may, too."""
        return self.may_use(caller, association) or self.access.may_control(caller)

    def require_use(self, caller: Caller, association: Association) -> None:
        """Raise NotPermitted unless the caller may change an association."""
        if not self.may_use(caller, association):
            raise _no_user(caller, association.endpoint)

    def installed(self, caller: Caller, association_id: str) -> Association:
        """Return an association in force that the caller may change."""
        association = self._in_force(association_id)
        self.require_use(caller, association)
        return association

    def releasable(self, caller: Caller, association_id: str) -> Association:
        """Return an association in force that the caller may release."""
        association = self._in_force(association_id)
        if not self.may_release(caller, association):
            raise _no_user(caller, association.endpoint)
        return association

    def _in_force(self, association_id: str) -> Association:
        association = self._shared.table.get(association_id)
        if (
            association is None
            or association.phase is not Phase.INSTALLED
            or association.state is AssociationState.ENDED
        ):
            raise NoSuchAssociation
        return association


def _no_user(caller: Caller, endpoint: str) -> NotPermitted:
    return NotPermitted(
        reason=f"uid {caller.uid} is no user of endpoint {endpoint}",
        hint="add it to users of the endpoint",
    )
