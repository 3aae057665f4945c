"""More than one node: who owns an endpoint, and what another needs to take it over.

Nothing of it is imported without ``[cluster]`` in the settings. Pure parts decide, the shell runs
them, etcd is at the rim. Values that others need are in :mod:`sad.model.cluster`.

==================  =============================================================================
``ownership``       the state machine of an endpoint: claim, serve, yield; the one table
``events``          what happens to it, and what is to be done
``keyspace``        where what lies in etcd
``records``         what a set looks like there
``queue``           what etcd has not been told yet, bounded
``health``          how etcd does
``ports``           etcd as values and a protocol
``etcd``            the real one, over gRPC; the only importer of aetcd
``sealing``         keys and all else that lies in etcd, sealed
``proof``           that all nodes seal with the same key
``leasing``         the one lease of this node
``claims``          the ownership keys, read and claimed
``machine``        the ownerships of this node, and who waits for them
``memory``          which epochs this node has had, over a restart
``node``            the shell: events in, deeds out
``population``      sets put into the kernel, taken out, set aside
``journal``         what the journal takes, etcd is told of
``fencing``         writes that etcd takes of an owner only, by its epoch
``floors``          where sets go on, in etcd before they do
``replicator``      tells etcd what has changed
``identities``      how many sets an identity has at all nodes
``store``           what etcd knows, opened
``view``            what operators see
``operated``        what operators ask
``parts``           what these are to each other, as protocols
==================  =============================================================================

The way of a set to another node:

1. ``Install`` seals its keys at once; the journal's rows, as they are written, become sealed
   records. Both wait in a bounded queue, coalesced by association, for transactions that compare
   the epoch.
2. The kernel tells of its counters (:mod:`sad.runtime.counters`), which go the same way.
3. A takeover claims the owner key, which fences whoever had it; reads everything of the endpoint;
   opens it to :class:`~sad.model.cluster.StoredSet`; has the counters advanced past what the last
   snapshot can have missed (:mod:`sad.core.restoring`); writes them to etcd *before* the kernel
   (numbers that were used once are never used again, whoever dies here); then restores all of it
   in the kernel (:mod:`sad.runtime.restoring`).
4. Yielding blocks the endpoint's traffic by one commit (the endpoint's block policies get a
   priority above every other), reads the counters a last time, takes the SAs out.
"""
