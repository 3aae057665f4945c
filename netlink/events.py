"""The kernel's notices of XFRM: expiry, changes of the SAD and the SPD, NAT mappings.

Hints and never the ledger, as :mod:`netlink.notices` says. The group ACQUIRE is not joined: a
listener there makes the kernel create larval associations.
"""

import socket
from collections.abc import Callable
from typing import Final

from netlink import decode_events
from netlink.model import KernelEvent
from netlink.notices import NoticeStream
from netlink.sockets import ignore_port, open_socket
from netlink.uapi import XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING, XFRMNLGRP_POLICY, XFRMNLGRP_SA

GROUPS: Final = (XFRMNLGRP_EXPIRE, XFRMNLGRP_SA, XFRMNLGRP_POLICY, XFRMNLGRP_MAPPING)
EVENT_BUFFER: Final = 8 << 20


class EventStream(NoticeStream[KernelEvent]):
    """Calls ``deliver`` with each event, in order, from the running loop until :meth:`close`.

    ``buffer_bytes`` is the receive buffer asked for; a notice costs about 1.3 KB of it. What was
    done over the netlink port ``ignored_port`` is not told: 20 000 endings of our own would else
    run the buffer over. ``opened`` may be a socket opened elsewhere (in another network
    namespace); it is closed with the stream. Raises OSError.
    """

    def __init__(
        self,
        deliver: Callable[[KernelEvent], None],
        *,
        buffer_bytes: int = EVENT_BUFFER,
        ignored_port: int | None = None,
        opened: socket.socket | None = None,
    ) -> None:
        listening = open_socket(buffer_bytes, GROUPS) if opened is None else opened
        if ignored_port is not None:
            ignore_port(listening, ignored_port)
        super().__init__(deliver, listening, decode_events.NOTICES)
