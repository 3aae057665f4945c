"""Somebody else in the same network namespace: deletes, floods, and keeps SAs of his own."""

import asyncio
import random
from typing import Final, Self

from netlink.kernel import KernelIpsec
from netlink.model import (
    AddPolicy,
    DeletePolicy,
    DeleteSa,
    Operation,
    Policy,
    SaId,
    SecurityAssociation,
)
from tests.support.make import OWNER
from tests.support.namespaces import Namespace
from tests.support.xfrm_values import add_sa, policy, security_association

#: Events of one storm; the daemon's buffer in these tests holds a tenth of them.
STORM_EVENTS: Final = 10_000
_STORM_CHUNK: Final = 500
_STRANGER: Final = 0


class ForeignHands:
    """Uses the kernel as any other program may; ``sas`` and ``policies`` are what it keeps."""

    def __init__(self, namespace: Namespace, seed: int) -> None:
        self.sas: dict[SaId, SecurityAssociation] = {}
        self.policies: dict[int, Policy] = {}
        self._namespace = namespace
        self._random = random.Random(seed)
        self._runner = asyncio.Runner()
        with namespace.enter():
            self._kernel = self._runner.run(KernelIpsec.open())
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kernel.close()
        self._runner.close()

    def _do(self, *operations: Operation) -> None:
        async def commit() -> None:
            outcomes = await self._kernel.commit(operations)
            # What the daemon removed in the same instant is gone all the same.
            for operation, error in zip(operations, outcomes, strict=True):
                assert error is None or isinstance(operation, DeleteSa | DeletePolicy), error

        self._runner.run(commit())

    def delete_sa(self, destination: str, spi: int) -> None:
        """Delete one SA, whoever's it is."""
        self._do(DeleteSa(SaId(destination, spi)))

    def delete_policies(self, count: int) -> int:
        """Delete policies of the daemon, block policies among them; return how many."""
        ours = [
            p.id
            for p in self._runner.run(self._kernel.dump_policies())
            if p.id.selector.owner == OWNER
        ]
        chosen = self._random.sample(ours, min(count, len(ours)))
        self._do(*(DeletePolicy(i) for i in chosen))
        return len(chosen)

    def flush(self, what: str) -> None:
        """``ip xfrm policy flush`` or ``ip xfrm state flush``: own ones go with the others."""
        self._namespace.run(["ip", "xfrm", what, "flush"])
        if what == "policy":
            self.policies.clear()
        else:
            self.sas.clear()

    def come_and_go(self) -> None:
        """Add an SA and a policy of one's own, or take the oldest away."""
        if len(self.sas) > 20 or (self.sas and self._random.random() < 0.4):
            self._do(DeleteSa(self.sas.pop(next(iter(self.sas))).id))
        elif len(self.policies) > 20:
            self._do(DeletePolicy(self.policies.pop(next(iter(self.policies))).id))
        else:
            self._number += 1
            sa = security_association(0x9000 + self._number, owner=_STRANGER)
            kept = policy(20_000 + self._number % 40_000, owner=_STRANGER)
            self._do(add_sa(sa), AddPolicy(kept))
            self.sas[sa.id] = sa
            self.policies[kept.id.selector.destination_port] = kept

    def storm(self) -> None:
        """Cause so many events that a daemon which does not read loses some."""
        one = policy(1, owner=_STRANGER)
        pair = (AddPolicy(one), DeletePolicy(one.id))
        for _ in range(STORM_EVENTS // _STORM_CHUNK):
            self._do(*pair * (_STORM_CHUNK // 2))

    def overruns(self) -> int:
        """Netlink notices that did not fit into somebody's buffer, of all sockets."""
        rows = self._namespace.run(["cat", "/proc/net/netlink"]).stdout.splitlines()
        header = rows[0].split()
        eth, drops = header.index("Eth"), header.index("Drops")
        fields = [row.split() for row in rows[1:]]
        return sum(int(f[drops]) for f in fields if f[eth] == "6")
