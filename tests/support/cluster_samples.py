"""A node's place in a cluster, as a sample."""

from sad.model.cluster import (
    ClusterStatus,
    EndpointOwnership,
    EtcdState,
    NodeView,
    OwnershipMode,
    OwnershipState,
)

CLUSTER_STATUS = ClusterStatus(
    cluster="edge",
    node="a",
    etcd=EtcdState.WELL,
    etcd_hint="",
    waiting=3,
    lag_seconds=0.25,
    compare_wanted=(),
    endpoints=(
        EndpointOwnership(
            endpoint="access",
            mode=OwnershipMode.MANUAL,
            state=OwnershipState.OWNER,
            owner="a",
            epoch=17,
        ),
    ),
    nodes=(
        NodeView(name="a", since=1_700_000_000.0, version="0.1.0"),
        NodeView(name="b", since=1_700_000_100.0, version="0.1.0", clock_ahead_seconds=3.0),
    ),
)
