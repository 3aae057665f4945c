"""Messages of ``org.sipsad.Control`` about more than one node. Of :mod:`sad.api.messages`."""

from sad.api.wire import Int, Message, Word
from sad.model.association import AssociationState
from sad.model.cluster import EtcdState, OwnershipMode, OwnershipState


class ClusterEndpoint(Message, frozen=True, kw_only=True):
    """Whose an endpoint is."""

    endpoint: str
    mode: OwnershipMode
    state: OwnershipState
    owner: str
    epoch: Int
    set_aside: Int


class ClusterNode(Message, frozen=True, kw_only=True):
    """A living node; instants and spans in microseconds."""

    name: str
    since: Int
    version: str
    clock_ahead: Int


class ClusterStatus(Message, frozen=True, kw_only=True):
    """This node's place in its cluster; ``lag`` in microseconds."""

    cluster: str
    node: str
    etcd: EtcdState
    etcd_hint: str
    waiting: Int
    lag: Int
    compare_wanted: tuple[str, ...]
    endpoints: tuple[ClusterEndpoint, ...]
    nodes: tuple[ClusterNode, ...]


class ClusterAssociation(Message, frozen=True, kw_only=True):
    """An association of some node, as etcd has it."""

    owner: str
    endpoint: str
    id: str
    private_identity: str
    mechanism: str
    state: AssociationState
    peer_address: str
    expires_at: Int


class ListClusterIn(Message, frozen=True, kw_only=True):
    """Nothing."""


class ListClusterOut(Message, frozen=True, kw_only=True):
    """One of them; null: there is none."""

    association: ClusterAssociation | None


class TakeoverIn(Message, frozen=True, kw_only=True):
    """Which endpoint; ``fenced``: its owner is down or cut off, for certain."""

    endpoint: Word
    fenced: bool | None = None


class TakeoverOut(Message, frozen=True, kw_only=True):
    """What became of its sets; ``took`` in microseconds."""

    restored: Int
    lost: Int
    took: Int
