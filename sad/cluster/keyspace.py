"""Where things lie in etcd. Every key begins with ``/sad/v1/<cluster>/``.

=======================  ==========  ==============================================================
key                      lease       value
=======================  ==========  ==============================================================
``proof``                none        a sealed word that every node must be able to open
``nodes/NODE``           its node    since when it lives, its version, its clock
``ownership/EP/owner``   none        the owner's name, empty: released. Its revision is the epoch,
                                     compared by all that an owner writes
``ownership/EP/held``    its owner   the owner's name; only in mode ``automatic``
``ownership/EP/asked``   its asker   the name of a node that an operator wants it at
``associations/EP/ID``   none        the association, sealed
``keys/EP/ID``           none        IK and CK of its set, sealed; written once
``counters/EP/ID``       none        sequence numbers of its SAs, sealed
``floors/EP/NUMBER``     none        where sets went on at the last takeover, a thousand in each,
                                     sealed; below it no number is fresh
``limits/NAME/NODE``     its node    sets of a private identity; NAME is a keyed hash of it
=======================  ==========  ==============================================================
"""

from dataclasses import dataclass

#: Names of clusters, nodes and endpoints: no separator, so that keys can be taken apart again.
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The keys of one cluster."""

    cluster: str

    @property
    def root(self) -> str:
        """What all keys begin with."""
        return f"/sad/v1/{self.cluster}/"

    @property
    def proof(self) -> str:
        """That all nodes seal with the same key."""
        return f"{self.root}proof"

    def node(self, node: str) -> str:
        """A living node."""
        return f"{self.nodes}{node}"

    @property
    def nodes(self) -> str:
        """All living nodes."""
        return f"{self.root}nodes/"

    @property
    def ownership(self) -> str:
        """Everything that says whose an endpoint is."""
        return f"{self.root}ownership/"

    def owner(self, endpoint: str) -> str:
        """Whose an endpoint is."""
        return f"{self.ownership}{endpoint}/owner"

    def held(self, endpoint: str) -> str:
        """That its owner lives."""
        return f"{self.ownership}{endpoint}/held"

    def asked(self, endpoint: str) -> str:
        """Who asks for it."""
        return f"{self.ownership}{endpoint}/asked"

    def associations(self, endpoint: str = "") -> str:
        """The associations of an endpoint, or of all."""
        return f"{self.root}associations/" + (f"{endpoint}/" if endpoint else "")

    def keys(self, endpoint: str) -> str:
        """The keys of an endpoint's sets."""
        return f"{self.root}keys/{endpoint}/"

    def counters(self, endpoint: str) -> str:
        """The sequence numbers of an endpoint's sets."""
        return f"{self.root}counters/{endpoint}/"

    def floors(self, endpoint: str) -> str:
        """Where the sets of an endpoint went on at the last takeover."""
        return f"{self.root}floors/{endpoint}/"

    def floor(self, endpoint: str, number: int) -> str:
        """Where some of them did."""
        return f"{self.floors(endpoint)}{number}"

    @property
    def limits(self) -> str:
        """How many sets private identities have at each node."""
        return f"{self.root}limits/"

    def association(self, endpoint: str, association_id: str) -> str:
        """One association."""
        return self.associations(endpoint) + association_id

    def key(self, endpoint: str, association_id: str) -> str:
        """The keys of one set."""
        return self.keys(endpoint) + association_id

    def counter(self, endpoint: str, association_id: str) -> str:
        """The sequence numbers of one set."""
        return self.counters(endpoint) + association_id


def id_of(key: str) -> str:
    """Return the last part of a key."""
    return key.rpartition("/")[2]
