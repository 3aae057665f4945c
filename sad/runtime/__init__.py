"""The imperative shell: everything that waits, and nothing that decides.

=================  ==============================================================================
``ports``          what the shell needs from the world, as protocols
``service``        the daemon behind the socket: install, confirm, release, find, list
``gate``           who may, and is there such a thing
``turns``          how many calls are worked on at once, who waits, who is told to come again
``offers``         what a hook asks about an agreement: screen, offer, verify
``attaching``      TLS connections get their associations, and what follows when they end
``installs``       putting a decided association into force, all or nothing
``changes``        how associations change, and what becomes of older ones with them
``releases``       associations end because a SIP server or an operator says so
``endings``        how associations end, each under its registration's lock
``locks``          one queue for each registration
``background``     what goes on although its caller has left
``reconciler``     kernel against journal: at start, on notice, on a schedule, on demand
``rebuilds``       what the kernel has lost made again from sealed records, by setting
``counters``       where sequence numbers of sets stand, for another node to go on from
``restoring``      sets from another node put into force here, a whole endpoint in one go
``reloading``      how changed settings are taken over
``deadlines``      one heap and one timer
``timer``          a timerfd on CLOCK_BOOTTIME
``chance``         random numbers of the kernel, by the page
``story``          the life of an association as log records, each step with its MESSAGE_ID
``watch``          events to Monitor subscribers, bounded
``service_manager``  systemd: notify, sockets, watchdog, journal; its only importer
=================  ==============================================================================
"""
