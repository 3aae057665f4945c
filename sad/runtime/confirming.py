"""How a Confirm is decided: by the registration, or by what else bounds a mechanism's life."""

from sad.core import replacement
from sad.core.replacement import Succession
from sad.model.association import Association
from sad.model.requests import ConfirmRequest
from sad.runtime.state import Shared


def decide_confirm(
    shared: Shared, association: Association, request: ConfirmRequest
) -> Succession:
    """Return what a Confirm does to an association and to others."""
    own = shared.confirmers.get(association.mechanism)
    if own is not None:
        return own(association, request)
    return replacement.confirm(
        association,
        request,
        shared.table,
        shared.settings.lifetimes,
        now=shared.clock.boottime(),
        realtime=shared.clock.realtime(),
        identity_at_one_address=shared.settings.endpoints[
            association.endpoint
        ].identity_at_one_address,
    )
