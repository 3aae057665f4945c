"""Indexes of the associations that cost next to nothing for one that stands alone.

Nearly every SPI, and nearly every address of a peer, is of one association. There its id stands
for itself and the association tells the rest; where several meet they are kept apart by a
dictionary, so that no look-up is ever longer for what others chose.
"""

from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from sad.model.association import Association

_K = TypeVar("_K")
#: Ids in their order. One alone stands for itself: nearly all do, and a dictionary for each takes
#: more than the association.
Index: TypeAlias = dict[_K, str | dict[str, None]]


def enter(index: Index[_K], key: _K, association_id: str) -> None:
    """Add an id to those of a key, as its newest."""
    known = index.get(key)
    if known is None:
        index[key] = association_id
    elif isinstance(known, str):
        index[key] = {known: None, association_id: None}
    else:
        known[association_id] = None


def leave(index: Index[_K], key: _K, association_id: str) -> None:
    """Take an id from those of a key, which has it."""
    known = index[key]
    if isinstance(known, str):
        del index[key]
        return
    del known[association_id]
    if len(known) == 1:
        index[key] = next(iter(known))


class SpiIndex:
    """Whose SA a destination and an SPI name. ``by_id`` are the associations in it."""

    def __init__(self, by_id: Mapping[str, Association]) -> None:
        self._by_id = by_id
        self._known: dict[int, str | dict[str, str]] = {}

    def enter(self, association: Association) -> None:
        """Add an association, which is in ``by_id``; the newest owns what two claim."""
        for destination, spi in _named(association):
            known = self._known.get(spi)
            if known is None:
                self._known[spi] = association.id
                continue
            if isinstance(known, str):
                alone = self._by_id[known]
                known = {d: known for d, s in _named(alone) if s == spi}
                self._known[spi] = known
            known[destination] = association.id

    def leave(self, association: Association) -> None:
        """Take an association out, which is in it."""
        for destination, spi in _named(association):
            known = self._known.get(spi)
            if isinstance(known, str):
                if known == association.id:
                    del self._known[spi]
            elif known is not None and known.get(destination) == association.id:
                del known[destination]
                if not known:
                    del self._known[spi]

    def owner(self, destination: str, spi: int) -> str | None:
        """Return the id of whose it is."""
        known = self._known.get(spi)
        if isinstance(known, str):
            return known if (destination, spi) in _named(self._by_id[known]) else None
        return None if known is None else known.get(destination)


def _named(association: Association) -> list[tuple[str, int]]:
    """Return destination and SPI of each SA."""
    path = association.path
    local, peer = path.local_address, association.sa_peer_address
    return [
        *[(local, spi) for spi in path.local_spis],
        *[(peer, spi) for spi in path.peer_spis],
    ]


class _Crowd:
    """Several associations with one address of a peer."""

    __slots__ = ("by_port", "ids")

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.by_port: Index[int] = {}

    def enter(self, association: Association) -> None:
        self.ids[association.id] = None
        for port in set(association.path.peer_ports):
            enter(self.by_port, port, association.id)

    def leave(self, association: Association) -> None:
        del self.ids[association.id]
        for port in set(association.path.peer_ports):
            leave(self.by_port, port, association.id)


class PeerIndex:
    """The associations with an address of a peer, and with one of its ports."""

    def __init__(self, by_id: Mapping[str, Association]) -> None:
        self._by_id = by_id
        self._known: dict[str, str | _Crowd] = {}

    def enter(self, association: Association) -> None:
        """Add an association as the newest."""
        address = association.path.peer_address
        known = self._known.get(address)
        if known is None:
            self._known[address] = association.id
            return
        if isinstance(known, str):
            alone, known = self._by_id[known], _Crowd()
            known.enter(alone)
            self._known[address] = known
        known.enter(association)

    def leave(self, association: Association) -> None:
        """Take an association out, which is in it."""
        address = association.path.peer_address
        known = self._known[address]
        if isinstance(known, str):
            del self._known[address]
            return
        known.leave(association)
        if len(known.ids) == 1:
            self._known[address] = next(iter(known.ids))

    def is_alone(self, address: str) -> bool:
        """Whether there is one association with this address."""
        return isinstance(self._known.get(address), str)

    def of(self, address: str) -> tuple[str, ...]:
        """Return the ids of those with an address, oldest first."""
        known = self._known.get(address)
        if isinstance(known, str):
            return (known,)
        return () if known is None else tuple(known.ids)

    def of_port(self, address: str, port: int) -> tuple[str, ...]:
        """Return the ids of those with an address and a port, oldest first."""
        known = self._known.get(address)
        if isinstance(known, str):
            return (known,) if port in self._by_id[known].path.peer_ports else ()
        ids = None if known is None else known.by_port.get(port)
        if ids is None:
            return ()
        return (ids,) if isinstance(ids, str) else tuple(ids)
