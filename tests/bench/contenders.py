"""Who installs sets: the product, and what others do, each with the same operations.

A trial installs its sets into a kernel that holds none of them, and returns sets a second; taking
them away again is not in it. Slow contenders get fewer sets: rates are compared.
"""

import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from pyroute2.netlink.nlsocket import NetlinkSocket

from netlink import reference
from netlink.kernel import KernelIpsec
from netlink.model import AddPolicy, AddSa, Direction, Operation, PolicyAction
from netlink.schema import MESSAGES, Head, Message
from netlink.uapi import NETLINK_XFRM, NLM_F_ACK
from tests.bench.baselines import Baselines, Image
from tests.bench.sets import Sets

#: How many callers wait at once: what a full turn of the daemon's loop has.
AT_ONCE: Final = 96


class Product:
    """``netlink/`` as the daemon uses it: each set awaited by its caller, every error its own."""

    def __init__(self, sets: Sets, baselines: Baselines) -> None:
        self._sets = sets.installs
        self._removal = sets.removal_image()
        self._baselines = baselines

    def __call__(self) -> float:
        """Run a trial."""
        took = asyncio.run(self._install())
        self._baselines.replay(self._removal)
        return len(self._sets) / took

    async def _install(self) -> float:
        kernel = await KernelIpsec.open()
        try:
            begun = time.perf_counter()
            for start in range(0, len(self._sets), AT_ONCE):
                under_way = [kernel.commit(o) for o in self._sets[start : start + AT_ONCE]]
                for commit in under_way:
                    assert not any(await commit), "the kernel refused a part of a set"
            return time.perf_counter() - begun
        finally:
            kernel.close()


class InC:
    """One function of the baselines, by name."""

    def __init__(self, sets: Sets, baselines: Baselines, function: str) -> None:
        self._image = Image.of(sets.installs)
        self._removal = sets.removal_image()
        self._baselines = baselines
        self._function = getattr(baselines, function)

    def __call__(self) -> float:
        """Run a trial."""
        rate: float = self._function(self._image)
        self._baselines.replay(self._removal)
        return rate


class Pyroute2:
    """pyroute2's own requests, with classes for what it has none for: one message, one answer."""

    def __init__(self, sets: Sets, baselines: Baselines) -> None:
        self._messages = [[_message_of(o) for o in operations] for operations in sets.installs]
        self._removal = sets.removal_image()
        self._baselines = baselines

    def __call__(self) -> float:
        """Run a trial."""
        with NetlinkSocket(family=NETLINK_XFRM) as opened:
            opened.bind()
            begun = time.perf_counter()
            for messages in self._messages:
                for message, head in messages:
                    # A generator: nothing is sent before somebody asks for the answer.
                    tuple(opened.nlm_request(message, head.type, head.flags | NLM_F_ACK))
            took = time.perf_counter() - begun
        self._baselines.replay(self._removal)
        return len(self._messages) / took


def _message_of(operation: Operation) -> tuple[Message, Head]:
    """Return an operation as pyroute2's message, filled in and not encoded."""
    found: list[tuple[Message, Head]] = []

    def keep(head: Head, fields: dict[str, Any], attributes: Sequence[Any] = ()) -> bytes:
        message = MESSAGES[head.type]()
        message.update(fields)
        message["attrs"] = [list(attribute) for attribute in attributes]
        found.append((message, head))
        return b""

    with patch.object(reference, "encode_message", keep):
        reference.encode_reference(operation, 0, 0)
    return found[0]


class IpBatch:
    """``ip -batch`` of iproute2: a process for all, a socket for each line. Empties the kernel."""

    def __init__(self, sets: Sets, folder: Path) -> None:
        self._count = len(sets.installs)
        self._batch = folder / "batch"
        lines = [_line_of(o) for operations in sets.installs for o in operations]
        self._batch.write_text("\n".join(lines) + "\n")

    def __call__(self) -> float:
        """Run a trial; starting the process is in it, as it is for who calls it."""
        begun = time.perf_counter()
        subprocess.run(["ip", "-batch", str(self._batch)], check=True)
        took = time.perf_counter() - begun
        # Its selectors name a protocol and no owner: nobody else's deletions would find them.
        for table in ("policy", "state"):
            subprocess.run(["ip", "xfrm", table, "flush"], check=True)
        return self._count / took


def _line_of(operation: Operation) -> str:
    """Return an operation in the words of ip-xfrm(8)."""
    if isinstance(operation, AddSa):
        sa, keys = operation.sa, operation.keys
        assert sa.integrity is not None
        return (
            f"xfrm state add src {sa.source} dst {sa.id.destination} proto esp spi {sa.id.spi} "
            f"reqid {sa.reqid} mode transport replay-window 32 "
            f"auth-trunc {sa.integrity.name} 0x{keys.integrity.reveal().hex()} "
            f"{sa.integrity.icv_bits} "
            f'enc {sa.encryption.name} "{_hex(keys.encryption.reveal())}" '
            f"sel src {sa.selector.source}/{sa.selector.source_prefix} "
            f"dst {sa.selector.destination}/{sa.selector.destination_prefix} "
            f"limit time-hard {sa.hard_add_seconds}"
        )
    assert isinstance(operation, AddPolicy)
    policy = operation.policy
    selector, demand = policy.id.selector, policy.template
    ports = "".join(
        f" {name} {port}"
        for name, port in (("sport", selector.source_port), ("dport", selector.destination_port))
        if port
    )
    line = (
        f"xfrm policy add src {selector.source}/{selector.source_prefix} "
        f"dst {selector.destination}/{selector.destination_prefix} proto udp{ports} "
        f"dir {'in' if policy.id.direction is Direction.IN else 'out'} "
        f"action {'allow' if policy.action is PolicyAction.ALLOW else 'block'} "
        f"priority {policy.priority}"
    )
    if demand is None:
        return line
    return (
        f"{line} tmpl src {demand.source} dst {demand.destination} proto esp "
        f"reqid {demand.reqid} mode transport"
    )


def _hex(key: bytes) -> str:
    return f"0x{key.hex()}" if key else ""
