"""What operators ask of the cluster: an endpoint here, or why not; and what all nodes have."""

import asyncio

from sad.cluster.events import TakeoverGivenUp, TakeoverWanted
from sad.cluster.node import ClusterNode
from sad.cluster.population import Population
from sad.cluster.ports import EtcdError
from sad.cluster.store import Store
from sad.model.cluster import (
    ClusterAssociation,
    EtcdState,
    OwnershipMode,
    OwnershipState,
    TakeoverReport,
)
from sad.model.errors import NoCluster, NoSuchEndpoint, TakeoverRefused


class Operated:
    """Answers operators; ``seconds`` is how long an owner may take to give an endpoint."""

    def __init__(
        self, node: ClusterNode, population: Population, store: Store, seconds: float
    ) -> None:
        self._node = node
        self._population = population
        self._store = store
        self._seconds = seconds

    async def associations(self) -> list[ClusterAssociation]:
        """Return those of all nodes, out of etcd. Raises NoCluster."""
        try:
            found = await self._store.of_all()
        except EtcdError as error:
            raise NoCluster(reason=f"etcd: {error}", hint=error.hint) from error
        return [
            ClusterAssociation(
                owner=record.node, association=record.association, expires_at=record.expires_at
            )
            for _, record in found
        ]

    async def take_over(self, endpoint: str, *, fenced: bool) -> TakeoverReport:
        """Bring an endpoint here; nothing is done if it is here already.

        Without ``fenced`` its owner is asked for it; with it the operator says that the owner is
        down or cut off. Raises NoSuchEndpoint, TakeoverRefused.
        """
        ownership = self._node.machine.ownership(endpoint)
        if ownership is None:
            raise NoSuchEndpoint(endpoint=endpoint)
        if ownership.state in (OwnershipState.OWNER, OwnershipState.UNSURE):
            return TakeoverReport(restored=0, lost=0, seconds=0.0)
        if ownership.mode is OwnershipMode.FIXED and ownership.seen.owner not in (
            "",
            ownership.node,
        ):
            raise self._refusal(
                endpoint,
                "it is fixed, and another node has one of this name",
                "names of endpoints are the whole cluster's: rename one, or set takeover",
            )
        self._population.takeovers.pop(endpoint, None)
        self._node.machine.feed(endpoint, TakeoverWanted(fenced))
        try:
            async with asyncio.timeout(self._seconds):
                await self._node.machine.until_open(endpoint)
        except TimeoutError:
            raise self._late(endpoint, fenced=fenced) from None
        finally:
            self._node.machine.feed(endpoint, TakeoverGivenUp())
        done = self._population.takeovers.get(endpoint)
        return done or TakeoverReport(restored=0, lost=0, seconds=0.0)

    def _late(self, endpoint: str, *, fenced: bool) -> TakeoverRefused:
        health = self._node.health
        if health.state in (EtcdState.GONE, EtcdState.REFUSING, EtcdState.FULL):
            return self._refusal(endpoint, f"etcd is {health.state}", health.hint)
        if fenced:
            return self._refusal(
                endpoint, "its sets are still on their way", "sadctl status says how far it is"
            )
        return self._refusal(
            endpoint,
            "its owner did not give it",
            "look at the owner; if it is down or cut off for certain: --fenced",
        )

    def _refusal(self, endpoint: str, reason: str, hint: str) -> TakeoverRefused:
        ownership = self._node.machine.ownership(endpoint)
        owner = "" if ownership is None else ownership.seen.owner
        return TakeoverRefused(endpoint=endpoint, owner=owner, reason=reason, hint=hint)
