"""Two nodes with one endpoint, its address on either, a real etcd, and phones that talk.

phones -- switch -- a, b: sad and who answers for the SIP server
-- etcd, or three of it: on a, on b, and there
"""

import asyncio
import contextlib
import dataclasses
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from netlink.counters import ObservedCounters
from netlink.kernel import KernelIpsec
from netlink.model import ObservedSa
from sip_hooks.client import CallError
from tests.cluster.net import ADDRESS, UE_NETWORK, Machine, Network, network
from tests.cluster.phones import (
    CLIENT_PORTS,
    SERVER_PORT,
    Answerer,
    Traffic,
    install_of,
    lay_phones,
    own_end,
    prepare,
)
from tests.cluster.server import Cluster
from tests.support import eye
from tests.support.daemon import CONTROL, PATIENCE, Daemon, endpoint_settings, wait_until

OWN: Final = {"a": "10.10.0.11", "b": "10.10.0.12"}
ETCD: Final = "10.10.0.13"
PHONES: Final = "10.10.0.200"
#: Of ``[cluster]``: the lease that the issue asks for, and numbers told as often as they move.
SETTINGS: Final = """
lease_seconds = 3
lease_margin_seconds = 1.0
counters_interval_seconds = 0.2
"""
_CREDENTIAL: Final = "sad-cluster"
_LATER: Final = 3
_BETWEEN_SECONDS: Final = 0.5


@dataclasses.dataclass
class Node:
    """One edge node."""

    name: str
    machine: Machine
    daemon: Daemon

    def own_words(self) -> dict[str, Any]:
        """What it says of the endpoint."""
        (told,) = self.daemon.status()["cluster"]["endpoints"]
        return dict(told)

    @property
    def owns(self) -> bool:
        """Whether it says that the endpoint is its own."""
        return self.own_words()["state"] in ("owner", "unsure")

    def take_over(self, *, fenced: bool = False) -> None:
        """As ``sadctl takeover access [--fenced]``, and wait until it is done."""
        self.daemon.client.call(f"{CONTROL}.Takeover", {"endpoint": "access", "fenced": fenced})

    async def counters(self) -> list[ObservedCounters]:
        """Where its SAs stand."""
        with self.machine.enter():
            kernel = await KernelIpsec.open()
        try:
            return await kernel.dump_counters()
        finally:
            kernel.close()

    def sa_count(self) -> int:
        """How many SAs lie in its kernel."""
        return asyncio.run(self._count())

    async def _count(self) -> int:
        with self.machine.enter():
            kernel = await KernelIpsec.open()
        try:
            return (await kernel.count()).sas
        finally:
            kernel.close()


async def sas_of(machine: Machine) -> list[ObservedSa]:
    """What lies in a machine's kernel."""
    with machine.enter():
        kernel = await KernelIpsec.open()
    try:
        return await kernel.dump_sas()
    finally:
        kernel.close()


