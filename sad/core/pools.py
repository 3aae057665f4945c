"""How much of what can run out is used. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from sad.model.association import AssociationState
from sad.model.endpoint import Endpoint
from sad.model.inspection import PoolUse
from sad.model.rules import Layout, Limits

#: How many associations are of an endpoint, a mechanism and a state.
Counted: TypeAlias = Mapping[tuple[str, str, AssociationState], int]

#: SPIs of ours that an association takes: one for each of its inbound SAs.
_OWN_SPIS: Final = {"ipsec-3gpp": 2, "ipsec-man": 1}


def pools(
    counted: Counted, reqids: int, endpoints: Iterable[Endpoint], limits: Limits, layout: Layout
) -> tuple[PoolUse, ...]:
    """Return the use of every pool: the daemon's limits, then those of each endpoint.

    Of counts, since a look at each of very many associations would hold everybody up.
    """
    return tuple(_pools(counted, reqids, endpoints, limits, layout))


def _pools(
    counted: Counted, reqids: int, endpoints: Iterable[Endpoint], limits: Limits, layout: Layout
) -> Iterator[PoolUse]:
    temporary = sum(n for (_, _, s), n in counted.items() if s is AssociationState.TEMPORARY)
    yield _of_daemon("associations", sum(counted.values()), limits.max_associations)
    yield _of_daemon("temporary sets", temporary, limits.max_temporary_sets)
    low, high = layout.reqid_range
    yield _of_daemon("reqids", reqids, high - low + 1)
    spis = Counter[str]()
    for (name, mechanism, _), number in counted.items():
        spis[name] += number * _OWN_SPIS.get(mechanism, 0)
    for endpoint in endpoints:
        low, high = endpoint.spi_range
        yield PoolUse(
            name="SPIs", endpoint=endpoint.name, used=spis[endpoint.name], size=high - low + 1
        )


def _of_daemon(name: str, used: int, size: int) -> PoolUse:
    return PoolUse(name=name, endpoint="", used=used, size=size)
