"""What lies in the kernels of several nodes, as one log in the kernel's own order.

The nodes of a test share one kernel. A netlink socket that listens to all network namespaces
(NETLINK_LISTEN_ALL_NSID) has the notices of all of them in one queue, in the order in which things
happened: so there is one clock, and no question of which node was read first. It is told by the
kernels alone and asks no daemon anything.
"""

import dataclasses
import itertools
import struct
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, Self

from netlink import decode, decode_events
from netlink.model import SaAdded, SaDeleted, SadFlushed, SaExpired, SaId
from netlink.sockets import open_socket
from netlink.uapi import NETLINK_ADD_MEMBERSHIP, SOL_NETLINK, XFRMNLGRP_EXPIRE, XFRMNLGRP_SA
from tests.support.make import OWNER
from tests.support.namespaces import Namespace

_LISTEN_ALL_NSID: Final = 8  # linux/netlink.h
_INT: Final = struct.Struct("=i")
_BUFFER: Final = 64 << 20
_DATAGRAM: Final = 1 << 16
_SLICE_SECONDS: Final = 0.05
_numbers = itertools.count(100)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log; ``at`` is when it was read (monotonic seconds)."""

    at: float
    node: str
    came: bool
    sa: SaId


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DoubleOwner:
    """An SA that came to one node while it lay in another."""

    sa: SaId
    nodes: frozenset[str]


class KernelTruth:
    """Follows the SAs of ``nodes`` until :meth:`close`; both begin with none of them shared."""

    def __init__(self, nodes: Mapping[str, Namespace], owner_tag: int = OWNER) -> None:
        self.log: list[Entry] = []
        self.violations: list[DoubleOwner] = []
        self.lost = False
        self._tag = owner_tag
        self._holders: defaultdict[SaId, set[str]] = defaultdict(set)
        self._names: dict[int, str] = {}
        for name, namespace in nodes.items():
            number = next(_numbers)
            _give_number(namespace, number)
            self._names[number] = name
        self._socket = open_socket(_BUFFER)
        self._socket.setsockopt(SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        for group in (XFRMNLGRP_SA, XFRMNLGRP_EXPIRE):
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        self._socket.settimeout(_SLICE_SECONDS)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Read what lies there, then stop."""
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _work(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_DATAGRAM, 64)
            except TimeoutError:
                if self._over.is_set():
                    return
                continue
            except OSError:
                self.lost = True  # ENOBUFS: what came and went is no longer known
                continue
            node = self._names.get(_number_of(ancillary))
            if node is None:
                continue
            for message in decode.messages(data, len(data)):
                self._take(node, decode_events.event(data, message))

    def _take(self, node: str, event: object) -> None:
        match event:
            case SaAdded(id=sa_id, owner=owner) if owner == self._tag:
                holders = self._holders[sa_id]
                if node in holders:
                    return  # UPDSA
                holders.add(node)
                self.log.append(Entry(at=time.monotonic(), node=node, came=True, sa=sa_id))
                if len(holders) > 1:
                    self.violations.append(DoubleOwner(sa=sa_id, nodes=frozenset(holders)))
            case SaDeleted(id=sa_id) | SaExpired(id=sa_id, hard=True):
                self._went(node, sa_id)
            case SadFlushed():
                for sa_id in list(self._holders):
                    self._went(node, sa_id)

    def _went(self, node: str, sa_id: SaId) -> None:
        if node in self._holders[sa_id]:
            self._holders[sa_id].discard(node)
            self.log.append(Entry(at=time.monotonic(), node=node, came=False, sa=sa_id))

    def power_off(self, node: str) -> None:
        """Count nothing as a node's that came until now: its machine is off, or cut off."""
        for sa_id in list(self._holders):
            self._went(node, sa_id)

    def held_by(self, node: str) -> int:
        """How many SAs lie in a node's kernel by now, as far as they came after the start."""
        return sum(node in holders for holders in list(self._holders.values()))

    def assert_never_two(self) -> None:
        """No SA ever lay in two kernels, and nothing of the log is missing."""
        assert not self.lost, "notices were lost: the log proves nothing"
        assert self.log, "nothing happened: the log proves nothing"
        assert not self.violations, self.violations[:5]


def _give_number(namespace: Namespace, number: int) -> None:
    """Let this process's namespace know another by a number: only such ones are listened to."""
    subprocess.run(["ip", "netns", "set", namespace.name, str(number)], check=True)


def _number_of(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if (level, kind) == (SOL_NETLINK, _LISTEN_ALL_NSID):
            (number,) = _INT.unpack(value[: _INT.size])
            return int(number)
    return -1
