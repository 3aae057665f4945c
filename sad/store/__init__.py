"""The journal: what was meant and what was done, so that ``kill -9`` loses nothing.

=================  ==============================================================================
``schema.sql``     the present schema, readable
``journal``        SQLite in WAL mode, one transaction for each turn of the loop; never keys
``batches``        all writes of one turn of the loop in one transaction: of journal and records
``recovery``       what can be saved from a damaged journal, for the kernel to confirm
``reboot``         its rows brought into a new boot, where sets can be rebuilt
``sealed``         sealed records of keys, by setting: bound to their set, really deleted
``sealing_key``    the credential that seals them
=================  ==============================================================================
"""
