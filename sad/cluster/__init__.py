"""More than one node: who owns an endpoint, and what another needs to take it over.

Nothing of it is imported without ``[cluster]`` in the settings. Pure parts decide, the shell runs
them, etcd is at the rim. Values that others need are in :mod:`sad.model.cluster`.

==================  =============================================================================
``ownership``       the state machine of an endpoint: claim, serve, yield; the one table
``keyspace``        where what lies in etcd
``ports``           etcd as values and a protocol
==================  =============================================================================

The way of a set to another node:

1. ``Install`` seals its keys at once; the journal's rows, as they are written, become sealed
   records. Both wait in a bounded queue, coalesced by key, for transactions that compare the
   epoch.
2. Counters of its SAs (:class:`~sad.model.cluster.CounterSnapshot`) are read at a bounded rate
   and go the same way.
3. A takeover claims the owner key, which fences whoever had it; reads everything of the endpoint;
   opens it to :class:`~sad.model.cluster.StoredSet`; has the counters advanced past what the last
   snapshot can have missed; writes the advanced counters to etcd *before* the kernel (numbers that
   were used once are never used again, whoever dies here); then restores all of it in the kernel.
4. Yielding blocks the endpoint's traffic by one commit (the endpoint's block policies get a
   priority above every other), reads the counters a last time, takes the SAs out.

What the kernel side offers for that, in the words of this package::

    advance(stored: StoredSet, realtime: float, ...) -> CounterSnapshot | refusal   # pure, core
    restore(sets of one endpoint, each with its advanced counters)                  # mechanisms
    snapshots(endpoint) -> CounterSnapshot of each set that changed                 # runtime
"""
