"""Who may call what, from the uid and groups that the kernel vouches for. Pure.

What speaks for an endpoint (granting, changing, ``Screen``, ``Verify``) is decided per endpoint
(:func:`may_use_endpoint`, asked by the backend, which knows the association's endpoint); looking
and controlling are decided here for :mod:`sad.api.methods`. Everybody who can connect may ask
what interfaces there are.
"""

from dataclasses import dataclass

from sad.model.endpoint import Endpoint
from sad.model.errors import NotPermitted
from sad.model.requests import Caller

_ROOT = 0


def may_use_endpoint(caller: Caller, endpoint: Endpoint) -> bool:
    """Return whether an endpoint is the caller's: its own uids only, not even root.

    The backend also lets whoever may control release what others installed.
    """
    return caller.uid in endpoint.uids


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """``endpoint_uids`` is the union over all endpoints; the rest are settings."""

    endpoint_uids: frozenset[int] = frozenset()
    control_uids: frozenset[int] = frozenset()
    control_gids: frozenset[int] = frozenset()
    status_gids: frozenset[int] = frozenset()

    def may_use_endpoint(self, caller: Caller, endpoint: Endpoint) -> bool:
        """As the function, so that a policy is all that the backend needs."""
        return caller.uid in endpoint.uids

    def may_control(self, caller: Caller) -> bool:
        """Control: root, control users and groups."""
        return (
            caller.uid == _ROOT
            or caller.uid in self.control_uids
            or _is_member(caller, self.control_gids)
        )

    def may_read(self, caller: Caller) -> bool:
        """Look: whoever may control, status groups, and the users of any endpoint."""
        return (
            caller.uid in self.endpoint_uids
            or self.may_control(caller)
            or _is_member(caller, self.status_gids)
        )

    def require_control(self, caller: Caller) -> None:
        """Raise :class:`NotPermitted` unless the caller may control."""
        if not self.may_control(caller):
            raise NotPermitted(
                reason=f"uid {caller.uid} is no operator",
                hint="call as root or as a member of a control group",
            )

    def require_read(self, caller: Caller) -> None:
        """Raise :class:`NotPermitted` unless the caller may look."""
        if not self.may_read(caller):
            raise NotPermitted(
                reason=f"uid {caller.uid} may not look at associations",
                hint="join a status or control group, or add the uid to an endpoint's users",
            )


def _is_member(caller: Caller, gids: frozenset[int]) -> bool:
    return caller.gid in gids or not gids.isdisjoint(caller.groups)
