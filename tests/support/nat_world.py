"""User agents behind a real NAT: namespaces, iptables MASQUERADE, and a daemon at the edge.

    phone0, phone1 -- nat -- edge

The NAT is the kernel's own, and the phones' ends of the tunnels are made by ``ip xfrm``.
:mod:`tests.support.pair` is the same without a NAT.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.ike.charon import RealCharon
from tests.support.daemon import Daemon, endpoint_settings, wait_until
from tests.support.encapsulated import encapsulating_socket
from tests.support.make import CK, IK
from tests.support.namespaces import Cable, Namespace, connect
from tests.support.pair import EDGE, EDGE_SERVER, UE_CLIENTS, Ends
from tests.ue.security import SaSet, esp_transforms
from tests.ue.xfrm import add_commands

#: The NAT outside; the edge sees nobody else.
OUTSIDE = "10.10.0.2"
OUTSIDE6 = "2001:db8:1::2"
PRIVATE = ("192.168.7.2", "192.168.8.2")
PRIVATE6 = ("fd00:7::2", "fd00:8::2")
#: Their protected server ports.
UE_SERVERS = (6800, 6900)
_GATEWAYS = ("192.168.7.1", "192.168.8.1")
_GATEWAYS6 = ("fd00:7::1", "fd00:8::1")
#: What the NAT makes of the phones' port 4500, before it is made to forget, and after.
FIRST_PORTS, LATER_PORTS = range(41000, 41100), range(42000, 42100)

_NOTHING: Mapping[str, int] = MappingProxyType({})
_KEYS = {"integrityKey": IK.hex(), "cipherKey": CK.hex()}
_NAT = """
nat_traversal = true
nat_networks = ["192.168.0.0/16", "fd00::/8"]
"""


class Nat(Namespace):
    """The box between: what comes from inside leaves with its own address and another port."""

    def open(self, outside: str) -> None:
        """Forward and masquerade; ``outside`` is the interface there."""
        self.outside = outside
        self.write("ip_forward", 1)
        self.write("ipv6/conf/all/forwarding", 1)
        self._rule("-A", FIRST_PORTS)
        self._rule("-A", FIRST_PORTS, "ip6tables-legacy")
        self._iptables("-t", "nat", "-A", "POSTROUTING", "-o", outside, "-j", "MASQUERADE")

    def _iptables(self, *arguments: str, program: str = "iptables-legacy") -> None:
        self.run([program, "-w", *arguments])

    def _rule(self, verb: str, ports: range, program: str = "iptables-legacy") -> None:
        what = (*("-o", self.outside, "-p", "udp", "--sport", "4500"), "-j", "MASQUERADE")
        to = ("--to-ports", f"{ports[0]}-{ports[-1]}")
        place = ("1",) if verb == "-R" else ()
        self._iptables("-t", "nat", verb, "POSTROUTING", *place, *what, *to, program=program)

    def write(self, name: str, value: int) -> None:
        """Set a number below /proc/sys/net/ipv4 or, with a slash, /proc/sys/net."""
        path = Path("/proc/sys/net", name if "/" in name else f"ipv4/{name}")
        self.call(lambda: path.write_text(str(value)))

    def forget_after(self, seconds: int) -> None:
        """Have it forget UDP that is silent for so long; usual are 30 and 180 s."""
        for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            self.write(f"netfilter/{name}", seconds)

    def forget(self) -> None:
        """Forget everything, as after a power cut, and take other ports from now on.

        A masquerade forgets what left by an interface that goes down.
        """
        self._rule("-R", LATER_PORTS)
        self.run(["ip", "link", "set", self.outside, "down"])
        self.run(["ip", "link", "set", self.outside, "up"])


@dataclasses.dataclass
class NatWorld(Ends):
    """``ue`` is the first phone, :meth:`Ends` speak between it and the edge."""

    nat: Nat
    phones: tuple[Namespace, ...]
    edge_daemon: Daemon
    charon: RealCharon | None = None

    def namespace_of(self, address: str) -> Namespace:
        """Return the side that has an address."""
        if address in EDGE.values():
            return self.edge
        return self.phones[(PRIVATE6 if ":" in address else PRIVATE).index(address)]

    def row(
        self,
        number: int,
        *,
        client: int = 0,
        mode: str = "UDP-enc-tun",
        given: Mapping[str, int] = _NOTHING,
    ) -> str:
        """Return a phone's Security-Client: its ``client``-th pair of ports, or those given."""
        own = {
            "spi-c": 1000 * (number + 1) + 10 * client,
            "spi-s": 1000 * (number + 1) + 10 * client + 1,
            "port-c": UE_CLIENTS[client],
            "port-s": UE_SERVERS[number],
        }
        values = ";".join(f"{name}={value}" for name, value in {**own, **given}.items())
        return f"ipsec-3gpp;mod={mode};alg=hmac-sha-1-96;ealg=null;{values}"

    def offer(self, row: str, number: int = 0, *, version: int = 4, **more: Any) -> dict[str, Any]:
        """Have the edge take what a phone offers in an unprotected REGISTER."""
        wanted = {
            "endpoint": "access",
            "registration": {
                "privateIdentity": f"phone{number}@ims.example",
                "publicIdentities": [],
            },
            "flow": {
                "peerAddress": OUTSIDE if version == 4 else OUTSIDE6,
                "peerPort": 5060,
                "localAddress": EDGE[version],
                "localPort": 5060,
            },
            "viaAddress": (PRIVATE if version == 4 else PRIVATE6)[number],
            "transaction": {"callId": row, "cseq": 1, "branch": "z9hG4bK1"},
            "association": None,
            "securityClient": [row],
            **_KEYS,
        } | more
        return self.edge_daemon.call("Offer", **wanted)

    def take(self, association: dict[str, Any], number: int = 0) -> None:
        """Install the phone's end of a set of the edge."""
        s = association["ipsec3gpp"]
        sa_set = SaSet(
            ue_address=s["ueAddress"],
            pcscf_address=s["pcscfAddress"],
            spi_uc=s["spiUc"],
            spi_us=s["spiUs"],
            spi_pc=s["spiPc"],
            spi_ps=s["spiPs"],
            port_uc=s["portUc"],
            port_us=s["portUs"],
            port_pc=s["portPc"],
            port_ps=s["portPs"],
            alg=s["integrityAlgorithm"],
            ealg=s["encryptionAlgorithm"],
            transforms=esp_transforms(
                s["integrityAlgorithm"], s["encryptionAlgorithm"], ck=CK, ik=IK
            ),
            encapsulated=True,
        )
        self._ip(self.phones[number], *add_commands(sa_set))

    @staticmethod
    def _ip(phone: Namespace, *commands: str) -> None:
        phone.run(["ip", "-batch", "-"], stdin="\n".join([*commands, ""]))

    def registered(self, number: int = 0, **row: Any) -> dict[str, Any]:
        """Bring a phone from Offer to a set in use, its first packet included."""
        association = self.offer(self.row(number, **row), number)["association"]
        self.take(association, number)
        assert self.udp(*self.port_pairs(association)[0], b"REGISTER")
        self.wait_for_port(association["id"])
        return dict(
            self.edge_daemon.call("Confirm", id=association["id"], expiresSeconds=600)[
                "association"
            ]
        )

    def nat_port(self, association_id: str) -> int:
        """Return the NAT's port as the edge has learnt it."""
        found = self.edge_daemon.call("Get", id=association_id)["association"]["ipsec3gpp"]
        return int(found["udpEncapsulation"]["peerPort"])

    def wait_for_port(self, association_id: str, ports: range = range(1, 1 << 16)) -> None:
        """Wait until the edge has learnt a port of the NAT, of a range."""
        wait_until(
            lambda: self.nat_port(association_id) in ports, f"a NAT port of {ports} is learnt"
        )

    def clean(self) -> None:
        """End every set on every side."""
        for association in self.edge_daemon.associations():
            self.edge_daemon.call("Release", id=association["id"])
        for phone in self.phones:
            self._ip(phone, "xfrm state flush", "xfrm policy flush")


