"""The associations in memory: one dictionary and the indexes that decisions need.

Mutable, but without I/O. The values are immutable; every change replaces a value whole, so that
an index can never drift from its association.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from sad.core.indexes import Index, PeerIndex, SpiIndex, enter, leave
from sad.core.pending import PendingOffers
from sad.model.association import Association, AssociationState, Phase, RegistrationKey
from sad.model.requests import Flow, ListFilter

#: Endpoint, mechanism and state of an association.
TallyKey: TypeAlias = tuple[str, str, AssociationState]


class AssociationTable:
    """Every association that is installing, installed or being removed."""

    def __init__(self) -> None:
        self._by_id: dict[str, Association] = {}
        self._by_registration: Index[RegistrationKey] = {}
        self._by_identity: Index[str] = {}
        self._by_peer = PeerIndex(self._by_id)
        self._by_spi = SpiIndex(self._by_id)
        self._reqids: dict[int, int] = {}
        self._tally: dict[TallyKey, int] = {}
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
                if known.state is not association.state:
                    self._count(known, -1)
                    self._count(association, 1)
                return
            self.remove(association.id)
        self._by_id[association.id] = association
        enter(self._by_registration, association.registration, association.id)
        enter(self._by_identity, association.private_identity, association.id)
        self._by_peer.enter(association)
        self._by_spi.enter(association)
        for reqid in (association.reqid_in, *association.reqid_out):
            self._reqids[reqid] = self._reqids.get(reqid, 0) + 1
        self.pending.follow(None, association)
        self._count(association, 1)

    def remove(self, association_id: str) -> None:
        """Forget an association; unknown ids are ignored."""
        association = self._by_id.pop(association_id, None)
        if association is None:
            return
        self.pending.follow(association, None)
        self._count(association, -1)
        leave(self._by_registration, association.registration, association_id)
        leave(self._by_identity, association.private_identity, association_id)
        self._by_peer.leave(association)
        self._by_spi.leave(association)
        for reqid in (association.reqid_in, *association.reqid_out):
            self._reqids[reqid] -= 1
            if not self._reqids[reqid]:
                del self._reqids[reqid]

    def _count(self, association: Association, change: int) -> None:
        key = association.endpoint, association.mechanism, association.state
        number = self._tally.get(key, 0) + change
        if number:
            self._tally[key] = number
        else:
            del self._tally[key]

    @property
    def tally(self) -> Mapping[TallyKey, int]:
        """How many there are of each endpoint, mechanism and state.

        Kept, for nobody may wait while very many are counted.
        """
        return self._tally

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

    def of_mechanism(self, mechanism: str) -> tuple[Association, ...]:
        """All associations of a mechanism, oldest first; at once where there are none."""
        if all(mechanism != of_any for _, of_any, _ in self._tally):
            return ()
        return tuple([a for a in self._by_id.values() if a.mechanism == mechanism])

    def of_peer(self, address: str) -> tuple[Association, ...]:
        """All associations with a peer address."""
        return tuple([self._by_id[i] for i in self._by_peer.of(address)])

    def of_peer_port(self, address: str, port: int) -> tuple[Association, ...]:
        """All associations with one of the peer's two protected ports."""
        return tuple([self._by_id[i] for i in self._by_peer.of_port(address, port)])

    def _members(self, ids: str | dict[str, None]) -> tuple[Association, ...]:
        if isinstance(ids, str):
            return (self._by_id[ids],)
        return tuple([self._by_id[i] for i in ids])

    def of_spi(self, destination: str, spi: int) -> Association | None:
        """The association that owns an SA of this destination and SPI."""
        owner = self._by_spi.owner(destination, spi)
        return None if owner is None else self._by_id[owner]

    def spi_taken(self, destination: str, spi: int) -> bool:
        """Whether an association owns an SA of this destination and SPI."""
        return self._by_spi.owner(destination, spi) is not None

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

    def is_alone(self, association: Association) -> bool:
        """Whether no other set is of the same registration."""
        if self._by_peer.is_alone(association.path.peer_address):
            return True
        return len(self.of_registration(association.registration)) == 1

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
