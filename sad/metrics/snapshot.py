"""What is looked at when somebody asks: the daemon's status as metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sad.model.inspection import Expiry
from sad.model.views import DaemonState, Status

_Values: TypeAlias = Mapping[tuple[str, ...], float]

_STATES: Final = tuple(str(state) for state in DaemonState)


class Snapshot(Collector):
    """Collects from :class:`~sad.model.views.Status`, the socket's counts and the expiries."""

    def __init__(
        self,
        status: Callable[[], Status],
        connections: Callable[[], tuple[int, int, int]],
        expiries: Callable[[], Iterable[Expiry]],
    ) -> None:
        self._status = status
        self._connections = connections
        self._expiries = expiries

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before it is asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return this instant."""
        status = self._status()
        yield _gauge(
            "sad_build_info", "The version that runs", ("version",), {(status.version,): 1.0}
        )
        yield _gauge(
            "sad_start_time_seconds", "When the daemon started", (), {(): status.started_at}
        )
        yield _gauge(
            "sad_state",
            "1 for the state in which the daemon is",
            ("state",),
            {(s,): float(s == str(status.state)) for s in _STATES},
        )
        yield _gauge(
            "sad_associations",
            "Associations by mechanism and state",
            ("mechanism", "state"),
            {(m, s): float(n) for m, s, n in status.associations},
        )
        yield _gauge(
            "sad_endpoint_associations",
            "Associations on each endpoint",
            ("endpoint",),
            {(e.name,): float(e.associations) for e in status.endpoints},
        )
        yield _gauge(
            "sad_algorithms_missing",
            "Algorithms of an endpoint that this kernel lacks",
            ("endpoint",),
            {(e.name,): float(len(e.unavailable)) for e in status.endpoints},
        )
        yield from self._pools(status)
        yield from self._kernel(status)
        if status.last_reconcile is not None:
            yield _gauge(
                "sad_reconcile_last_timestamp_seconds",
                "When kernel and journal were last compared",
                (),
                {(): status.last_reconcile.at},
            )
        yield from self._of_connections()
        yield _gauge(
            "sad_expiry_timestamp_seconds",
            "When a certificate or a key of this node ends",
            ("kind", "name"),
            {(e.kind, e.name): e.at for e in self._expiries()},
        )

    def _pools(self, status: Status) -> Iterator[Metric]:
        labels = ("pool", "endpoint")
        used: _Values = {(p.name, p.endpoint): float(p.used) for p in status.pools}
        size: _Values = {(p.name, p.endpoint): float(p.size) for p in status.pools}
        yield _gauge("sad_pool_used", "How much of a pool is used", labels, used)
        yield _gauge("sad_pool_size", "How much a pool holds", labels, size)

    def _kernel(self, status: Status) -> Iterator[Metric]:
        stat = CounterMetricFamily(
            "sad_xfrm_stat",
            "The kernel's own counters of IPsec errors (xfrm_proc), those that are not zero",
            labels=("counter",),
        )
        for name, value in status.kernel_counters:
            stat.add_metric((name,), float(value))
        yield stat

    def _of_connections(self) -> Iterator[Metric]:
        now, accepted, refused = self._connections()
        yield _gauge("sad_connections", "Connections to the socket", (), {(): float(now)})
        for name, help_text, value in (
            ("sad_connections_accepted", "Connections accepted", accepted),
            (
                "sad_connections_refused",
                "Connections refused because there were too many",
                refused,
            ),
        ):
            yield CounterMetricFamily(name, help_text, value=float(value))


def _gauge(
    name: str, help_text: str, labels: tuple[str, ...], values: _Values
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family
