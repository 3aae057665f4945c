"""The composition root: the only module that knows every class. Wires, runs, stops in order."""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

from netlink.addresses import OwnAddresses
from netlink.connections import KernelConnections
from netlink.events import EventStream
from netlink.kernel import KernelIpsec
from netlink.model import family_of
from netlink.statistics import read_statistics
from netlink.uapi import AF_INET
from sad import __version__
from sad.api.authorization import AccessPolicy
from sad.api.limits import Limits
from sad.api.listening import ListeningSocket, adopt_listening_socket, make_listening_socket
from sad.api.methods import Methods
from sad.api.server import Server
from sad.config import Settings, to_endpoints, to_gids, to_layout, to_lifetimes, to_limits
from sad.mechanisms.ipsec_3gpp import Ipsec3gpp
from sad.mechanisms.probe import NodeUnfit, probe
from sad.model.algorithms import AlgorithmPair
from sad.model.association import Association
from sad.runtime import state
from sad.runtime.endings import Endings
from sad.runtime.reconciler import Reconciler
from sad.runtime.service import AssociationService
from sad.runtime.service_manager import ServiceManager
from sad.runtime.startup import restore, stop
from sad.runtime.status import StatusPage
from sad.runtime.timer import BoottimeTimer, ClockSetNotice, SystemClock
from sad.store.journal import Journal, JournalUnreadable, move_aside
from sad.store.recovery import salvage
from sad.store.sealed import JournalWithRecords, open_records

log = logging.getLogger(__name__)

_JOURNAL_FILE = "journal.sqlite"
_RECORDS_FILE = "sealed.sqlite"


