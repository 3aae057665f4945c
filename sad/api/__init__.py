"""The Varlink socket of the daemon: a Unix stream socket, JSON and NUL bytes.

From text and values to edges:

=================  ==============================================================================
``*.varlink``      the interfaces: the source of truth
``idl``            reads an interface file (pure)
``wire``           what messages are made of: their base, text and numbers with limits
``messages``       inputs and outputs of the methods as strict values
``interfaces``     loads the files; what ``org.varlink.service`` answers
``framing``        messages as bytes: split, envelope, replies (pure)
``conversion``     wire shapes to daemon values and back
``credential_*``   both of these for TLS credential sets
``authorization``  who may call what (pure)
``replies``        refusals as error replies; the unforeseen as a reference
``streams``        ``List`` and ``Monitor``
``methods``        the dispatch table over ``backend``, the daemon as this package sees it
``limits``         what one client can make the daemon keep
``passing``        replies with descriptors
``edges``          bounded outbox, hang-up watch
``calls``          the calls of one connection and their replies, in order
``work``           coroutines that are worked off without a task
``connection``     one accepted connection
``listening``      the listening socket, and who is at the other end
``server``         accepts, counts, refuses
=================  ==============================================================================

``README.md`` beside this file shows the socket from a shell.
"""
