"""The methods of ``org.sipsad.Control`` about more than one node; for :mod:`sad.api.methods`."""

from collections.abc import AsyncGenerator
from typing import Final, Protocol

from sad.api import cluster_conversion, replies
from sad.api import cluster_messages as messages
from sad.api.framing import Call, encode_reply
from sad.api.instants import microseconds
from sad.api.streams import CHUNK_BYTES, Stream
from sad.model.cluster import ClusterAssociation, TakeoverReport
from sad.model.errors import NoCluster
from sad.model.requests import Caller

_ALONE: Final = "this node is in no cluster"


class ClusterBackend(Protocol):
    """The cluster of this node."""

    async def take_over(self, endpoint: str, *, fenced: bool) -> TakeoverReport:
        """Bring an endpoint here. Raises NoSuchEndpoint, TakeoverRefused."""

    async def associations(self) -> list[ClusterAssociation]:
        """Return those of all nodes, out of etcd. Raises NoCluster."""


class ClusterMethods:
    """Handlers over the cluster, which there may not be."""

    def __init__(self, cluster: ClusterBackend | None) -> None:
        self._given = cluster

    @property
    def _cluster(self) -> ClusterBackend:
        if self._given is None:
            raise NoCluster(reason=_ALONE, hint="give it one by [cluster] in the settings")
        return self._given

    async def take_over(
        self, _caller: Caller, wanted: messages.TakeoverIn
    ) -> messages.TakeoverOut:
        """``Takeover``."""
        report = await self._cluster.take_over(wanted.endpoint, fenced=bool(wanted.fenced))
        return messages.TakeoverOut(
            restored=report.restored, lost=report.lost, took=microseconds(report.seconds)
        )

    def list(self, _caller: Caller, _in: messages.ListClusterIn, call: Call) -> bytes | Stream:
        """``ListCluster``."""
        cluster = self._cluster
        if not call.more:
            return replies.expected_more()
        return Stream(_listed(call.method, cluster))


async def _listed(method: str, cluster: ClusterBackend) -> AsyncGenerator[bytes, None]:
    """Reply with each; all are of one revision of etcd."""
    try:
        found = await cluster.associations()
        chunk = bytearray()
        for number, association in enumerate(found, start=1):
            shown = messages.ListClusterOut(
                association=cluster_conversion.association(association)
            )
            chunk += encode_reply(shown, continues=number < len(found))
            if len(chunk) >= CHUNK_BYTES:
                yield bytes(chunk)
                chunk.clear()
        if not found:
            chunk += encode_reply(messages.ListClusterOut(association=None))
        if chunk:
            yield bytes(chunk)
    except Exception as error:  # noqa: BLE001 - a fault in one call ends that call only
        yield replies.refusal(method, error)
