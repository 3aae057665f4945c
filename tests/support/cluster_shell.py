"""Nodes of a cluster on kernels in memory and one etcd: what :mod:`sad.app_cluster` is made of."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from netlink.model import SaId
from netlink.secret import Secret
from sad.app_cluster import Cluster
from sad.cluster.ownership import Ownership
from sad.cluster.sealing import Sealer
from sad.config.cluster import ClusterSettings
from sad.model.association import Association
from sad.model.cluster import OwnershipMode, OwnershipState
from sad.runtime.startup import restore
from tests.cluster.fake import FakeEtcd
from tests.support.fake_kernel import FakeTables
from tests.support.make import endpoint
from tests.support.shell import Clock, MemoryJournal, Shell, until

KEY = Secret(bytes(range(32)))
ENDPOINT = "access"
OWNER = OwnershipState.OWNER
STANDBY = OwnershipState.STANDBY


class Alarm:
    """A timer that the test lets strike."""

    def __init__(self) -> None:
        self.at: float | None = None

    def arm(self, at: float | None) -> None:
        self.at = at


class Node:
    """One node; :meth:`life` is one life of its daemon, its kernel and its disk stay."""

    def __init__(
        self,
        name: str,
        etcd: FakeEtcd,
        clock: Clock,
        folder: Path,
        *,
        mode: OwnershipMode = OwnershipMode.MANUAL,
        **settings: Any,
    ) -> None:
        self.name = name
        self.etcd = etcd
        self.clock = clock
        self.folder = folder / name
        self.mode = mode
        self.endpoint = ENDPOINT
        self.settings = ClusterSettings(
            name="edge", node=name, etcd=("127.0.0.1:1",), **({"start_seconds": 0.5} | settings)
        )
        self.tables = FakeTables(clock.realtime)
        self.journal = MemoryJournal()
        self.has_address = False
        self.keys = [KEY]
        self._lives = 0

    @contextlib.asynccontextmanager
    async def life(self) -> AsyncIterator["Node"]:
        """Run the daemon; a life ends as by SIGKILL."""
        self.shell = Shell(
            tables=self.tables,
            journal=self.journal,
            clock=self.clock,
            endpoints={self.endpoint: endpoint(name=self.endpoint)},
        )
        shell = self.shell
        self._lives += 1
        shell._drawn = (
            100_000 * ord(self.name) + 1000 * self._lives
        )  # ids are drawn at random, and never twice
        self.cluster = Cluster(
            self.settings,
            {self.endpoint: self.mode},
            self.folder,
            shell.shared,
            shell.endings,
            etcd=self.etcd,
            sealer=Sealer("edge", self.keys),
            kernel=shell.kernel,
            address_here=lambda _endpoint: self.has_address,
            randbelow=lambda below: int.from_bytes(os.urandom(8), "big") % below,
        )
        rows = await self.cluster.start(tuple(self.journal.rows.values()))
        await restore(shell.shared, shell.reconciler, rows)
        self.alarm = Alarm()
        self.cluster.node.attach(self.cluster.population, self.alarm)
        running = asyncio.ensure_future(self.cluster.run())
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await shell.shared.background.drain()

    # --- looking ---------------------------------------------------------------------------------

    @property
    def ownership(self) -> Ownership:
        found = self.cluster.node.machine.ownership(self.endpoint)
        assert found is not None
        return found

    @property
    def state(self) -> OwnershipState:
        return self.ownership.state

    @property
    def associations(self) -> list[Association]:
        return sorted(self.shell.shared.table, key=lambda a: a.id)

    @property
    def sas(self) -> set[SaId]:
        """The SAs in its kernel."""
        return set(self.tables.sas)

    @property
    def is_blocked(self) -> bool:
        """Whether the endpoint's block policies are above all others."""
        priorities = {p.policy.priority for p in self.tables.policies.values()}
        return 1 in priorities

    # --- waiting ---------------------------------------------------------------------------------

    async def until(self, state: OwnershipState) -> None:
        async with asyncio.timeout(60):
            await self.cluster.node.machine.until(self.endpoint, lambda o: o.state is state)
            if state is OWNER:
                await self.cluster.node.machine.until_open(self.endpoint)

    async def told(self) -> None:
        """Wait until etcd knows all."""

        def is_told() -> bool:
            lag = self.cluster.replicator.lag()
            return (
                not lag.waiting and not lag.to_compare and not self.cluster.replicator.is_writing
            )

        await until(is_told)

    def strike(self) -> None:
        """Let the timer strike if its time has come."""
        if self.alarm.at is not None and self.alarm.at <= self.clock.boottime():
            self.cluster.node.machine.time_passed()
