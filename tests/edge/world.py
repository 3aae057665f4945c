"""A UE side, an edge and a core: three namespaces with real Kamailio and the real daemon between.

The UEs and the S-CSCF are :mod:`tests.ue`'s, in this process. The S-CSCF judges what the P-CSCF
lets through, the UEs judge what it sends them, the sniffers see what leaves in clear.
"""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute

from sip_hooks.client import CallError
from tests.edge.kamailio import USER, Kamailio, configuration, install_faulty, install_hook
from tests.support import eye
from tests.support.daemon import PATIENCE, Daemon, wait_until
from tests.support.namespaces import Cable, Namespace, connect
from tests.support.sniffer import Packet, Sniffer
from tests.ue import home
from tests.ue.flow import HostPort
from tests.ue.registrar import RegistrarSettings
from tests.ue.scscf import Scscf
from tests.ue.transaction import Timers
from tests.ue.ue import Ue
from tests.ue.xfrm import IpXfrm

EDGE = {4: "10.20.0.1", 6: "2001:db8:20::1"}
UE = {4: "10.20.0.2", 6: "2001:db8:20::2"}
EDGE_CORE, CORE = "10.30.0.1", "10.30.0.2"
ACCESS_PORT, CORE_PORT = 5060, 4060
PORT_PS, CLIENT_PORTS = 5064, (5068, 5069, 5070, 5071)
PROTECTED = frozenset({PORT_PS, *CLIENT_PORTS})
#: Of the endpoint's ports, in and out, both families: they stay.
BLOCK_POLICIES = 8
ALGORITHMS = ("hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null")
#: Some of the time a REGISTER may take in a guest.
TIMERS = Timers(t1=1.0)
_T = TypeVar("_T")


async def within(work: Awaitable[_T], seconds: float = PATIENCE) -> _T:
    """Await ``work``, but not for ever."""
    async with asyncio.timeout(seconds):
        return await work


def daemon_settings(*, lifetimes: str = "", extra: str = "") -> str:
    """Settings of the edge's daemon: Kamailio's user is the user of the endpoint."""
    return (
        f'socket_mode = 0o660\nsocket_group = "{USER}"\nstop = "remove"\n{extra}'
        f"\n[lifetimes]\n{lifetimes}"
        f'\n[[endpoint]]\nname = "access"\naddresses = {json.dumps(list(EDGE.values()))}\n'
        f'server_port = {PORT_PS}\nclient_ports = "{CLIENT_PORTS[0]}-{CLIENT_PORTS[-1]}"\n'
        f'users = ["{USER}", {os.getuid()}]\nalgorithms = {json.dumps(ALGORITHMS)}\n'
    )


@dataclass
class EdgeWorld:
    """Everything of one run. ``ues`` are closed with the world."""

    folder: Path
    edge: Namespace
    ue: Namespace
    core: Namespace
    access_wire: Sniffer
    daemon: Daemon
    kamailio: Kamailio
    scscf: Scscf
    ue_xfrm: IpXfrm
    hook_folder: Path
    cable: Cable
    ues: list[Ue] = field(default_factory=list)

    async def new_ue(self, number: int, **settings: Any) -> Ue:
        """Start the UE of a subscriber; ``settings`` are of UeConfig, ``version``, ``alter``."""
        given = dict(settings)
        version = given.pop("version", 4)
        keywords = {k: given.pop(k) for k in ("alter", "answer", "on_trace") if k in given}
        given.setdefault("address", UE[version])
        given.setdefault("port", 0)
        given.setdefault("timers", TIMERS)
        config = home.ue_config(
            number, pcscf=HostPort(EDGE[version], ACCESS_PORT), namespace=self.ue.name, **given
        )
        if self.scscf.registrar.owner(config.public_identity) is None:
            self.scscf.add(home.subscriber(number))
        ue = Ue(config, self.ue_xfrm, **keywords)
        await ue.start()
        self.ues.append(ue)
        return ue

    async def drop(self, *ues: Ue) -> None:
        """Close UEs as if their batteries were taken out."""
        for ue in ues:
            self.ues.remove(ue)
            await ue.close()

    async def gone(self) -> None:
        """Wait until daemon and kernel hold no association."""
        await asyncio.to_thread(
            wait_until, lambda: not self.daemon.associations(), "no association is left"
        )
        assert self.states() == 0

    async def end_all(self) -> None:
        """Have an operator end everything, and see it gone."""
        for association in self.daemon.associations():
            with contextlib.suppress(CallError):
                self.daemon.call("Release", id=association["id"])
        await self.gone()

    async def clean(self) -> None:
        """End whatever a test has left, so that the next begins with nothing."""
        (self.hook_folder / "fault").unlink(missing_ok=True)
        await self.drop(*self.ues)
        await self.end_all()
        self.kamailio.forget()
        self.access_wire.forget()
        self.scscf.violations.clear()
        self.scscf.registrar.seen.clear()
        for binding in self.scscf.registrar.bindings(self.scscf.now()):
            self.scscf.registrar.remove(binding.private_identity)

    def own_address(self, address: str) -> None:
        """Give the UEs' side one more IPv4 address."""

        def give() -> None:
            with IPRoute() as route:
                (index,) = route.link_lookup(ifname=self.cable.b)
                route.addr("add", index=index, address=address, prefixlen=16)

        self.ue.call(give)

    def edge_core(self) -> HostPort:
        """Where the core reaches Kamailio."""
        return HostPort(EDGE_CORE, 5060)

    def journal_rows(self) -> int:
        """Rows of the daemon's journal."""
        path = self.daemon.folder / "state/journal.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
            return int(journal.execute("SELECT count(*) FROM association").fetchone()[0])

    def blocked(self) -> list[float]:
        """Seconds that Kamailio's workers were blocked for each registration, sorted.

        A registration is two REGISTERs of one Call-ID: request, challenge, request, 200.
        """
        spans: dict[str, list[float]] = {}
        for line in (self.hook_folder / "times").read_text().splitlines():
            _, seconds, method, call_id = line.split()
            if method == "REGISTER":
                spans.setdefault(call_id, []).append(float(seconds))
        return sorted(
            sum(of_call[at : at + 4])
            for of_call in spans.values()
            for at in range(0, len(of_call) - 3, 4)
        )

    def states(self) -> int:
        """SAs in the edge's kernel."""
        return len(eye.states(self.edge))

    def policies(self) -> int:
        """Policies in the edge's kernel, the endpoint's block policies among them."""
        return len(eye.policies(self.edge))

    def clear(self) -> list[Packet]:
        """What passed the access wire in clear on protected ports."""
        return self.access_wire.clear_on(PROTECTED)

    def assert_clean(self, *ues: Ue) -> None:
        """Nobody saw what the standards forbid, and nothing passed in clear."""
        assert self.scscf.violations == []
        assert [ue.violations for ue in ues] == [[] for _ in ues]
        clear = self.clear()
        assert not clear, clear


