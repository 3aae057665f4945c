"""More than one node as metrics; nothing of a node that is alone."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from sad.metrics.families import gauge
from sad.model.cluster import ClusterStatus, EtcdState, OwnershipState

_ETCD: Final = tuple(str(state) for state in EtcdState)
_OWNERSHIP: Final = tuple(str(state) for state in OwnershipState)


def cluster_metrics(cluster: ClusterStatus) -> Iterator[Metric]:
    """Return this node's place in its cluster."""
    yield gauge(
        "sad_cluster_etcd_state",
        "1 for how etcd does, as this node sees it",
        ("state",),
        {(s,): float(s == str(cluster.etcd)) for s in _ETCD},
    )
    yield gauge(
        "sad_cluster_ownership",
        "1 for where this node stands with an endpoint",
        ("endpoint", "state"),
        {(e.endpoint, s): float(s == str(e.state)) for e in cluster.endpoints for s in _OWNERSHIP},
    )
    yield gauge(
        "sad_cluster_waiting_changes",
        "Changes of associations that etcd has not been told yet",
        (),
        {(): float(cluster.waiting)},
    )
    yield gauge(
        "sad_cluster_lag_seconds",
        "Age of the oldest of them: what a takeover at this instant would not know",
        (),
        {(): cluster.lag_seconds},
    )
    yield gauge(
        "sad_cluster_nodes",
        "Nodes that live, this one included",
        (),
        {(): float(len(cluster.nodes))},
    )
    clocks = GaugeMetricFamily(
        "sad_cluster_clock_ahead_seconds",
        "How far the clock of another node is ahead of ours",
        labels=("node",),
    )
    for node in cluster.nodes:
        if node.name != cluster.node:
            clocks.add_metric((node.name,), node.clock_ahead_seconds)
    yield clocks
