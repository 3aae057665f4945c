"""The temporary sets of ``Offer``, counted by what limits them and found by their transaction.

Part of :class:`sad.core.table.AssociationTable`, which keeps it: what is counted is derived from
the associations themselves, so a count cannot drift.
"""

import functools
import ipaddress
from collections.abc import Mapping
from typing import TypeVar

from sad.model.association import Association, AssociationState, Phase

_K = TypeVar("_K")


@functools.lru_cache(maxsize=65536)
def prefix_of(address: str) -> str:
    """Return what stands for one sender: the IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def is_pending(association: Association) -> bool:
    """Whether a set came from Offer and neither was confirmed nor is on its way out."""
    return (
        association.offer is not None
        and association.state is AssociationState.TEMPORARY
        and association.phase is not Phase.REMOVING
    )


def _unproven_at(association: Association | None) -> str | None:
    """Return the sender of a TLS connection that proves nothing; None for every other one."""
    if association is None or association.tls is None:
        return None
    if association.registered or association.offer is not None:
        return None
    return prefix_of(association.tls.peer_address)


def _is_over_tls(association: Association | None) -> bool:
    return association is not None and association.tls is not None


class PendingOffers:
    """Ids of pending sets, in the order in which they will expire.

    ``unprotected`` are those whose REGISTER came unprotected, as a whole, by the sender's prefix,
    and by private identity at one prefix: what admission limits. Anybody can name any identity,
    so those at other addresses do not count against an identity's own.
    """

    def __init__(self) -> None:
        self._by_key: dict[str, str] = {}
        self._unprotected: dict[str, None] = {}
        self._by_prefix: dict[str, dict[str, None]] = {}
        self._by_identity: dict[tuple[str, str], dict[str, None]] = {}
        self._unproven: dict[str, int] = {}

    def unproven_of(self, prefix: str) -> int:
        """How many TLS connections of a sender nothing was offered for or granted over."""
        return self._unproven.get(prefix, 0)

    def of_key(self, offer_key: str) -> str | None:
        """The set that an offer key made."""
        return self._by_key.get(offer_key)

    @property
    def unprotected(self) -> Mapping[str, None]:
        """All unprotected ones."""
        return self._unprotected

    def of_prefix(self, prefix: str) -> Mapping[str, None]:
        """The unprotected ones of a sender (:func:`prefix_of`)."""
        return self._by_prefix.get(prefix, {})

    def of_identity(self, private_identity: str, prefix: str) -> Mapping[str, None]:
        """The unprotected ones of a private identity at a sender's prefix."""
        return self._by_identity.get((private_identity, prefix), {})

    def follow(self, before: Association | None, after: Association | None) -> None:
        """Follow one association from one value to the next; None: not in the table."""
        if _is_over_tls(before) or _is_over_tls(after):
            self._count_unproven(_unproven_at(before), _unproven_at(after))
        was = before if before is not None and is_pending(before) else None
        becomes = after if after is not None and is_pending(after) else None
        if was is not None and becomes is not None and was.offer == becomes.offer:
            return  # nothing that is counted has changed, and its place in the order stays
        if was is not None:
            self._leave(was)
        if becomes is not None:
            self._enter(becomes)

    def _count_unproven(self, left: str | None, came: str | None) -> None:
        if left == came:
            return
        for prefix, change in ((left, -1), (came, 1)):
            if prefix is not None:
                self._unproven[prefix] = self._unproven.get(prefix, 0) + change
                if not self._unproven[prefix]:
                    del self._unproven[prefix]

    def _enter(self, association: Association) -> None:
        assert association.offer is not None
        self._by_key[association.offer.offer_key] = association.id
        if association.offer.offered_on is None:
            self._unprotected[association.id] = None
            prefix = prefix_of(association.sa_peer_address)
            self._by_prefix.setdefault(prefix, {})[association.id] = None
            key = (association.private_identity, prefix)
            self._by_identity.setdefault(key, {})[association.id] = None

    def _leave(self, association: Association) -> None:
        assert association.offer is not None
        if self._by_key.get(association.offer.offer_key) == association.id:
            del self._by_key[association.offer.offer_key]
        if association.offer.offered_on is None:
            del self._unprotected[association.id]
            prefix = prefix_of(association.sa_peer_address)
            _leave(self._by_prefix, prefix, association.id)
            _leave(self._by_identity, (association.private_identity, prefix), association.id)


def _leave(groups: dict[_K, dict[str, None]], key: _K, association_id: str) -> None:
    members = groups[key]
    del members[association_id]
    if not members:
        del groups[key]
