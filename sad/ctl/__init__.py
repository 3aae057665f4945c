"""``sadctl``: what an operator sees of the daemon and may ask of it.

It imports the standard library and :mod:`sip_hooks.client` only, so that it starts at once; the
verb that explains headers imports :mod:`sip_hooks.secagree` when it runs.

=================  ==============================================================================
``__main__``       the program: command line in, exit code out
``parser``         the verbs: name, help, options, function
``looking``        verbs that look once: status, list, show, find
``tls``            the verb of TLS credential sets
``credentials``    pure: TLS credential sets as lines
``watching``       the verb that keeps looking: monitor
``topping``        the verb that draws: top
``checking``       the verb that looks at the node: check
``changing``       verbs that change something: release, reconcile
``explaining``     the verb explain: headers, without a daemon
``flows``          the verb explain: flows
``session``        one run: connection, output, and the short id of an association made whole
``output``         the terminal or pipe: width, colour, JSON
``render``         pure: status, rows, events and results as lines
``details``        pure: one association as lines
``mechanisms``     pure: what each mechanism's association is made of
``hints``          pure: what counters mean and where to look next
``words``          pure: spans of time, sizes, SPIs and states in words
``sheet``          pure: lines of a given width, with or without colour
``failures``       pure: every failure as a message, its way out and an exit code
``arguments``      pure: addresses, flows and states as people type them
``shapes``         the replies of ``sad/api/*.varlink`` as types
=================  ==============================================================================
"""