def _behind(nat: Nat, number: int) -> Namespace:
    phone = Namespace(f"phone{number}")
    v4 = f"{_GATEWAYS[number]}/24", f"{PRIVATE[number]}/24"
    connect(nat, phone, v4, (f"{_GATEWAYS6[number]}/64", f"{PRIVATE6[number]}/64"))
    phone.run(["ip", "route", "add", "default", "via", _GATEWAYS[number]])
    phone.run(["ip", "route", "add", "default", "via", _GATEWAYS6[number]])
    return phone


@contextlib.contextmanager
def nat_world(
    folder: Path,
    *,
    settings: str = "",
    nat: str = _NAT,
    count: int = 2,
    charon: bool = False,
) -> Iterator[NatWorld]:
    """Build it; ``settings`` are the edge's, ``nat`` those of its endpoint.

    ``count``: so many phones. ``charon``: a strongSwan is at the edge first.
    """
    with contextlib.ExitStack() as stack:
        box = stack.enter_context(Nat("nat"))
        edge = stack.enter_context(Namespace("edge"))
        v6 = f"{EDGE[6]}/64", f"{OUTSIDE6}/64"
        cable: Cable = connect(edge, box, (f"{EDGE[4]}/24", f"{OUTSIDE}/24"), v6)
        edge.run(["ip", "route", "add", "default", "via", OUTSIDE])
        edge.run(["ip", "route", "add", "default", "via", OUTSIDE6])
        box.open(cable.b)
        phones = tuple(stack.enter_context(_behind(box, n)) for n in range(count))
        strongswan = None
        if charon:
            strongswan = RealCharon(edge, folder / "charon")
            stack.callback(strongswan.stop)
            strongswan.start()
        for n, phone in enumerate(phones):
            for address in (PRIVATE[n], PRIVATE6[n]):
                stack.enter_context(encapsulating_socket(phone, address))
        ends = tuple(EDGE.values())
        edge_daemon = Daemon(
            edge,
            folder / "edge",
            settings + endpoint_settings("access", ends, EDGE_SERVER, "5068-5071", extra=nat),
        )
        stack.callback(edge_daemon.stop)
        edge_daemon.start()
        yield NatWorld(
            edge,
            phones[0],
            cable,
            box,
            phones,
            edge_daemon,
            strongswan,
        )
