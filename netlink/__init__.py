"""Linux IPsec (XFRM) over netlink, in the words of RFC 4301. Knows the kernel, nothing of SIP.

The map, from pure to edge:

=================  ==============================================================================
``uapi``           numbers of the kernel's headers
``secret``         key bytes that never print
``model``          SA, policy, selector, operations and observations as immutable values
``interface``      what may be asked of the kernel, as a protocol
``structs``        the structs of linux/xfrm.h as field lists
``schema``         the messages as pyroute2 ``nlmsg`` classes
``reference``      the model's requests in those messages: the reference encoding
``layout``         learning from an encoding where its variables lie
``forms``          what varies in each form of request
``templates``      the fast encoding, compiled from the reference and byte-equal to it
``bundles``        operations that come together again and again: one ``struct`` call for all
``frames``         many bundles of one form, encoded value by value
``walk``           walking messages and attributes in a buffer
``decode``         dumps and error answers by a header walk
``decode_events``  ... and notices
``known``          entries of a dump that are as they were installed, told by their bytes
``errors``         what the kernel refused, with errno and its own words
``sockets``        opening a netlink socket
``requests``       asyncio request socket: coalesced sends, fence, every error to its request
``chunks``         its books: who asked for what, in which send
``tables``         whole tables, read in slices
``kernel``         :class:`~netlink.kernel.KernelIpsec`: commit, dump, get (the face)
``datagrams``      many datagrams by one system call
``notices``        asyncio stream of a multicast group's notices; overrun is an event
``events``         the notices of XFRM: expiry, SAs, policies, NAT mappings
``tcp``            TCP connections with cookie and state as immutable values
``diag``           questions and answers of NETLINK_SOCK_DIAG about TCP
``connections``    finding TCP connections and ending them, never a listener
``connection_events``  the notices of TCP connections that have ended
``statistics``     the kernel's counters of IPsec errors
``addresses``      the node's own addresses, kept current
=================  ==============================================================================
"""
