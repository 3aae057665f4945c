"""What is looked at when somebody asks: the daemon's status as metrics."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from sad.metrics.cluster import cluster_metrics
from sad.metrics.families import Values, gauge
from sad.model.inspection import Expiry
from sad.model.views import DaemonState, Status

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
        yield gauge(
            "sad_build_info", "The version that runs", ("version",), {(status.version,): 1.0}
        )
        yield gauge(
            "sad_start_time_seconds", "When the daemon started", (), {(): status.started_at}
        )
        yield gauge(
            "sad_state",
            "1 for the state in which the daemon is",
            ("state",),
            {(s,): float(s == str(status.state)) for s in _STATES},
        )
        yield gauge(
            "sad_associations",
            "Associations by mechanism and state",
            ("mechanism", "state"),
            {(m, s): float(n) for m, s, n in status.associations},
        )
        yield gauge(
            "sad_endpoint_associations",
            "Associations on each endpoint",
            ("endpoint",),
            {(e.name,): float(e.associations) for e in status.endpoints},
        )
        yield gauge(
            "sad_algorithms_missing",
            "Algorithms of an endpoint that this kernel lacks",
            ("endpoint",),
            {(e.name,): float(len(e.unavailable)) for e in status.endpoints},
        )
        yield from self._pools(status)
        yield from self._kernel(status)
        if status.last_reconcile is not None:
            yield gauge(
                "sad_reconcile_last_timestamp_seconds",
                "When kernel and journal were last compared",
                (),
                {(): status.last_reconcile.at},
            )
        yield from self._of_connections()
        if status.cluster is not None:
            yield from cluster_metrics(status.cluster)
        yield gauge(
            "sad_expiry_timestamp_seconds",
            "When a certificate or a key of this node ends",
            ("kind", "name"),
            {(e.kind, e.name): e.at for e in self._expiries()},
        )

    def _pools(self, status: Status) -> Iterator[Metric]:
        labels = ("pool", "endpoint")
        used: Values = {(p.name, p.endpoint): float(p.used) for p in status.pools}
        size: Values = {(p.name, p.endpoint): float(p.size) for p in status.pools}
        yield gauge("sad_pool_used", "How much of a pool is used", labels, used)
        yield gauge("sad_pool_size", "How much a pool holds", labels, size)

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
        yield gauge("sad_connections", "Connections to the socket", (), {(): float(now)})
        for name, help_text, value in (
            ("sad_connections_accepted", "Connections accepted", accepted),
            (
                "sad_connections_refused",
                "Connections refused because there were too many",
                refused,
            ),
        ):
            yield CounterMetricFamily(name, help_text, value=float(value))
