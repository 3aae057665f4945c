"""VICI, the socket by which strongSwan's charon is driven; knows charon, knows nothing of SIP.

==============  =================================================================================
``values``      what charon tells, as immutable values: IKE SAs, their children, events. Pure
``errors``      charon is not there, refused a command, or does not speak VICI
``codec``       packets and messages; the only importer of the ``vici`` package
``connection``  one connection: one command at a time, bounded in size and time
``commands``    the commands that ``sad`` uses, on a connection that is made when it is needed
``events``      the events of charon on a connection of their own, made again when it ends
==============  =================================================================================

The package ``vici`` has only a blocking transport, so asyncio's is here; the codec is charon's
own.
"""
