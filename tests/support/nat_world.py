"""User agents behind a real NAT: namespaces, iptables MASQUERADE, and a daemon at each end.

    phone1, phone2 -- nat -- edge

The phones' daemons play role ue, so both ends of the tunnel are the product's; the NAT is the
kernel's own. :mod:`tests.support.pair` is the same without a NAT.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.ike.charon import RealCharon
from tests.support.daemon import Daemon, endpoint_settings, wait_until
from tests.support.make import CK, IK
from tests.support.namespaces import Cable, Namespace, connect
from tests.support.pair import EDGE, EDGE_SERVER, UE_CLIENTS, Ends

#: The NAT outside; the edge sees nobody else.
OUTSIDE = "10.10.0.2"
PRIVATE = ("192.168.7.2", "192.168.8.2")
#: Their protected server ports.
UE_SERVERS = (6800, 6900)
_GATEWAYS = ("192.168.7.1", "192.168.8.1")
#: What the NAT makes of the phones' port 4500, before it is made to forget, and after.
FIRST_PORTS, LATER_PORTS = range(41000, 41100), range(42000, 42100)

_NOTHING: Mapping[str, int] = MappingProxyType({})
_KEYS = {"integrityKey": IK.hex(), "cipherKey": CK.hex()}
_NAT = """
nat_traversal = true
nat_networks = ["192.168.0.0/16"]
"""


class Nat(Namespace):
    """The box between: what comes from inside leaves with its own address and another port."""

    def open(self, outside: str) -> None:
        """Forward and masquerade; ``outside`` is the interface there."""
        self.outside = outside
        self.write("ip_forward", 1)
        self._rule("-A", FIRST_PORTS)
        self.iptables("-t", "nat", "-A", "POSTROUTING", "-o", outside, "-j", "MASQUERADE")

    def iptables(self, *arguments: str) -> None:
        self.run(["iptables-legacy", "-w", *arguments])

    def _rule(self, verb: str, ports: range) -> None:
        what = (*("-o", self.outside, "-p", "udp", "--sport", "4500"), "-j", "MASQUERADE")
        to = ("--to-ports", f"{ports[0]}-{ports[-1]}")
        place = ("1",) if verb == "-R" else ()
        self.iptables("-t", "nat", verb, "POSTROUTING", *place, *what, *to)

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
    phone_daemons: tuple[Daemon, ...]
    charon: RealCharon | None = None

    def namespace_of(self, address: str) -> Namespace:
        """Return the side that has an address."""
        return self.edge if address == EDGE[4] else self.phones[PRIVATE.index(address)]

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

    def offer(self, row: str, number: int = 0, **more: Any) -> dict[str, Any]:
        """Have the edge take what a phone offers in an unprotected REGISTER."""
        wanted = {
            "endpoint": "access",
            "registration": {
                "privateIdentity": f"phone{number}@ims.example",
                "publicIdentities": [],
            },
            "flow": {
                "peerAddress": OUTSIDE,
                "peerPort": 5060,
                "localAddress": EDGE[4],
                "localPort": 5060,
            },
            "viaAddress": PRIVATE[number],
            "transaction": {"callId": row, "cseq": 1, "branch": "z9hG4bK1"},
            "association": None,
            "securityClient": [row],
            **_KEYS,
        } | more
        return self.edge_daemon.call("Offer", **wanted)

    def take(self, association: dict[str, Any], number: int = 0) -> dict[str, Any]:
        """Install the phone's end of a set of the edge."""
        set_ = association["ipsec3gpp"] | _KEYS
        set_["udpEncapsulation"] = {
            "peerAddress": EDGE[4],
            "peerPort": 4500,
            "localPort": 4500,
        }
        return dict(
            self.phone_daemons[number].call(
                "Install",
                endpoint="phone",
                role="ue",
                registration=association["registration"],
                mechanism="ipsec-3gpp",
                ipsec3gpp=set_,
                lifetimeSeconds=120,
            )["association"]
        )

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
        for daemon in (self.edge_daemon, *self.phone_daemons):
            for association in daemon.associations():
                daemon.call("Release", id=association["id"])


def _behind(nat: Nat, name: str, address: str, gateway: str) -> Namespace:
    phone = Namespace(name)
    connect(nat, phone, (f"{gateway}/24", f"{address}/24"), None)
    phone.run(["ip", "route", "add", "default", "via", gateway])
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
        cable: Cable = connect(edge, box, (f"{EDGE[4]}/24", f"{OUTSIDE}/24"), None)
        edge.run(["ip", "route", "add", "default", "via", OUTSIDE])
        box.open(cable.b)
        phones = tuple(
            stack.enter_context(_behind(box, f"phone{n}", PRIVATE[n], _GATEWAYS[n]))
            for n in range(count)
        )
        strongswan = None
        if charon:
            strongswan = RealCharon(edge, folder / "charon")
            stack.callback(strongswan.stop)
            strongswan.start()
        quiet = "\n[lifetimes]\nnat_keepalive_seconds = 0\n"
        edge_daemon = Daemon(
            edge,
            folder / "edge",
            settings
            + endpoint_settings("access", (EDGE[4],), EDGE_SERVER, "5068-5071", extra=nat),
        )
        daemons = tuple(
            Daemon(
                phone,
                folder / phone.name,
                quiet
                + endpoint_settings(
                    "phone", (address,), server, "6802-6803", role="ue", extra=_NAT
                ),
            )
            for phone, address, server in zip(phones, PRIVATE, UE_SERVERS, strict=False)
        )
        for daemon in (edge_daemon, *daemons):
            stack.callback(daemon.stop)
            daemon.spawn()
        for daemon in (edge_daemon, *daemons):
            daemon.wait_ready()
        yield NatWorld(
            edge,
            phones[0],
            cable,
            box,
            phones,
            edge_daemon,
            daemons,
            strongswan,
        )
