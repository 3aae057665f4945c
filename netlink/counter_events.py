"""The kernel's notices of counters (group AEVENTS), so that another node can go on from there.

Why notices and no dumps: a dump of 100 000 sets reads 400 000 SAs, moved or not, while a notice
is of an SA that has carried packets; a dump costs as much CPU as two notices of each SA that it
reads (tests/bench/counters.py). The kernel tells of an SA at its first packet after a quiet
while, and then at most once in ``net.core.xfrm_aevent_etime`` (in 100 ms; 10 as it comes, so once
a second), for those SAs that were added with ``tell_counters``; of all others also at every other
packet (``net.core.xfrm_aevent_rseqth``), which a flood makes dear. Nobody is told while nobody
listens.

As every notice these are hints: after an overrun a dump says where things stand
(:meth:`netlink.interface.Kernel.dump_counters`).
"""

import socket
from collections.abc import Callable
from typing import Final

from netlink import counters
from netlink.counters import ObservedCounters
from netlink.model import Overrun
from netlink.notices import NoticeStream
from netlink.sockets import ignore_port, open_socket
from netlink.uapi import XFRMNLGRP_AEVENTS

COUNTER_BUFFER: Final = 8 << 20


class CounterStream(NoticeStream[ObservedCounters]):
    """Calls ``deliver`` with each notice, in order, from the running loop until :meth:`close`.

    Parameters are those of :class:`netlink.events.EventStream`. Raises OSError.
    """

    def __init__(
        self,
        deliver: Callable[[ObservedCounters | Overrun], None],
        *,
        buffer_bytes: int = COUNTER_BUFFER,
        ignored_port: int | None = None,
        opened: socket.socket | None = None,
    ) -> None:
        groups = (XFRMNLGRP_AEVENTS,)
        listening = open_socket(buffer_bytes, groups) if opened is None else opened
        if ignored_port is not None:
            ignore_port(listening, ignored_port)
        super().__init__(deliver, listening, counters.NOTICES)
