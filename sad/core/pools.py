"""How much of what can run out is used. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator

from sad.model.association import Association, AssociationState
from sad.model.endpoint import Endpoint
from sad.model.inspection import PoolUse
from sad.model.rules import Layout, Limits


def pools(
    associations: Iterable[Association],
    endpoints: Iterable[Endpoint],
    limits: Limits,
    layout: Layout,
) -> tuple[PoolUse, ...]:
    """Return the use of every pool: the daemon's limits, then those of each endpoint."""
    everybody = tuple(associations)
    return tuple(_pools(everybody, tuple(endpoints), limits, layout))


def _pools(
    everybody: tuple[Association, ...],
    endpoints: tuple[Endpoint, ...],
    limits: Limits,
    layout: Layout,
) -> Iterator[PoolUse]:
    temporary = sum(a.state is AssociationState.TEMPORARY for a in everybody)
    yield _of_daemon("associations", len(everybody), limits.max_associations)
    yield _of_daemon("temporary sets", temporary, limits.max_temporary_sets)
    reqids = {reqid for a in everybody for reqid in (a.reqid_in, *a.reqid_out) if reqid}
    low, high = layout.reqid_range
    yield _of_daemon("reqids", len(reqids), high - low + 1)
    spis = Counter[str]()
    for association in everybody:
        spis[association.endpoint] += len(association.path.local_spis)
    for endpoint in endpoints:
        low, high = endpoint.spi_range
        yield PoolUse(
            name="SPIs",
            endpoint=endpoint.name,
            used=spis[endpoint.name],
            size=high - low + 1,
        )


def _of_daemon(name: str, used: int, size: int) -> PoolUse:
    return PoolUse(name=name, endpoint="", used=used, size=size)
