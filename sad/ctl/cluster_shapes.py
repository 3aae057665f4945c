"""The replies about more than one node, as types; a part of :mod:`sad.ctl.shapes`."""

from typing import NotRequired, TypedDict


class ClusterEndpoint(TypedDict):
    """Whose an endpoint is."""

    endpoint: str
    mode: str
    state: str
    owner: str
    epoch: int
    setAside: int


class ClusterNode(TypedDict):
    """A living node."""

    name: str
    since: int
    version: str
    clockAhead: int


class ClusterStatus(TypedDict):
    """The daemon's place in its cluster."""

    cluster: str
    node: str
    etcd: str
    etcdHint: str
    waiting: int
    lag: int
    compareWanted: list[str]
    endpoints: list[ClusterEndpoint]
    nodes: list[ClusterNode]


class ClusterAssociation(TypedDict):
    """An association of some node."""

    owner: str
    endpoint: str
    id: str
    privateIdentity: str
    mechanism: str
    state: str
    peerAddress: str
    expiresAt: int


class ListClusterOut(TypedDict):
    """One reply of ``ListCluster``."""

    association: NotRequired[ClusterAssociation | None]


class TakeoverOut(TypedDict):
    """Reply of ``Takeover``."""

    restored: int
    lost: int
    took: int
