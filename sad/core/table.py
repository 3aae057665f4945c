"""The associations in memory: one dictionary and the indexes that decisions need.

Mutable, but without I/O. The values are immutable; every change replaces a value whole, so that
an index can never drift from its association.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias, TypeVar

from sad.core.pending import PendingOffers
from sad.model.association import Association, AssociationState, Phase, RegistrationKey
from sad.model.requests import Flow, ListFilter

_SpiKey = tuple[str, int]
_PortKey = tuple[str, int]
_K = TypeVar("_K")
#: Ids in their order. One alone stands for itself: nearly all do, and a dictionary for each takes
#: more than the association.
_Index: TypeAlias = dict[_K, str | dict[str, None]]


def _enter(index: _Index[_K], key: _K, association_id: str) -> None:
    known = index.get(key)
    if known is None:
        index[key] = association_id
    elif isinstance(known, str):
        index[key] = {known: None, association_id: None}
    else:
        known[association_id] = None


def _leave(index: _Index[_K], key: _K, association_id: str) -> None:
    known = index[key]
    if isinstance(known, str):
        del index[key]
        return
    del known[association_id]
    if len(known) == 1:
        index[key] = next(iter(known))


class AssociationTable:
    """Every association that is installing, installed or being removed."""

    def __init__(self) -> None:
        self._by_id: dict[str, Association] = {}
        self._by_registration: _Index[RegistrationKey] = {}
        self._by_identity: _Index[str] = {}
        self._by_peer: _Index[str] = {}
        self._by_spi: dict[_SpiKey, str] = {}
        self._by_peer_port: _Index[_PortKey] = {}
        self._reqids: dict[int, int] = {}
        self.pending = PendingOffers()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Association]:
        return iter(self._by_id.values())

    def get(self, association_id: str) -> Association | None:
        """Return one association."""
        return self._by_id.get(association_id)

    def put(self, association: Association) -> None:
        """Insert, or replace the association of the same id in its place."""
        known = self._by_id.get(association.id)
        if known is not None:
            if _same_keys(known, association):
                # In its place: "oldest first" decides who carries what is sent (T24-P-9).
                self._by_id[association.id] = association
                self.pending.follow(known, association)
                return
            self.remove(association.id)
        self._by_id[association.id] = association
        for index, key in self._set_indexes(association):
            if key in index:
                _enter(index, key, association.id)
            else:
                index[key] = association.id
        for spi_key in _spi_keys(association):
            self._by_spi[spi_key] = association.id
        for reqid in (association.reqid_in, *association.reqid_out):
            self._reqids[reqid] = self._reqids.get(reqid, 0) + 1
        self.pending.follow(None, association)

    def remove(self, association_id: str) -> None:
        """Forget an association; unknown ids are ignored."""
        association = self._by_id.pop(association_id, None)
        if association is None:
            return
        self.pending.follow(association, None)
        for index, key in self._set_indexes(association):
            _leave(index, key, association_id)
        for spi_key in _spi_keys(association):
            self._by_spi.pop(spi_key, None)
        for reqid in (association.reqid_in, *association.reqid_out):
            self._reqids[reqid] -= 1
            if not self._reqids[reqid]:
                del self._reqids[reqid]

    def _set_indexes(self, association: Association) -> list[tuple[_Index[Any], Any]]:
        path = association.path
        peer = path.peer_address
        return [
            (self._by_registration, association.registration),
            (self._by_identity, association.private_identity),
            (self._by_peer, peer),
            *[(self._by_peer_port, (peer, port)) for port in path.peer_ports],
        ]

    def registrations(self) -> tuple[RegistrationKey, ...]:
        """The registrations that own any of it, oldest first."""
        return tuple(self._by_registration)

    def of_registration(self, key: RegistrationKey) -> tuple[Association, ...]:
        """All sets of a registration, oldest first."""
        ids = self._by_registration.get(key)
        return () if ids is None else self._members(ids)

    def of_identity(self, private_identity: str) -> tuple[Association, ...]:
        """All associations of a private identity."""
        ids = self._by_identity.get(private_identity)
        return () if ids is None else self._members(ids)

    def of_peer(self, address: str) -> tuple[Association, ...]:
        """All associations with a peer address."""
        ids = self._by_peer.get(address)
        return () if ids is None else self._members(ids)

    def of_peer_port(self, address: str, port: int) -> tuple[Association, ...]:
        """All associations with one of the peer's two protected ports."""
        ids = self._by_peer_port.get((address, port))
        return () if ids is None else self._members(ids)

    def _members(self, ids: str | dict[str, None]) -> tuple[Association, ...]:
        if isinstance(ids, str):
            return (self._by_id[ids],)
        return tuple([self._by_id[i] for i in ids])

    def of_spi(self, destination: str, spi: int) -> Association | None:
        """The association that owns an SA of this destination and SPI."""
        owner = self._by_spi.get((destination, spi))
        return None if owner is None else self._by_id[owner]

    def spi_taken(self, destination: str, spi: int) -> bool:
        """Whether an association owns an SA of this destination and SPI."""
        return (destination, spi) in self._by_spi

    @property
    def reqids_used(self) -> int:
        """How many reqids live associations use."""
        return len(self._reqids)

    def reqid_taken(self, reqid: int) -> bool:
        """Whether a live association uses this reqid."""
        return reqid in self._reqids

    def on_flow(self, flow: Flow) -> tuple[Association, ...]:
        """Return the sets whose policies cover a flow (both ports protected), newest first.

        More than one only where sets share a port of the peer: its server port always, its
        client port when it came back with the same (T33-7.1-g). A set that was released before
        any confirmation is no answer: nothing but its last retransmissions may pass on it.
        """
        return tuple(
            [
                a
                for a in reversed(self.of_peer_port(flow.peer_address, flow.peer_port))
                if a.phase is Phase.INSTALLED
                and a.path.local_address == flow.local_address
                and flow.local_port in a.path.local_ports
                and (a.registered or a.state is not AssociationState.RETIRING)
            ]
        )

    def find(self, flow: Flow) -> Association | None:
        """Return the association that protects a flow: the newest confirmed one, if any is.

        A temporary set beside it may be anybody's attempt until its answer has been verified
        (T24-P-5): it takes no flow away from the set that is in force.
        """
        sets = self.on_flow(flow)
        confirmed = (a for a in sets if a.state is not AssociationState.TEMPORARY)
        return next(confirmed, sets[0] if sets else None)

    def installed_of(self, key: RegistrationKey) -> tuple[Association, ...]:
        """The sets of a registration that are in force, oldest first."""
        return tuple(a for a in self.of_registration(key) if a.phase is Phase.INSTALLED)

    def matching(self, wanted: ListFilter) -> Iterator[Association]:
        """Return the installed associations that match every field given, as of this instant.

        What is there is noted at once, and looked at when it is asked for: nobody waits for a
        walk over all of them.
        """
        if wanted.private_identity is not None:
            noted = self.of_identity(wanted.private_identity)
        elif wanted.peer_address is not None:
            noted = self.of_peer(wanted.peer_address)
        else:
            noted = tuple(self._by_id.values())
        return (
            a
            for a in noted
            if a.phase is Phase.INSTALLED
            and wanted.endpoint in (None, a.endpoint)
            and wanted.peer_address in (None, a.path.peer_address)
            and wanted.mechanism in (None, a.mechanism)
            and wanted.state in (None, a.state)
            and (wanted.deadline_until is None or a.deadline_at <= wanted.deadline_until)
        )


def _same_keys(known: Association, association: Association) -> bool:
    """Whether two values of an association stand in the same places of every index."""
    same_parameters = (
        known.ipsec_3gpp is association.ipsec_3gpp
        and known.ipsec_man is association.ipsec_man
        and known.tls is association.tls
        and known.ipsec_ike is association.ipsec_ike
        and known.endpoint == association.endpoint
        and known.mechanism == association.mechanism
    )
    return (
        known.private_identity == association.private_identity
        and known.reqid_in == association.reqid_in
        and known.reqid_out == association.reqid_out
        and (same_parameters or _path_keys(known) == _path_keys(association))
    )


def _path_keys(association: Association) -> tuple[object, ...]:
    path = association.path
    return (
        association.registration,
        path.peer_ports,
        path.local_spis,
        path.peer_spis,
        association.sa_peer_address,
    )


def _spi_keys(association: Association) -> list[_SpiKey]:
    path = association.path
    local, peer = path.local_address, association.sa_peer_address
    return [
        *[(local, spi) for spi in path.local_spis],
        *[(peer, spi) for spi in path.peer_spis],
    ]
