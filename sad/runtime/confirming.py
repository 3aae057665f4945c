"""How a Confirm is decided: by the registration, or by what else bounds a mechanism's life."""

from msgspec import structs

from sad.core import replacement
from sad.core.replacement import Succession
from sad.model.association import Association
from sad.model.endpoint import Profile
from sad.model.errors import BadParameter
from sad.model.requests import ConfirmRequest
from sad.runtime.state import Shared


def decide_confirm(
    shared: Shared, association: Association, request: ConfirmRequest
) -> Succession:
    """Return what a Confirm does to an association and to others."""
    association = _of_identity(association, request)
    own = shared.confirmers.get(association.mechanism)
    if own is not None:
        return own(association, request)
    _require_bound(association)
    endpoint = shared.settings.endpoints[association.endpoint]
    return replacement.confirm(
        association,
        request,
        shared.table,
        shared.settings.lifetimes,
        now=shared.clock.boottime(),
        realtime=shared.clock.realtime(),
        # Where user names are shared by phones nobody has left anything.
        identity_at_one_address=endpoint.identity_at_one_address
        and endpoint.profile is Profile.IMS,
    )


def _of_identity(association: Association, request: ConfirmRequest) -> Association:
    """Return it as of whoever the registration was granted to.

    What was named over a TLS connection before its first Confirm proves nothing (T24-P-4): the
    grant of one identity must not count for another that was named while it was on its way.
    """
    granted = request.private_identity
    if granted is None or granted == association.private_identity:
        return association
    if association.tls is None or association.registered or association.offer is not None:
        raise BadParameter(
            parameter="privateIdentity",
            reason="the association is of another identity",
            rule="T24-P-4",
            hint="confirm the association over which this identity has registered",
        )
    return structs.replace(association, private_identity=granted, public_identities=())


def _require_bound(association: Association) -> None:
    if association.tls is not None and association.tls.cookie is None:
        raise BadParameter(
            parameter="id",
            reason="no request has come over a TLS connection of it yet",
            rule="T33-O-a",
            hint="call Attach when its REGISTER comes over TLS, then Confirm",
        )
