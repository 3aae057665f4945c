"""SPIs, client ports and reqids from their pools. Randomness is an argument."""

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Final

from sad.core.table import AssociationTable
from sad.model.association import Association
from sad.model.endpoint import Endpoint
from sad.model.errors import PoolExhausted

#: ``randbelow(n)`` returns a uniform integer of [0, n), as ``secrets.randbelow`` does.
RandBelow = Callable[[int], int]

_RANDOM_TRIES: Final = 64


def choose_from_range(
    low: int,
    high: int,
    taken: Callable[[int], bool],
    randbelow: RandBelow,
    avoid: Collection[int] = (),
) -> int | None:
    """Return a random free value of [low, high], or None if none is free.

    Free is what is not ``taken`` and not in ``avoid``.

    Random, not counting: counters that run beside the address pool collapse the kernel's hash
    chains, and T33-7.1-h wants random SPIs. A nearly full pool is walked from a random start.
    """
    size = high - low + 1
    for _ in range(min(_RANDOM_TRIES, 4 * size)):
        value = low + randbelow(size)
        if value not in avoid and not taken(value):
            return value
    start = randbelow(size)
    for offset in range(size):
        value = low + (start + offset) % size
        if value not in avoid and not taken(value):
            return value
    return None


def choose_spi(
    endpoint: Endpoint,
    local_address: str,
    avoid: frozenset[int],
    table: AssociationTable,
    randbelow: RandBelow,
) -> int:
    """Return an SPI free at ``local_address`` and not in ``avoid``.

    ``avoid`` holds the peer's two SPIs (T33-7.1-h: different, against reflection) and own ones
    chosen already.
    """
    low, high = endpoint.spi_range
    taken = functools.partial(table.spi_taken, local_address)
    spi = choose_from_range(low, high, taken, randbelow, avoid)
    if spi is None:
        raise PoolExhausted(
            pool=f"SPIs of endpoint {endpoint.name}",
            size=high - low + 1,
            hint="widen spi_range of the endpoint",
        )
    return spi


def choose_client_port(
    endpoint: Endpoint,
    peer_address: str,
    peer_server_port: int,
    table: AssociationTable,
    leaving: Collection[str] = (),
) -> int:
    """Return a client port for a new set toward a peer.

    Preferred: one that no live set of that peer address uses (design section 2). Several phones
    may share an address; then one that no set of this registration uses will do, because the
    peer's ports still tell the flows apart. ``leaving`` are sets that will be gone. The search
    begins behind the port of the registration's newest set: a peer may hold the set before it
    for longer than this node does, until its own transactions have ended (T24-UE-5).
    """

    def used_by(sets: Iterable[Association]) -> set[int]:
        return {a.path.local_ports[0] for a in sets if a.id not in leaving}

    ports = endpoint.client_ports
    of_peer = table.of_peer(peer_address)
    if ports and not of_peer:
        return ports[0]  # as almost always
    of_address = used_by(of_peer)
    registration = table.of_peer_port(peer_address, peer_server_port)
    of_registration = used_by(registration)
    newest = registration[-1].path.local_ports[0] if registration else None
    start = ports.index(newest) + 1 if newest in ports else 0
    for used in (of_address, of_registration):
        for port in (*ports[start:], *ports[:start]):
            if port not in used:
                return port
    raise PoolExhausted(
        pool=f"client ports of endpoint {endpoint.name} toward {peer_address}",
        size=len(endpoint.client_ports),
        hint="widen client_ports of the endpoint, or release old sets of this peer",
    )


def choose_reqid(
    reqid_range: tuple[int, int],
    table: AssociationTable,
    avoid: frozenset[int],
    randbelow: RandBelow,
) -> int:
    """Return a reqid that no live association uses."""
    low, high = reqid_range
    reqid = choose_from_range(low, high, table.reqid_taken, randbelow, avoid)
    if reqid is None:
        raise PoolExhausted(pool="reqids", size=high - low + 1, hint="widen kernel.reqid_range")
    return reqid
