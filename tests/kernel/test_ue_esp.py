"""The test UE in a namespace of its own, its SAs in a real kernel, against the P-CSCF double."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from tests.support import eye
from tests.support.namespaces import Namespace, connect
from tests.support.sniffer import Sniffer
from tests.support.ue_world import within
from tests.ue import home
from tests.ue.flow import HostPort
from tests.ue.node import Node
from tests.ue.pcscf import Pcscf
from tests.ue.scscf import Scscf
from tests.ue.security import SaSet
from tests.ue.transaction import Timers
from tests.ue.ue import Ue
from tests.ue.xfrm import IpXfrm

Factory = Callable[[str], Namespace]
EDGE = {4: "10.20.0.1", 6: "2001:db8:20::1"}
UE = {4: "10.20.0.2", 6: "2001:db8:20::2"}
PORT_PS, CLIENT_PORTS = 6060, (6061, 6062, 6063, 6064)
TIMERS = Timers(t1=0.1)
PATIENCE = 60.0
MODES = pytest.mark.parametrize(
    ("version", "transport", "alg", "ealg"),
    [
        (4, "UDP", "hmac-sha-1-96", "null"),
        (6, "TCP", "hmac-md5-96", "des-ede3-cbc"),
    ],
)


@dataclass
class Field:
    """Both namespaces, the servers in the one and the UEs in the other."""

    edge: Namespace
    ue: Namespace
    sniffer: Sniffer
    pcscf: Pcscf
    scscf: Scscf
    ues: tuple[Ue, Ue]

    def assert_clean(self) -> None:
        assert self.scscf.violations == []
        assert self.pcscf.violations == []
        assert [ue.violations for ue in self.ues] == [[], []]

    def counts(self) -> tuple[int, int]:
        """SAs at the UEs and at the edge."""
        return len(eye.states(self.ue)), len(eye.states(self.edge))


@contextlib.asynccontextmanager
async def field(
    netns: Factory, *, version: int, transport: str, alg: str, ealg: str
) -> AsyncIterator[Field]:
    edge, ue = netns("edge"), netns("ue")
    cable = connect(edge, ue, (f"{EDGE[4]}/24", f"{UE[4]}/24"), (f"{EDGE[6]}/64", f"{UE[6]}/64"))
    with edge.enter():
        sniffer = Sniffer(cable.a)
    clear = HostPort(EDGE[version], 5060)
    scscf = Scscf(home.DOMAIN, HostPort(EDGE[version], 4060), timers=TIMERS, namespace="edge")
    edge_xfrm, ue_xfrm = IpXfrm("edge", mirrored=True), IpXfrm("ue")
    pcscf = Pcscf(
        clear,
        scscf.local,
        edge_xfrm,
        port_ps=PORT_PS,
        client_ports=CLIENT_PORTS,
        algorithms=((alg, ealg),),
        linger=0.5,
        namespace="edge",
    )
    ues = []
    for number in (1, 2):
        scscf.add(home.subscriber(number))
        config = home.ue_config(
            number,
            address=UE[version],
            pcscf=clear,
            port=5060 + number,
            transport=transport,
            algorithms=((alg, ealg),),
            timers=TIMERS,
            namespace="ue",
        )
        ues.append(Ue(config, ue_xfrm))
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(sniffer)
        for part in (edge_xfrm, ue_xfrm):
            stack.push_async_callback(part.close)
        servers: tuple[Node | Ue, ...] = (scscf, pcscf, *ues)
        for server in servers:
            stack.push_async_callback(server.close)
            await server.start()
        yield Field(edge, ue, sniffer, pcscf, scscf, (ues[0], ues[1]))


@MODES
async def test_ue_esp_carries_a_whole_registration(
    netns: Factory, version: int, transport: str, alg: str, ealg: str
) -> None:
    """T33-7.1-a to -d, T24-UE-2 to T24-UE-6: calls, re-registration and its end inside ESP.

    The kernel holds four SAs a set, both sets side by side after the re-registration, and
    nothing at the end. No SIP passes a protected port in clear.
    """
    async with field(netns, version=version, transport=transport, alg=alg, ealg=ealg) as here:
        first, second = here.ues
        await within(PATIENCE, first.register())
        assert here.counts() == (4, 4)
        await within(PATIENCE, second.register())
        assert here.counts() == (8, 8)

        placed = await within(PATIENCE, first.call(home.public_identity(2)))
        taken = await within(PATIENCE, second.calls.get())
        assert (await within(PATIENCE, taken.reinvite())).status == 200
        assert (await within(PATIENCE, placed.bye())).status == 200
        text = "a text that must not be readable on the wire"
        await within(PATIENCE, second.message(home.public_identity(1), text))
        assert (await within(PATIENCE, first.messages.get())).body == text.encode()

        await within(PATIENCE, first.register())
        assert here.counts()[0] == 12
        await within(PATIENCE, first.message(home.public_identity(2), text))
        await within(PATIENCE, first.sets_become(1))
        assert here.counts()[0] == 8

        for ue in here.ues:
            await within(PATIENCE, ue.deregister())
        assert here.counts()[0] == 0
        assert eye.policies(here.ue) == []
        ports = {PORT_PS, *CLIENT_PORTS}
        assert here.sniffer.clear_on(ports) == []
        assert len(here.sniffer.esp()) > 20
        if ealg != "null":
            assert not here.sniffer.saw_bytes(text.encode())
        here.assert_clean()


async def test_ue_esp_selectors_are_strict(netns: Factory) -> None:
    """T33-7.1-b: on the ports of SA3 clear text is not delivered, nor what another SA carries."""
    async with field(netns, version=4, transport="UDP", alg="hmac-sha-1-96", ealg="null") as here:
        ue, _ = here.ues
        await within(PATIENCE, ue.register())
        s = ue.channel().sa_set
        assert s is not None
        before = eye.statistics(here.ue)
        request = ue.new_request("MESSAGE", home.public_identity(1))
        request = request.without("Require", "Proxy-Require", "Security-Verify")
        via = f"SIP/2.0/UDP {EDGE[4]}:{PORT_PS};branch=z9hG4bKclear"
        data = request.prepend("Via", via).encode()
        local, remote = HostPort(EDGE[4], s.port_pc), HostPort(UE[4], s.port_us)

        # In ESP it is a message for the UE ...
        here.pcscf.datagrams(local, remote).send(data)
        await within(PATIENCE, ue.messages.get())
        # ... and in clear the kernel drops it.
        await _forget_policies(here, s)
        here.pcscf.datagrams(local, remote).send(data.replace(b"z9hG4bKclear", b"z9hG4bKagain"))
        here.pcscf.datagrams(here.pcscf.clear, HostPort(UE[4], ue.config.port)).send(data)
        await within(PATIENCE, ue.violated.wait())  # the last one came in clear to a clear port
        assert ue.messages.empty()
        after = eye.statistics(here.ue)
        assert after["XfrmInTmplMismatch"] == before["XfrmInTmplMismatch"] + 1


async def _forget_policies(here: Field, s: SaSet) -> None:
    """Take the edge's outbound policy of SA3 away: it now sends in clear."""
    selector = f"src {s.pcscf_address} dst {s.ue_address} sport {s.port_pc} dport {s.port_us}"
    here.edge.run(["ip", *f"xfrm policy delete dir out {selector}".split()])
