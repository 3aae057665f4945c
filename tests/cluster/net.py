"""Machines on one network: a switch, an address that moves between them, and cables to cut.

Each machine is a network namespace with an address of its own. What the address moves by is what
keepalived does: it is taken from one, given to another, and a gratuitous ARP tells the rest.
"""

import contextlib
import functools
import socket
import struct
from collections.abc import Iterator
from typing import Final

from pyroute2 import IPRoute

from tests.support.namespaces import Namespace, connect

#: The moving address (an endpoint's), and the machines' own.
ADDRESS: Final = "10.10.0.1"
NETWORK: Final = "10.10.0.0/24"
#: All user agents live behind one machine, each with an address of its own.
UE_NETWORK: Final = "10.20.0.0/16"

_BROADCAST: Final = b"\xff" * 6
_ETH_P_ARP: Final = 0x0806
_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_ARP_REQUEST: Final = 1


class Machine(Namespace):
    """One machine; ``address`` is its own, ``interface`` the one toward the switch."""

    def __init__(self, name: str, address: str) -> None:
        super().__init__(name)
        self.address = address
        self.interface = ""
        self.port = ""

    def take_address(self, address: str = ADDRESS) -> None:
        """Take an address, and tell everybody (RFC 5944 4.6)."""
        self.call(functools.partial(_change_address, "add", self.interface, address))
        with self.enter():
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP))
        with raw:
            raw.bind((self.interface, _ETH_P_ARP))
            own = raw.getsockname()[4]
            packed = socket.inet_aton(address)
            announcement = _ARP.pack(1, 0x0800, 6, 4, _ARP_REQUEST, own, packed, bytes(6), packed)
            raw.send(_BROADCAST + own + struct.pack("!H", _ETH_P_ARP) + announcement)

    def drop_address(self, address: str = ADDRESS) -> None:
        """Lose an address; that it has none is no error."""
        with contextlib.suppress(Exception):
            self.call(functools.partial(_change_address, "del", self.interface, address))

    def hear_nothing_from(self, *addresses: str) -> None:
        """Cut the way to other machines: what is sent there vanishes."""
        for address in addresses:
            self.run(["ip", "route", "replace", "blackhole", f"{address}/32"])

    def hear_again(self, *addresses: str) -> None:
        """Mend it."""
        for address in addresses:
            self.run(["ip", "route", "del", "blackhole", f"{address}/32"])


def _change_address(verb: str, interface: str, address: str) -> None:
    with IPRoute() as route:
        (index,) = route.link_lookup(ifname=interface)
        route.addr(verb, index=index, address=address, prefixlen=32)


class Network:
    """A switch and its machines; :func:`network` makes one."""

    def __init__(self, switch: Namespace, stack: contextlib.ExitStack) -> None:
        self._switch = switch
        self._stack = stack
        switch.call(_make_bridge)

    def machine(self, name: str, address: str) -> Machine:
        """Plug in a machine."""
        machine = self._stack.enter_context(Machine(name, address))
        cable = connect(machine, self._switch, None, None)
        machine.interface, machine.port = cable.a, cable.b
        self._switch.call(functools.partial(_enslave, cable.b))
        machine.run(["ip", "addr", "add", f"{address}/24", "dev", cable.a])
        return machine

    def unplug(self, machine: Machine) -> None:
        """Pull a machine's cable at the switch."""
        self._switch.run(["ip", "link", "set", machine.port, "down"])

    def plug(self, machine: Machine) -> None:
        """Put it back."""
        self._switch.run(["ip", "link", "set", machine.port, "up"])


def _make_bridge() -> None:
    with IPRoute() as route:
        route.link("add", ifname="switch", kind="bridge")
        (index,) = route.link_lookup(ifname="switch")
        route.link("set", index=index, state="up")


def _enslave(port: str) -> None:
    with IPRoute() as route:
        (bridge,) = route.link_lookup(ifname="switch")
        (index,) = route.link_lookup(ifname=port)
        route.link("set", index=index, master=bridge)


@contextlib.contextmanager
def network(name: str = "net") -> Iterator[Network]:
    """Lay a network; it goes with everything plugged in."""
    with contextlib.ExitStack() as stack:
        yield Network(stack.enter_context(Namespace(name)), stack)
