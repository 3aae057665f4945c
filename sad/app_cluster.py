"""More than one node, put together; imported only with a cluster in the settings."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from netlink.addresses import OwnAddresses
from netlink.counter_events import CounterStream
from netlink.interface import Kernel
from netlink.secret import Secret
from sad import __version__
from sad.cluster.etcd import EtcdAddress, GrpcEtcd
from sad.cluster.fencing import Fenced, FencedWriter
from sad.cluster.floors import Floors
from sad.cluster.identities import Identities
from sad.cluster.journal import ReplicatedJournal
from sad.cluster.keyspace import Keyspace
from sad.cluster.memory import Memory
from sad.cluster.node import ClusterNode
from sad.cluster.operated import Operated
from sad.cluster.parts import NodeSettings
from sad.cluster.population import Population
from sad.cluster.ports import Etcd, EtcdError
from sad.cluster.proof import prove
from sad.cluster.replicator import Replicator
from sad.cluster.sealing import Sealer, open_sealer
from sad.cluster.store import Store
from sad.cluster.view import View, card
from sad.config import Settings
from sad.config.cluster import ClusterSettings
from sad.core.allocation import RandBelow
from sad.mechanisms.probe import NodeUnfit
from sad.mechanisms.standing import rewrite
from sad.model.association import Association, Phase
from sad.model.cluster import ClusterStatus, OwnershipMode
from sad.model.errors import NotOwner
from sad.model.journal import Forget
from sad.runtime.counters import CounterBook
from sad.runtime.endings import Endings
from sad.runtime.installs import Installs
from sad.runtime.restoring import Restoring
from sad.runtime.state import Shared
from sad.runtime.timer import BoottimeTimer
from sad.store.sealing_key import RecordsUnusable

_MEMORY_FILE: Final = "epochs.json"
_PASSWORD: Final = "sad-etcd-password"  # noqa: S105 - the name of a credential
_AGAIN_SECONDS: Final = 0.3
_NODES_SECONDS: Final = 2.0
_LEAVE_SECONDS: Final = 2.0


class Cluster:
    """This node in its cluster; implements :class:`sad.runtime.cluster.ClusterPort`.

    Made before the journal is used, started before the kernel is compared, run with the rest.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        modes: Mapping[str, OwnershipMode],
        state_directory: Path,
        shared: Shared,
        endings: Endings,
        *,
        etcd: Etcd,
        sealer: Sealer,
        kernel: Kernel,
        address_here: Callable[[str], bool],
        randbelow: RandBelow = secrets.randbelow,
    ) -> None:
        clock = shared.clock
        self._settings = settings
        self._shared = shared
        self._etcd = etcd
        self._sealer = sealer
        self._keyspace = Keyspace(settings.name)
        self._since = clock.realtime()
        self.node = ClusterNode(
            NodeSettings(
                cluster=settings.name,
                node=settings.node_name,
                modes=modes,
                lease=settings.lease_seconds,
                margin=settings.lease_margin_seconds,
            ),
            etcd,
            clock,
            Memory(state_directory / _MEMORY_FILE, settings.name),
            address_here=address_here,
            tell_problem=shared.tell_problem,
            card=lambda: card(__version__, self._since, clock.realtime()),
        )
        self._book = CounterBook(shared.table, clock, kernel.dump_counters)
        shared.end_listeners.append(self._book.forget)
        self.store = Store(etcd, self._keyspace, sealer)
        writer = FencedWriter(
            etcd, self._keyspace, self.node.machine.epoch, self.node.health.wrote
        )
        self.population = Population(
            shared,
            endings,
            Restoring(shared, Installs(shared, endings), self._book.note),
            self._book,
            self.store,
            Floors(etcd, self._keyspace, sealer, writer),
            lambda: self.replicator,
            rewrite=partial(rewrite, kernel),
            randbelow=randbelow,
        )
        self.replicator = Replicator(
            etcd,
            self._keyspace,
            sealer,
            clock,
            self.population,
            writer,
            node=settings.node_name,
            limit=settings.max_waiting_changes,
            settled=self.node.machine.settled,
            failed=self.node.failed,
            fenced=self.node.fenced,
        )
        self.identities = Identities(
            etcd,
            self._keyspace,
            sealer,
            node=settings.node_name,
            limit=settings.max_sets_per_identity,
            own=lambda identity: len(shared.table.of_identity(identity)),
            lease=lambda: self.node.lease,
        )
        self._journal = ReplicatedJournal(shared.journal, self._changed)
        shared.journal = self._journal
        shared.cluster = self
        for endpoint in modes:
            shared.close_endpoint(endpoint)
        self.operated = Operated(self.node, self.population, self.store, settings.takeover_seconds)
        self._view = View(self._keyspace, self.node, self.population, self.replicator, etcd, clock)

    # --- what the shell asks ---------------------------------------------------------------------

    def require(self, endpoint: str) -> None:
        """Raise NotOwner unless sets may be installed on an endpoint at this instant."""
        ownership = self.node.machine.ownership(endpoint)
        if ownership is None:
            raise NotOwner(endpoint=endpoint, owner="", hint="new here: restart sad to take it in")
        if not self.node.machine.may_serve(endpoint):
            raise NotOwner(endpoint=endpoint, owner=ownership.seen.owner)

    def seal_keys(
        self, association: Association, integrity_key: Secret, cipher_key: Secret | None
    ) -> None:
        """Keep the keys of a set that is about to be installed, sealed."""
        self.replicator.seal_keys(association, integrity_key, cipher_key)

    def leapt(self, association: Association, lives: int) -> None:
        """Tell etcd of numbers that a rebuild leaps over, ahead of the kernel's own word."""
        if association.ipsec_3gpp is not None and self.node.machine.settled(association.endpoint):
            self.replicator.count(association.endpoint, [self._book.leap(association, lives)])

    def status(self) -> ClusterStatus:
        """Return this node's place in the cluster."""
        return self._view.status(self._settings.node_name)

    def require_room(self, private_identity: str) -> None:
        """Raise LimitExceeded if an identity has its sets at other nodes."""
        self.identities.require_room(private_identity)

    def _changed(self, endpoint: str, private_identity: str, association_id: str) -> None:
        self.identities.changed(private_identity)
        if self.node.machine.ownership(endpoint) is not None:
            self.replicator.changed(endpoint, association_id)

    # --- life ------------------------------------------------------------------------------------

    async def start(self, rows: Iterable[Association]) -> list[Association]:
        """Find out whose the endpoints are; return the rows of the journal that are to be adopted.

        The rest is set aside, or forgotten if another node has owned its endpoint since: then its
        SAs go first of all. Raises RecordsUnusable if the other nodes seal with another key.
        """
        self._proven = await self._prove(self._settings.start_seconds)
        if self._proven:
            await self.node.start(self._settings.start_seconds)
        else:
            self.node.start_blind()
        ours = {
            o.endpoint for o in self.node.machine.ownerships() if self.node.adopted(o.endpoint)
        }
        for endpoint in ours:
            self._shared.open_endpoint(endpoint)
            self.replicator.want_compare(endpoint)
        adopted: list[Association] = []
        forgotten: list[Forget] = []
        for row in rows:
            self._journal.know(row)
            ownership = self.node.machine.ownership(row.endpoint)
            if ownership is None or row.endpoint in ours:
                adopted.append(row)
            elif ownership.epoch and row.ipsec_3gpp is not None and row.phase is Phase.INSTALLED:
                self.population.put_aside(row)
            else:
                forgotten.append(Forget(row.id))
        await self._shared.record_tolerant(*forgotten)
        return adopted

    async def _prove(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        await prove(self._etcd, self._keyspace, self._sealer)
                    except EtcdError as error:
                        self.node.failed(error)
                        await asyncio.sleep(_AGAIN_SECONDS)
                    else:
                        return True
        except TimeoutError:
            return False

    def attach(self, stack: contextlib.AsyncExitStack, ignored_port: int | None) -> None:
        """Begin with what changes the kernel: it agrees with the table."""
        timer = BoottimeTimer(self.node.machine.time_passed)
        stack.callback(timer.close)
        self.node.attach(self.population, timer)
        counters = CounterStream(self._book.hear, ignored_port=ignored_port)
        stack.callback(counters.close)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while not self._proven:
                self._proven = await self._prove(self._settings.start_seconds)
        except RecordsUnusable as error:
            self._shared.tell_problem(f"etcd is told nothing: {error.reason}", error.hint)
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.node.run())
            group.create_task(self.replicator.run())
            group.create_task(self._tell_counters())
            group.create_task(self._follow_nodes())
            group.create_task(self.identities.run())

    async def _tell_counters(self) -> None:
        while True:
            await self._book.wait()
            for endpoint, snapshots in (await self._book.changed()).items():
                if self.node.machine.settled(endpoint):
                    self.replicator.count(endpoint, snapshots)
            await asyncio.sleep(self._settings.counters_interval_seconds)

    async def _follow_nodes(self) -> None:
        while True:
            with contextlib.suppress(EtcdError):  # who keeps the lease tells of it
                await self._view.follow()
            await asyncio.sleep(_NODES_SECONDS)

    async def close(self) -> None:
        """Tell etcd the rest, as far as it takes it now, and leave."""
        with contextlib.suppress(EtcdError, Fenced, TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                for ownership in self.node.machine.ownerships():
                    if self.node.machine.settled(ownership.endpoint):
                        await self.replicator.flush(ownership.endpoint)
                await self.node.leave()
        await self._etcd.close()


def open_cluster(
    settings: Settings,
    shared: Shared,
    endings: Endings,
    kernel: Kernel,
    own_addresses: OwnAddresses,
) -> Cluster:
    """Return the cluster of the settings. Raises RecordsUnusable, NodeUnfit."""
    wanted = settings.cluster

    def address_here(endpoint: str) -> bool:
        known = shared.settings.endpoints.get(endpoint)
        return known is not None and not own_addresses.current.isdisjoint(known.addresses)

    return Cluster(
        wanted,
        {e.name: OwnershipMode(e.takeover) for e in settings.endpoint},
        Path(settings.state_directory),
        shared,
        endings,
        etcd=GrpcEtcd(_address_of(wanted, os.environ)),
        sealer=open_sealer(wanted.name, os.environ),
        kernel=kernel,
        address_here=address_here,
    )


def _address_of(settings: ClusterSettings, environment: Mapping[str, str]) -> EtcdAddress:
    password = None
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if settings.etcd_user and directory:
        text = _read(Path(directory) / _PASSWORD)
        password = Secret(text.rstrip(b"\r\n"))
    key = None if settings.etcd_key is None else Secret(_read(Path(settings.etcd_key)))
    return EtcdAddress(
        members=settings.etcd,
        timeout_seconds=settings.call_timeout_seconds,
        root=None if settings.etcd_ca is None else _read(Path(settings.etcd_ca)),
        certificate=None
        if settings.etcd_certificate is None
        else _read(Path(settings.etcd_certificate)),
        key=key,
        user=settings.etcd_user,
        password=password,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NodeUnfit(
            f"what the cluster's etcd wants: {path}: {error.strerror}",
            "sad's user must be able to read it; a credential comes by LoadCredential",
        ) from error
