"""What operators see of the cluster: its nodes, its endpoints, what etcd has not been told."""

import json
from collections.abc import Mapping

from sad.cluster.keyspace import Keyspace
from sad.cluster.node import ClusterNode
from sad.cluster.parts import Clocks
from sad.cluster.population import Population
from sad.cluster.ports import Etcd
from sad.cluster.replicator import Replicator
from sad.model.cluster import ClusterStatus, EndpointOwnership, NodeView


def card(version: str, since: float, realtime: float) -> bytes:
    """Return what a node says of itself; instants in real-time seconds."""
    return json.dumps({"version": version, "since": since, "clock": realtime}).encode()


class View:
    """Collects what they see."""

    def __init__(
        self,
        keyspace: Keyspace,
        node: ClusterNode,
        population: Population,
        replicator: Replicator,
        etcd: Etcd,
        clock: Clocks,
    ) -> None:
        self._keyspace = keyspace
        self._node = node
        self._population = population
        self._replicator = replicator
        self._etcd = etcd
        self._clock = clock
        self._cards: dict[str, tuple[bytes, float]] = {}

    async def follow(self) -> None:
        """Read the cards of the other nodes. Raises EtcdError."""
        page = await self._etcd.read(self._keyspace.nodes)
        now = self._clock.realtime()
        cards: dict[str, tuple[bytes, float]] = {}
        for found in page.found:
            name = found.key.removeprefix(self._keyspace.nodes)
            known = self._cards.get(name)
            # How far a clock is ahead shows when a card is new: then it is as old as its way here.
            cards[name] = known if known and known[0] == found.value else (found.value, now)
        self._cards = cards

    def status(self, name: str) -> ClusterStatus:
        """Return the cluster as this node sees it, without waiting for etcd."""
        lag = self._replicator.lag()
        health = self._node.health
        return ClusterStatus(
            cluster=self._keyspace.cluster,
            node=name,
            etcd=health.state,
            etcd_hint=health.hint,
            waiting=lag.waiting,
            lag_seconds=lag.seconds,
            compare_wanted=lag.to_compare,
            endpoints=tuple(
                EndpointOwnership(
                    endpoint=o.endpoint,
                    mode=o.mode,
                    state=o.state,
                    owner=o.seen.owner,
                    epoch=o.seen.epoch,
                    set_aside=self._population.set_aside(o.endpoint),
                )
                for o in self._node.machine.ownerships()
            ),
            nodes=tuple(_view_of(name, *known) for name, known in sorted(self._cards.items())),
        )


def _view_of(name: str, value: bytes, seen_at: float) -> NodeView:
    try:
        said = json.loads(value)
    except ValueError:
        said = {}
    if not isinstance(said, Mapping):
        said = {}
    return NodeView(
        name=name,
        since=_number(said.get("since")),
        version=str(said.get("version", "?")),
        clock_ahead_seconds=_number(said.get("clock", seen_at)) - seen_at,
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
