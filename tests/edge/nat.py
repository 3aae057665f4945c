"""Phones behind a NAT of the UEs' side: one namespace more, and a masquerade before it.

The UEs' namespace of :class:`tests.edge.world.EdgeWorld` is the NAT box; what is behind it has
private addresses and is :mod:`tests.ue`'s, with SAs by ``ip xfrm``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.edge.world import ACCESS_PORT, EDGE, TIMERS, UE, EdgeWorld
from tests.support.daemon import wait_until
from tests.support.encapsulated import encapsulating_socket
from tests.support.namespaces import Namespace, connect
from tests.ue import home
from tests.ue.flow import HostPort
from tests.ue.ue import Ue
from tests.ue.xfrm import IpXfrm

GATEWAY, PRIVATE = "192.168.7.1", ("192.168.7.2", "192.168.7.3")
OUTSIDE = UE[4]
_SETTINGS = 'nat_traversal = true\nnat_networks = ["192.168.0.0/16"]\n'


class NatBox:
    """The NAT and what is behind it."""

    def __init__(self, world: EdgeWorld, behind: Namespace, xfrm: IpXfrm) -> None:
        self.world = world
        self.behind = behind
        self.xfrm = xfrm

    def masquerade(self, verb: str, ports: range) -> None:
        """Let the phones' UDP port 4500 become one of these: -A, or -R for other ones."""
        outside = self.world.cable.b
        where = ("POSTROUTING", "1") if verb == "-R" else ("POSTROUTING",)
        what = ("-o", outside, "-s", f"{GATEWAY}/24", "-p", "udp", "--sport", "4500")
        to = ("-j", "MASQUERADE", "--to-ports", f"{ports[0]}-{ports[-1]}")
        self.world.ue.run(["iptables-legacy", "-w", "-t", "nat", verb, *where, *what, *to])

    def forget(self, ports: range) -> None:
        """Forget everything, as after a power cut, and take these ports from now on."""
        self.masquerade("-R", ports)
        for state in ("down", "up"):  # a masquerade forgets what left by what goes down
            self.world.ue.run(["ip", "link", "set", self.world.cable.b, state])

    async def phone(self, number: int, private: str, **settings: Any) -> Ue:
        """Start the UE of a subscriber behind the NAT; ``settings`` are of UeConfig, or alter."""
        given: dict[str, Any] = {"port": 0, "timers": TIMERS, "behind_nat": True, **settings}
        alter = given.pop("alter", None)
        config = home.ue_config(
            number,
            pcscf=HostPort(EDGE[4], ACCESS_PORT),
            namespace=self.behind.name,
            address=private,
            **given,
        )
        if self.world.scscf.registrar.owner(config.public_identity) is None:
            self.world.scscf.add(home.subscriber(number))
        ue = Ue(config, self.xfrm, alter=alter)
        await ue.start()
        self.world.ues.append(ue)
        return ue

    def nat_ports(self) -> dict[str, int]:
        """The NAT's port by private address, as the daemon has learnt it."""
        sets = [a["ipsec3gpp"] for a in self.world.daemon.associations()]
        return {
            s["ueAddress"]: s["udpEncapsulation"]["peerPort"]
            for s in sets
            if s["udpEncapsulation"] is not None
        }

    async def learnt(self, private: str, ports: range) -> None:
        """Wait until the port of a phone is learnt."""
        await asyncio.to_thread(
            wait_until, lambda: self.nat_ports().get(private) in ports, f"a port of {ports}"
        )


@contextlib.asynccontextmanager
async def nat_box(world: EdgeWorld, ports: range) -> AsyncIterator[NatBox]:
    """Put a NAT before new phones, and have the edge's endpoint serve such; undo it at the end."""
    daemon = world.daemon
    before = daemon.config.read_text()
    async with contextlib.AsyncExitStack() as stack:
        behind = stack.enter_context(Namespace("behind"))
        cable = connect(world.ue, behind, (f"{GATEWAY}/24", f"{PRIVATE[0]}/24"), None)
        behind.run(["ip", "address", "add", f"{PRIVATE[1]}/24", "dev", cable.b])
        behind.run(["ip", "route", "add", "default", "via", GATEWAY])
        world.edge.run(
            ["ip", "route", "add", f"{GATEWAY.rpartition('.')[0]}.0/24", "via", OUTSIDE]
        )
        forward = Path("/proc/sys/net/ipv4/ip_forward")
        world.ue.call(lambda: forward.write_text("1"))
        # The other phones keep their IPv6 addresses when the link goes down for a moment.
        keep = Path(f"/proc/sys/net/ipv6/conf/{world.cable.b}/keep_addr_on_down")
        world.ue.call(lambda: keep.write_text("1"))
        xfrm = IpXfrm(behind.name)
        stack.push_async_callback(xfrm.close)
        box = NatBox(world, behind, xfrm)
        box.masquerade("-A", ports)
        rest = ("-o", world.cable.b, "-s", f"{GATEWAY}/24", "-j", "MASQUERADE")
        world.ue.run(["iptables-legacy", "-w", "-t", "nat", "-A", "POSTROUTING", *rest])
        for private in PRIVATE:
            stack.enter_context(encapsulating_socket(behind, private))
        daemon.reload(before + _SETTINGS)
        try:
            yield box
        finally:
            await world.clean()
            daemon.reload(before)
            world.ue.run(["iptables-legacy", "-w", "-t", "nat", "-F"])
            world.ue.call(lambda: forward.write_text("0"))
            world.edge.run(["ip", "route", "flush", "via", OUTSIDE])
