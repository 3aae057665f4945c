"""That all nodes of a cluster seal with the same key: a sealed word in etcd that each must open.

A node with another key would find every record shut when it takes over, so it does not start.
"""

from sad.cluster.keyspace import Keyspace
from sad.cluster.ports import Etcd, Put, Unchanged
from sad.cluster.sealing import CREDENTIAL, CREDENTIAL_TO_OPEN, Row, Sealer, Unopenable
from sad.store.sealing_key import RecordsUnusable

_ROW = Row("proof", "", "")


async def prove(etcd: Etcd, keyspace: Keyspace, sealer: Sealer) -> None:
    """Open the cluster's proof, write it if there is none, and anew under the newest key.

    Raises EtcdError, and RecordsUnusable if this node has another key.
    """
    key = keyspace.proof
    found = (await etcd.read(key)).found
    if not found:
        written = await etcd.transact([Unchanged(key, 0)], [Put(key, sealer.seal(_ROW, 0, b""))])
        if written.succeeded:
            return
        found = (await etcd.read(key)).found
    for proof in found:
        try:
            sealer.open(_ROW, proof.value)
        except Unopenable as error:
            raise RecordsUnusable(
                f"the cluster's records are sealed with another key: {error}",
                f"give this node the credential {CREDENTIAL} of the others; while a key is "
                f"changed, the new one is {CREDENTIAL_TO_OPEN} at all nodes first",
            ) from None
        if not sealer.is_of_newest_key(proof.value):
            await etcd.transact(
                [Unchanged(key, proof.mod_revision)], [Put(key, sealer.seal(_ROW, 0, b""))]
            )
