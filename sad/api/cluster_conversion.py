"""From the daemon's values of more than one node to the shapes of operators. Pure.

A part of :mod:`sad.api.conversion`.
"""

from sad.api import cluster_messages as messages
from sad.api.instants import microseconds
from sad.model.cluster import ClusterAssociation, ClusterStatus


def association(found: ClusterAssociation) -> messages.ClusterAssociation:
    """Show an association of some node."""
    shown = found.association
    return messages.ClusterAssociation(
        owner=found.owner,
        endpoint=shown.endpoint,
        id=shown.id,
        private_identity=shown.private_identity,
        mechanism=shown.mechanism,
        state=shown.state,
        peer_address=shown.path.peer_address,
        expires_at=microseconds(found.expires_at),
    )


def status(found: ClusterStatus | None) -> messages.ClusterStatus | None:
    """Show this node's place in its cluster."""
    if found is None:
        return None
    return messages.ClusterStatus(
        cluster=found.cluster,
        node=found.node,
        etcd=found.etcd,
        etcd_hint=found.etcd_hint,
        waiting=found.waiting,
        lag=microseconds(found.lag_seconds),
        compare_wanted=found.compare_wanted,
        endpoints=tuple(
            messages.ClusterEndpoint(
                endpoint=e.endpoint,
                mode=e.mode,
                state=e.state,
                owner=e.owner,
                epoch=e.epoch,
                set_aside=e.set_aside,
            )
            for e in found.endpoints
        ),
        nodes=tuple(
            messages.ClusterNode(
                name=n.name,
                since=microseconds(n.since),
                version=n.version,
                clock_ahead=microseconds(n.clock_ahead_seconds),
            )
            for n in found.nodes
        ),
    )
