"""Linux IPsec (XFRM) over netlink, in the words of RFC 4301. Knows the kernel, nothing of SIP.

The map, from pure to edge:

=================  ==============================================================================
``uapi``           numbers of the kernel's headers
``secret``         key bytes that never print
``model``          SA, policy, selector, operations and observations as immutable values
``schema``         the messages as pyroute2 ``nlmsg`` classes: the reference encoding
``templates``      ``struct`` templates compiled from the schema: the fast encoding, byte-equal
``decode``         dumps, notices and error answers by a header walk
``errors``         what the kernel refused, with errno and its own words
``requests``       asyncio request socket: coalesced sends, fence, every error to its request
``kernel``         :class:`~netlink.kernel.KernelIpsec`: commit, dump, get (the face of the package)
``events``         asyncio event stream of expiry, SA and policy notices; overrun is an event
=================  ==============================================================================
"""
