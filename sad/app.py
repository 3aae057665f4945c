"""The composition root: the only module that knows every class. Wires, runs, stops in order."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlink.addresses import OwnAddresses
from netlink.connection_events import ConnectionEvents
from netlink.connections import KernelConnections
from netlink.events import EventStream
from netlink.kernel import KernelIpsec
from netlink.model import KernelEvent
from netlink.statistics import read_statistics
from sad import __version__
from sad.api.limits import Limits
from sad.api.listening import ListeningSocket, adopt_listening_socket, make_listening_socket
from sad.api.methods import Methods
from sad.api.server import Server
from sad.app_ike import Ike
from sad.app_nat import NatTraversal, by_kind
from sad.app_operating import operations_of
from sad.app_reload import Reload
from sad.app_settings import Parts, parts_of
from sad.config import Settings, to_gids
from sad.credentials.keeper import CredentialKeeper
from sad.credentials.reading import Place
from sad.keys.load import load_from_files
from sad.mechanisms.ipsec_3gpp import Ipsec3gpp
from sad.mechanisms.ipsec_man import IpsecMan
from sad.mechanisms.probe import NodeUnfit, probe
from sad.mechanisms.tls import Tls
from sad.model.algorithms import modules_of
from sad.model.association import Association
from sad.model.errors import JournalUnavailable
from sad.runtime import collector, state
from sad.runtime.chance import Chance
from sad.runtime.endings import Endings
from sad.runtime.gate import circumstances_of
from sad.runtime.key_keeper import KeyKeeper
from sad.runtime.manual_keys import ManualKeys
from sad.runtime.reconciler import Reconciler
from sad.runtime.reloading import Reloading
from sad.runtime.service import AssociationService
from sad.runtime.service_manager import ServiceManager
from sad.runtime.startup import restore, stop
from sad.runtime.status import StatusPage, status_line
from sad.runtime.timer import BoottimeTimer, ClockSetNotice, SystemClock
from sad.store.journal import Journal, JournalUnreadable, move_aside
from sad.store.key_uses import KeyUses
from sad.store.recovery import salvage
from sad.store.sealed import JournalWithRecords, open_records

if TYPE_CHECKING:
    from sad.app_metrics import Metrics

log = logging.getLogger(__name__)

_JOURNAL_FILE = "journal.sqlite"
_RECORDS_FILE = "sealed.sqlite"
_USES_FILE = "key-uses.json"
_START_SECONDS = 30.0


async def run(
    settings: Settings, manager: ServiceManager, *, read_again: Callable[[], Settings]
) -> None:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP has the settings read again.

    Raises NodeUnfit, JournalUnreadable, RecordsUnusable or OSError if it cannot start.
    """
    reload_wanted = asyncio.Event()  # also of what was changed while it started
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload_wanted.set)
    async with contextlib.AsyncExitStack() as stack:
        # The socket first: a second daemon is refused by it before it touches the journal.
        streams, datagrams = by_kind(manager.listen_sockets())
        listening = _listen(settings, streams)
        stack.callback(listening.close)
        records = open_records(
            Path(settings.state_directory) / _RECORDS_FILE,
            os.environ,
            wanted=settings.on_kernel_loss == "rebuild",
        )
        if records is not None:
            stack.callback(records.close)
        metrics = _metrics(settings)
        opened = await _open_kernel(settings)
        kernel = opened if metrics is None else metrics.counted(opened)
        stack.callback(kernel.close)
        connections = KernelConnections.open()
        stack.callback(connections.close)
        clock = SystemClock()
        began = clock.realtime() - clock.boottime()
        lasting = records is not None and records.lasting
        journal, rows = _open_journal(settings, began if lasting else None)
        stack.callback(journal.close)
        parts = parts_of(settings)
        shell_settings = parts.shell
        layout, lifetimes = shell_settings.layout, shell_settings.lifetimes
        credentials = CredentialKeeper(
            parts.credential_rules, Place.of_process(os.environ), clock.realtime
        )
        stack.callback(credentials.close)

        def load_credentials(parts: Parts) -> Awaitable[tuple[str, ...]]:
            return credentials.take_over(parts.credentials, parts.credential_rules)

        ipsec_3gpp = Ipsec3gpp(
            kernel, connections, layout, lifetimes, clock.boottime, clock.realtime
        )
        ipsec_man = IpsecMan(
            kernel, connections, layout, lifetimes, clock.boottime, clock.realtime
        )
        ike = Ike(settings.ike.value(), kernel, shell_settings)
        stack.callback(ike.driver.close)
        tls = Tls(connections, clock.boottime)
        shared = state.Shared(
            settings=shell_settings,
            clock=clock,
            journal=journal if records is None else JournalWithRecords(journal, records),
            records=records,
            set_mechanisms={ipsec_3gpp.name: ipsec_3gpp},
            other_mechanisms={
                ipsec_man.name: ipsec_man,
                ike.driver.name: ike.driver,
                tls.name: tls,
            },
            keepers=[ipsec_3gpp, ike.driver, tls],
            credentials=credentials,
        )
        if metrics is not None:
            shared.observer = metrics.meters
        shared.expiries.append(credentials.expiries)
        nat = NatTraversal(stack, shared, datagrams)
        endings = Endings(shared)
        reconciler = Reconciler(shared, endings)
        missing: dict[str, str] = {}
        own_addresses = OwnAddresses()
        cluster = None
        if settings.cluster.enabled:
            from sad.app_cluster import open_cluster  # noqa: PLC0415 - nobody else needs etcd

            cluster = open_cluster(settings, shared, endings, kernel, own_addresses)
            stack.push_async_callback(cluster.close)
        chance = Chance()
        uses = KeyUses(Path(settings.state_directory) / _USES_FILE)
        keeper = KeyKeeper(
            shared,
            endings,
            circumstances=lambda: circumstances_of(shared, own_addresses.current, missing.keys()),
            randbelow=chance.below,
            uses=uses,
        )
        shared.expiries.append(keeper.collection.expiries)
        manual_keys = ManualKeys(shared, keeper, load=load_from_files, uses=uses)
        stack.callback(keeper.collection.wipe)
        ike.attach(shared, endings, lambda: own_addresses.current)
        service = AssociationService(
            shared,
            endings,
            reconciler,
            access=parts.access,
            own_addresses=lambda: own_addresses.current,
            missing_algorithms=missing.keys(),
            randbelow=chance.below,
            status_page=StatusPage(
                shared,
                reconciler,
                version=__version__,
                missing_algorithms=missing,
                kernel_counters=read_statistics,
                ends_connections=lambda: connections.can_destroy,
            ),
            operator=operations_of(shared, kernel, lambda: server.connected_uids()),  # noqa: PLW0108 - made later,
            tls=tls,
        )
        credentials.on_revoked.append(service.credential_revoked)
        # The socket answers from here on: status, and Busy to all else until READY.
        operated = None if cluster is None else cluster.operated
        methods = Methods(service, parts.access, manual_keys, operated)
        server = _serve(settings, listening, methods)
        # Callers that leave while the server closes still have their installs taken back.
        stack.push_async_callback(shared.background.drain)
        stack.push_async_callback(server.close)
        starting = asyncio.create_task(_extend_the_start(manager, shared))
        stack.callback(starting.cancel)
        manager.status("reading the TLS credentials")
        await load_credentials(parts)  # a bad one is told, and keeps nobody from starting
        manager.status("warming up the algorithms")

        def probe_parts(parts: Parts) -> Awaitable[dict[str, str]]:
            return probe(kernel, parts.algorithm_pairs, parts.ip_versions, layout)

        missing.update(await probe_parts(parts))
        for pair, words in missing.items():
            hint = f"modprobe {modules_of(pair)}, restart"
            shared.tell_problem(f"this kernel lacks {pair}: {words}", hint)
        if (unable := connections.probe()) is not None:
            shared.tell_problem(
                f"this kernel cannot end the TCP connections of a set: {unable}",
                "use a kernel built with CONFIG_INET_DIAG_DESTROY, and load tcp_diag",
            )
        if (unable := connections.probe_lookups()) is not None:
            shared.tell_problem(
                f"this kernel cannot find TCP connections, which mechanism tls needs: {unable}",
                "load its modules inet_diag and tcp_diag",
            )
        nat.use(shell_settings.endpoints.values())
        await own_addresses.open()
        stack.push_async_callback(own_addresses.close)

        def notice(event: KernelEvent) -> None:
            reconciler.notice(event, kernel.port_id)
            nat.notice(event)

        events = EventStream(
            notice,
            buffer_bytes=settings.kernel.event_buffer_bytes,
            ignored_port=kernel.port_id,
        )
        stack.callback(events.close)
        connection_events = ConnectionEvents(service.notice_connection, parts.tls_ports)
        stack.callback(connection_events.close)

        def clock_was_set() -> None:
            reconciler.clock_was_set()
            keeper.wake()
            try:
                journal.note_began(clock.realtime() - clock.boottime())
            except JournalUnavailable as error:
                shared.tell_refusal("when this boot began could not be noted", error)

        clock_set = ClockSetNotice(clock_was_set)
        stack.callback(clock_set.close)
        manager.status("comparing the kernel with the journal")
        manual_keys.read()  # what the kernel has lost of them is made again
        if cluster is not None:
            manager.status("asking etcd whose the endpoints are")
            rows = await cluster.start(rows)
        report = await restore(shared, reconciler, rows)
        del rows  # they would live as long as the daemon, changed as they may be by then
        if cluster is not None:
            cluster.attach(stack, kernel.port_id)
        keeper.drop_unknown()
        key_timer = BoottimeTimer(keeper.wake)
        stack.callback(key_timer.close)
        keeper.attach(key_timer)
        timer = BoottimeTimer(endings.expire_due)
        stack.callback(timer.close)
        shared.deadlines.attach(timer)
        collector.settle()
        reload = Reload(
            settings,
            wanted=reload_wanted,
            read=read_again,
            probe=probe_parts,
            missing=missing,
            shared=shared,
            service=service,
            methods=methods,
            nat=nat,
            reloading=Reloading(shared, endings, reconciler),
            read_keys=manual_keys.read,
            credentials=load_credentials,
            watch=lambda parts: connection_events.watch(parts.tls_ports),
        )
        if metrics is not None:
            await metrics.serve(stack, settings.metrics, shared, service.status, server.statistics)
        starting.cancel()
        manager.ready()
        log.info(
            "ready: %d endpoints, %d associations adopted",
            len(shell_settings.endpoints),
            report.adopted,
        )
        await _until_stopped(
            manager,
            shared,
            *(reconciler.run(), reload.run(manager), keeper.run(), ike.run()),
            *(credentials.run(), nat.run()),
            *(() if cluster is None else (cluster.run(),)),
        )
        manager.stopping()
        await stop(shared, endings)