@contextlib.asynccontextmanager
async def edge_world(
    *,
    timers: Timers = TIMERS,
    registrar: RegistrarSettings | None = None,
    lifetimes: str = "",
    daemon_extra: str = "",
    hook: Mapping[str, str] | None = None,
    faulty: bool = False,
) -> AsyncIterator[EdgeWorld]:
    """Build it all; take it down at the end."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="edge-", dir="/run"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        edge = stack.enter_context(Namespace("pcscf"))
        ue = stack.enter_context(Namespace("phones"))
        core = stack.enter_context(Namespace("home"))
        cable = connect(
            edge, ue, (f"{EDGE[4]}/16", f"{UE[4]}/16"), (f"{EDGE[6]}/64", f"{UE[6]}/64")
        )
        connect(edge, core, (f"{EDGE_CORE}/24", f"{CORE}/24"), None)
        with edge.enter():
            sniffer = stack.enter_context(Sniffer(cable.a))
        daemon = Daemon(
            edge, folder / "sad", daemon_settings(lifetimes=lifetimes, extra=daemon_extra)
        )
        daemon.folder.chmod(0o755)
        stack.callback(daemon.stop)
        daemon.spawn()
        values = {
            "_ACCESS4_": EDGE[4],
            "_ACCESS6_": EDGE[6],
            "_CORE_": EDGE_CORE,
            "sad.socket": str(daemon.socket),
            "sad.core_hosts": f"{CORE}/32",
            "sad.core_uri": f"sip:{CORE}:{CORE_PORT}",
            "sad.timeout_ms": "3000",
            "sad.linger": "1",
            **(hook or {}),
        }
        loader = install_hook(folder)
        if faulty:
            loader = install_faulty(loader)
        text = configuration(values, loader=loader)
        kamailio = Kamailio(edge, folder, text)
        stack.callback(kamailio.stop)
        scscf = Scscf(
            home.DOMAIN,
            HostPort(CORE, CORE_PORT),
            settings=registrar or RegistrarSettings(require_protection=True),
            timers=timers,
            namespace=core.name,
        )
        ue_xfrm = IpXfrm(ue.name)
        stack.push_async_callback(ue_xfrm.close)
        stack.push_async_callback(scscf.close)
        await scscf.start()
        daemon.wait_ready()
        kamailio.start()
        world = EdgeWorld(
            folder, edge, ue, core, sniffer, daemon, kamailio, scscf, ue_xfrm, loader.parent, cable
        )

        async def close_ues() -> None:
            for one in [*world.ues]:
                await one.close()

        stack.push_async_callback(close_ues)
        try:
            yield world
        except BaseException:
            _keep_words(world)
            raise


def _keep_words(world: EdgeWorld) -> None:
    """Leave the logs of a failed run in the scratch folder."""
    scratch = os.environ.get("SAD_LANE_SCRATCH")
    if scratch:
        for log in (world.kamailio.log, world.daemon.log):
            if log.exists():
                (Path(scratch) / log.name).write_text(log.read_text(errors="replace"))


def kamailio_uid() -> int:
    """The uid of Kamailio's workers."""
    return pwd.getpwnam(USER).pw_uid