@dataclasses.dataclass
class ClusterWorld:
    """The whole of it; made by :func:`cluster_world`."""

    network: Network
    etcd: Cluster
    etcd_machines: Sequence[Machine]
    phones: Machine
    sealing_key: bytes
    a: Node
    b: Node
    installed: dict[int, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def other(self, node: Node) -> Node:
        """The other node."""
        return self.b if node is self.a else self.a

    def move_address(self, to: Node) -> float:
        """Move the endpoint's address; return when (monotonic seconds)."""
        self.other(to).machine.drop_address()
        to.machine.drop_address()
        to.machine.take_address()
        return time.monotonic()

    def install(self, node: Node, phones: Sequence[int], **how: Any) -> None:
        """Have phones registered at a node, and lay their own ends."""
        told = {n: node.daemon.call("Install", **install_of(n, **how)) for n in phones}
        ends = [(n, own_end(n, told[n]["association"])) for n in phones]
        asyncio.run(lay_phones(self.phones, ends))
        self.installed |= {n: told[n]["association"] for n in phones}

    def owner(self) -> Node:
        """Wait until one node has the endpoint and the other has let it go; return that one."""
        found: list[Node] = []

        def one_has_it() -> bool:
            found[:] = [node for node in (self.a, self.b) if node.owns]
            return len(found) == 1 and self.other(found[0]).sa_count() == 0

        wait_until(one_has_it, "one node has the endpoint")
        return found[0]

    def wait_replicated(self, node: Node) -> None:
        """Wait until etcd has been told everything."""

        def told() -> bool:
            status = node.daemon.status()["cluster"]
            return bool(status["waiting"] == 0 and not status["compareWanted"])

        wait_until(told, f"etcd knows all of {node.name}")

    def ids(self, node: Node) -> set[str]:
        """Ids of the associations that live at a node."""
        return {a["id"] for a in node.daemon.associations()}

    def traffic(self, rate: float) -> Traffic:
        """Phones that talk, in turn, once entered."""
        return Traffic(self.phones, tuple(self.installed), rate)

    def wait_heard(self, traffic: Traffic, *, since: float) -> None:
        """Wait until every phone has had an answer to what it said after an instant."""
        wait_until(
            lambda: traffic.phones_answered_since(since) == set(self.installed),
            "every phone gets through",
            self.patience(traffic),
        )

    def patience(self, traffic: Traffic) -> float:
        """Seconds for something that every phone does in its turn."""
        return PATIENCE + 2 * len(self.installed) * traffic.pause

    def wait_counters_told(self) -> None:
        """Wait until etcd knows the sequence numbers of every set as they are at this instant.

        Phones must be talking: a third later word of a set's numbers has what was on the way to
        the first.
        """
        before = self.etcd.versions("/sad/v1/edge/counters/")

        until = time.monotonic() + 4 * PATIENCE
        while time.monotonic() < until:
            time.sleep(_BETWEEN_SECONDS)  # etcdctl is dear to start in a guest
            now = self.etcd.versions("/sad/v1/edge/counters/")
            later = sum(version >= before.get(key, 0) + _LATER for key, version in now.items())
            if later == len(self.installed):
                return
        raise AssertionError(f"etcd was told the numbers of {later} sets")

    def drops(self, *machines: Machine) -> dict[str, int]:
        """Packets that a kernel dropped for a reason that a takeover must not be."""
        seen = [eye.statistics(machine) for machine in machines]
        names = (
            "XfrmInStateSeqError",
            "XfrmInStateProtoError",
            "XfrmInStateModeError",
            "XfrmInNoPols",
            "XfrmOutStateSeqError",
        )
        return {name: sum(one[name] for one in seen) for name in names}


@contextlib.contextmanager
def cluster_world(
    folder: Path, *, takeover: str = "manual", members: int = 1, settings: str = SETTINGS
) -> Iterator[ClusterWorld]:
    """Build it; the endpoint's address is at node a. ``settings`` are of ``[cluster]``."""
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network())
        machines = {name: net.machine(name, address) for name, address in OWN.items()}
        third = net.machine("etcd", ETCD)
        phones = net.machine("phones", PHONES)
        prepare(phones)
        for machine in machines.values():
            machine.run(["ip", "route", "add", UE_NETWORK, "via", PHONES])
        etcd_machines = [third] if members == 1 else [third, *machines.values()]
        store = folder / "etcd"
        store.mkdir()
        etcd = Cluster(store, machines=etcd_machines)
        stack.callback(etcd.stop)
        etcd.start()
        sealing_key = secrets.token_bytes(32)
        stack.enter_context(_credential(folder, sealing_key))
        machines["a"].take_address()
        nodes = {}
        for name, machine in machines.items():
            known = ", ".join(f'"{target}"' for target in etcd.targets)
            table = f'[cluster]\nname = "edge"\nnode = "{name}"\netcd = [{known}]\n{settings}\n'
            ports = f"{CLIENT_PORTS[0]}-{CLIENT_PORTS[-1]}"
            extra = f'takeover = "{takeover}"\n'
            endpoint = endpoint_settings("access", (ADDRESS,), SERVER_PORT, ports, extra=extra)
            daemon = Daemon(machine, folder / name, table + endpoint)
            stack.callback(daemon.stop)
            nodes[name] = Node(name, machine, daemon)
        nodes["a"].daemon.start()
        wait_until(lambda: nodes["a"].owns, "node a has the endpoint")
        nodes["b"].daemon.start()
        stack.enter_context(Answerer(machines.values()))
        yield ClusterWorld(net, etcd, etcd_machines, phones, sealing_key, nodes["a"], nodes["b"])


@contextlib.contextmanager
def _credential(folder: Path, key: bytes) -> Iterator[None]:
    """The same sealing key at all nodes, as systemd hands it over."""
    place = folder / "credentials"
    place.mkdir()
    path = place / _CREDENTIAL
    path.write_bytes(key)
    path.chmod(0o400)
    before = os.environ.get("CREDENTIALS_DIRECTORY")
    os.environ["CREDENTIALS_DIRECTORY"] = str(place)
    try:
        yield
    finally:
        if before is None:
            del os.environ["CREDENTIALS_DIRECTORY"]
        else:
            os.environ["CREDENTIALS_DIRECTORY"] = before


def refusal_of(call: Any) -> CallError:
    """Return the refusal of a call that must be refused."""
    try:
        call()
    except CallError as error:
        return error
    raise AssertionError("it was not refused")