def _listen(settings: Settings, handed_over: list[socket.socket]) -> ListeningSocket:
    if handed_over:
        for other in handed_over[1:]:
            other.close()
        return adopt_listening_socket(handed_over[0].detach())
    group = settings.socket_group
    gid = None if group is None else next(iter(to_gids([group])))
    return make_listening_socket(Path(settings.socket_path), settings.socket_mode, gid)


def _serve(settings: Settings, listening: ListeningSocket, methods: Methods) -> Server:
    limits = Limits(
        connections=settings.limits.max_connections,
        connections_per_uid=settings.limits.max_connections_per_uid,
        message_seconds=settings.limits.message_timeout_seconds,
    )
    server = Server(listening.socket, methods, limits)
    server.start()
    return server


def _metrics(settings: Settings) -> "Metrics | None":
    """Return what counts, if anybody reads it: its library takes long to import."""
    if settings.metrics.listen or settings.metrics.textfile:
        from sad import app_metrics  # noqa: PLC0415 - as above

        return app_metrics.Metrics()
    return None


async def _open_kernel(settings: Settings) -> KernelIpsec:
    try:
        return await KernelIpsec.open(receive_buffer=settings.kernel.request_buffer_bytes)
    except OSError as error:
        raise NodeUnfit(
            f"XFRM netlink in this kernel ({error.strerror})",
            "modprobe xfrm_user, or use a kernel built with CONFIG_XFRM_USER",
        ) from error