async def run(settings: Settings, manager: ServiceManager) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Raises NodeUnfit, JournalUnreadable, RecordsUnusable or OSError if it cannot start.
    """
    async with contextlib.AsyncExitStack() as stack:
        # The socket first: a second daemon is refused by it before it touches the journal.
        listening = _listen(settings, manager)
        stack.callback(listening.close)
        records = open_records(
            Path(settings.state_directory) / _RECORDS_FILE,
            os.environ,
            wanted=settings.on_kernel_loss == "rebuild",
        )
        if records is not None:
            stack.callback(records.close)
        kernel = await _open_kernel(settings)
        stack.callback(kernel.close)
        connections = KernelConnections.open()
        stack.callback(connections.close)
        journal, rows = _open_journal(settings)
        stack.callback(journal.close)
        shell_settings = _shell_settings(settings)
        clock = SystemClock()
        layout, lifetimes = shell_settings.layout, shell_settings.lifetimes
        shared = state.Shared(
            settings=shell_settings,
            clock=clock,
            journal=journal if records is None else JournalWithRecords(journal, records),
            records=records,
            mechanisms={
                Ipsec3gpp.name: Ipsec3gpp(
                    kernel, connections, layout, lifetimes, clock.boottime, clock.realtime
                )
            },
        )
        endings = Endings(shared)
        reconciler = Reconciler(shared, endings)
        missing: dict[str, str] = {}
        own_addresses = OwnAddresses()
        access = _access(settings, shell_settings)
        service = AssociationService(
            shared,
            endings,
            reconciler,
            access=access,
            own_addresses=lambda: own_addresses.current,
            missing_algorithms=missing.keys(),
            randbelow=secrets.randbelow,
            status_page=StatusPage(
                shared,
                reconciler,
                version=__version__,
                missing_algorithms=missing,
                kernel_counters=read_statistics,
            ),
        )
        # The socket answers from here on: status, and Busy to all else until READY.
        server = _serve(settings, listening, service, access)
        # Callers that leave while the server closes still have their installs taken back.
        stack.push_async_callback(shared.background.drain)
        stack.push_async_callback(server.close)
        manager.status("warming up the algorithms")
        missing.update(
            await probe(kernel, _pairs(shell_settings), _ip_versions(shell_settings), layout)
        )
        for pair, words in missing.items():
            shared.tell_problem(f"this kernel lacks {pair}: {words}", "load its module, restart")
        if (unable := connections.probe()) is not None:
            shared.tell_problem(
                f"this kernel cannot end the TCP connections of a set: {unable}",
                "use a kernel built with CONFIG_INET_DIAG_DESTROY, and load tcp_diag",
            )
        await own_addresses.open()
        stack.push_async_callback(own_addresses.close)
        events = EventStream(
            lambda event: reconciler.notice(event, kernel.port_id),
            buffer_bytes=settings.kernel.event_buffer_bytes,
            ignored_port=kernel.port_id,
        )
        stack.callback(events.close)
        clock_set = ClockSetNotice(reconciler.clock_was_set)
        stack.callback(clock_set.close)
        manager.status("comparing the kernel with the journal")
        report = await restore(shared, reconciler, rows)
        timer = BoottimeTimer(endings.expire_due)
        stack.callback(timer.close)
        shared.deadlines.attach(timer)
        # What was adopted lives long: the collector of garbage need not walk it again and again
        # (a tenth of a second and more for 20 000 sets, in which nobody is served).
        gc.collect()
        gc.freeze()
        manager.ready()
        log.info(
            "ready: %d endpoints, %d associations adopted",
            len(shell_settings.endpoints),
            report.adopted,
        )
        await _until_stopped(manager, reconciler, shared)
        manager.stopping()
        await stop(shared, endings)


def _listen(settings: Settings, manager: ServiceManager) -> ListeningSocket:
    handed_over = manager.listen_sockets()
    if handed_over:
        (_, first), *others = handed_over
        for _, other in others:
            other.close()
        return adopt_listening_socket(first.detach())
    group = settings.socket_group
    gid = None if group is None else next(iter(to_gids([group])))
    return make_listening_socket(Path(settings.socket_path), settings.socket_mode, gid)


def _serve(
    settings: Settings,
    listening: ListeningSocket,
    service: AssociationService,
    access: AccessPolicy,
) -> Server:
    limits = Limits(
        connections=settings.limits.max_connections,
        connections_per_uid=settings.limits.max_connections_per_uid,
        message_seconds=settings.limits.message_timeout_seconds,
    )
    server = Server(listening.socket, Methods(service, access), limits)
    server.start()
    return server


async def _open_kernel(settings: Settings) -> KernelIpsec:
    try:
        return await KernelIpsec.open(receive_buffer=settings.kernel.request_buffer_bytes)
    except OSError as error:
        raise NodeUnfit(
            f"XFRM netlink in this kernel ({error.strerror})",
            "modprobe xfrm_user, or use a kernel built with CONFIG_XFRM_USER",
        ) from error


def _open_journal(settings: Settings) -> tuple[Journal, list[Association]]:
    path = Path(settings.state_directory) / _JOURNAL_FILE
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # The journal speaks of one network namespace's kernel tables.
    boot_id += f" {Path('/proc/self/ns/net').readlink()}"
    try:
        return _load(path, boot_id)
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
        journal, _ = _load(path, boot_id)
        journal.begin_with(saved)
        return journal, saved


def _load(path: Path, boot_id: str) -> tuple[Journal, list[Association]]:
    journal = Journal.open(path, boot_id)
    try:
        return journal, journal.load()
    except JournalUnreadable:
        journal.close()
        raise


def _shell_settings(settings: Settings) -> state.Settings:
    return state.Settings(
        endpoints={e.name: e for e in to_endpoints(settings)},
        layout=to_layout(settings),
        lifetimes=to_lifetimes(settings),
        limits=to_limits(settings),
        remove_on_stop=settings.stop == "remove",
        reconcile_interval=settings.kernel.reconcile_interval_seconds,
    )


def _access(settings: Settings, shell_settings: state.Settings) -> AccessPolicy:
    return AccessPolicy(
        endpoint_uids=frozenset().union(*(e.uids for e in shell_settings.endpoints.values())),
        control_gids=to_gids(settings.control_groups),
        status_gids=to_gids(settings.status_groups),
    )


def _pairs(settings: state.Settings) -> Iterator[AlgorithmPair]:
    for endpoint in settings.endpoints.values():
        for integrity, encryption in endpoint.algorithms:
            yield AlgorithmPair(integrity, encryption)


def _ip_versions(settings: state.Settings) -> set[int]:
    return {
        4 if family_of(address) == AF_INET else 6
        for endpoint in settings.endpoints.values()
        for address in endpoint.addresses
    }


async def _until_stopped(
    manager: ServiceManager, reconciler: Reconciler, shared: state.Shared
) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(reconciler.run()),
            group.create_task(_tell(manager, shared)),
        ]
        await stopped.wait()
        for task in tasks:
            task.cancel()


async def _tell(manager: ServiceManager, shared: state.Shared) -> None:
    """Keep systemd's status line and watchdog fed from the real loop."""
    interval = manager.watchdog_interval()
    while True:
        manager.status(f"{len(shared.table)} associations")
        manager.watchdog()
        await asyncio.sleep(min(10.0, interval / 2 if interval else 10.0))
