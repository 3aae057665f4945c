"""`sad`: the security association daemon of a SIP edge node.

One way for data: socket, request model, pure decision, pure plan, journal, kernel, answer.

=================  ==============================================================================
``model``          immutable values: endpoint, SA set, association, keys, requests
``core``           pure functions: validation, allocation, planning, lifecycle, reconcile
``store``          the journal (SQLite): what was meant and what was done, never keys
``credentials``    the TLS credential sets: judged, kept, handed out
``vici``           the socket by which strongSwan's charon is driven
``mechanisms``     one module for each RFC 3329 mechanism
``runtime``        the imperative shell: service, deadlines, watch, service manager
``api``            the Varlink socket: interface files, framing, authorisation, methods
``ctl``            ``sadctl``, which imports nothing of the above
``metrics``        metrics for Prometheus
``manual``         manual pages and completions, made of all of the above
``usage``          how the programs answer a wrong command line
``guard``          static packet-filter rules that keep clear text off protected ports
``config``         settings: file, environment, command line
``keys``           key files of ipsec-man: permissions, shape, lines
``cluster``        more than one node: ownership, replication, takeover; by setting, with etcd
``app``            the composition root: the only module that knows every class
``app_metrics``    metrics, put together
``app_nat``        NAT traversal, put together
``app_operating``  what answers operators, put together
``app_settings``   settings to the values that the parts are built from
``app_ike``        the parts of ipsec-ike, put together
``app_reload``     SIGHUP: what of that changes in a running daemon
=================  ==============================================================================

This module imports nothing, so that ``sadctl`` starts fast.
"""

__version__ = "0.1.0"
