"""The matrix of norms section 12: what Confirm and the first request do to older sets."""

from collections.abc import Sequence

from msgspec import Struct, structs

from sad.core import lifecycle
from sad.core.table import AssociationTable
from sad.model.association import Association, AssociationState, Phase
from sad.model.requests import ConfirmRequest
from sad.model.rules import Lifetimes


class Succession(Struct, frozen=True, kw_only=True, gc=False):
    """How an association goes on, and what becomes of others.

    ``retiring`` are older sets as they will be. ``replaced`` end at once; ``elsewhere`` too, but
    they belong to other registrations.
    """

    association: Association
    retiring: tuple[Association, ...] = ()
    replaced: tuple[Association, ...] = ()
    elsewhere: tuple[Association, ...] = ()


def confirm(
    association: Association,
    request: ConfirmRequest,
    table: AssociationTable,
    lifetimes: Lifetimes,
    *,
    now: float,
    realtime: float,
    identity_at_one_address: bool = True,
) -> Succession:
    """Decide a Confirm. Raises :class:`~sad.core.lifecycle.IllegalTransition`.

    Only the first one of a set that came from Offer replaces others (T24-P-8): offered
    unprotected it is in use at once and all older sets go, also those that the phone had with
    other ports before it lost its state (matrix rows 1, 2), and with
    ``identity_at_one_address`` those of the address that it has left (T33-7.5-a). Offered on a
    set, that set is kept and used on, all other older ones go (row 4). Every other Confirm only
    lengthens (T24-P-11).
    """
    confirmed = lifecycle.confirm(
        association, request.expires_seconds, lifetimes, now=now, realtime=realtime
    )
    if request.public_identities is not None:
        confirmed = structs.replace(confirmed, public_identities=request.public_identities)
    if request.note is not None:
        confirmed = structs.replace(confirmed, note=request.note)
    offer = association.offer
    if offer is None:
        # T33-O-a variant 2: a TLS connection that nothing was offered for. The phone has left its
        # earlier ones (T33-O.4), where a private identity is one phone.
        left = association.tls and not association.registered and identity_at_one_address
        return Succession(
            association=confirmed,
            elsewhere=_elsewhere(association, table, anywhere=True) if left else (),
        )
    confirmed = structs.replace(confirmed, offer=None)  # its challenge is answered
    older = _older(association, table.of_registration(association.registration))
    if offer.offered_on is not None:
        replaced = tuple(a for a in older if a.id != offer.offered_on)
        return Succession(association=confirmed, replaced=replaced)
    return Succession(
        association=lifecycle.first_request(confirmed),
        replaced=older,
        elsewhere=_elsewhere(association, table, anywhere=identity_at_one_address),
    )


def _elsewhere(
    association: Association, table: AssociationTable, *, anywhere: bool
) -> tuple[Association, ...]:
    """Return what the private identity had before, on its address or anywhere."""
    return tuple(
        a
        for a in _older(association, table.of_identity(association.private_identity))
        if a.registration != association.registration
        and a.endpoint == association.endpoint
        and a.path.role is association.path.role
        and (anywhere or a.path.peer_address == association.path.peer_address)
    )


def take_into_use(
    association: Association, sets: Sequence[Association], lifetimes: Lifetimes, *, now: float
) -> Succession:
    """Decide the first request on a set (T24-P-9); ``sets`` are its registration's, oldest first.

    The older confirmed ones retire: at most 64*T1 are left to them. A newer set is not judged by
    what comes on an older one. On a retiring set nothing changes (T24-P-10). Raises
    :class:`~sad.core.lifecycle.IllegalTransition` for a temporary one (T24-P-5).
    """
    taken = lifecycle.first_request(association)
    if taken.state is association.state:
        return Succession(association=association)
    older = (
        (a, lifecycle.supersede(a, lifetimes, now=now))
        for a in _older(association, sets)
        if a.state is not AssociationState.TEMPORARY and a.phase is Phase.INSTALLED
    )
    return Succession(
        association=taken, retiring=tuple(after for before, after in older if after != before)
    )


def _older(association: Association, in_order: Sequence[Association]) -> tuple[Association, ...]:
    ids = [a.id for a in in_order]
    if association.id not in ids:  # until now it was of another identity
        return tuple(a for a in in_order if a.created_at < association.created_at)
    return tuple(in_order[: ids.index(association.id)])