def _open_journal(settings: Settings, began: float | None) -> tuple[Journal, list[Association]]:
    path = Path(settings.state_directory) / _JOURNAL_FILE
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # The journal speaks of one network namespace's kernel tables.
    boot_id += f" {Path('/proc/self/ns/net').readlink()}"
    try:
        return _load(path, boot_id, began)
    except JournalUnreadable as error:
        # A full disk or a lock is no reason to give up a journal that may be whole.
        if settings.journal_on_corrupt != "rebuild" or not error.damaged or not path.exists():
            raise
        aside = move_aside(path)
        saved = [] if error.newer else salvage(aside, boot_id)
        log.error(  # noqa: TRY400 - no trace
            "%s; begun anew with %d rows that can be read, the old one is %s",
            error.reason,
            len(saved),
            aside,
        )
        journal, _ = _load(path, boot_id, began)
        journal.begin_with(saved)
        return journal, saved


def _load(path: Path, boot_id: str, began: float | None) -> tuple[Journal, list[Association]]:
    journal = Journal.open(path, boot_id, began=began)
    try:
        return journal, journal.load()
    except JournalUnreadable:
        journal.close()
        raise


async def _extend_the_start(manager: ServiceManager, shared: state.Shared) -> None:
    """Ask for more time as long as the loop lives: a full kernel takes its time to compare."""
    while True:
        manager.extend(_START_SECONDS)
        manager.status(f"starting: {len(shared.table)} associations known")
        await asyncio.sleep(_START_SECONDS / 3)


async def _until_stopped(
    manager: ServiceManager, shared: state.Shared, *runs: Coroutine[Any, Any, None]
) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run) for run in (*runs, _tell(manager, shared))]
        await stopped.wait()
        for task in tasks:
            task.cancel()


async def _tell(manager: ServiceManager, shared: state.Shared) -> None:
    """Keep systemd's status line and watchdog fed from the real loop."""
    interval = manager.watchdog_interval()
    while True:
        manager.status(status_line(shared.table))
        manager.watchdog()
        await asyncio.sleep(min(10.0, interval / 2 if interval else 10.0))
