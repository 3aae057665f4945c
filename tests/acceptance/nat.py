"""The machine ``ue`` as a NAT: nftables before a network namespace in which phones are.

Outside nothing but the machine's own addresses is seen. ``forget`` is what a power cut does.
"""

from typing import Final

from tests.acceptance.machines import Machine
from tests.acceptance.plan import BEHIND, GATEWAY, NAT_PORT, PRIVATE

#: What the NAT makes of the phones' port 4500, before it is made to forget, and after.
FIRST_PORTS, LATER_PORTS = range(41000, 41100), range(42000, 42100)
_RULES: Final = "/run/acceptance-nat.nft"
_FAMILIES: Final = {4: ("ip", 24), 6: ("ip6", 64)}
_FORWARDING: Final = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
_MEMORY: Final = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"
#: Of Linux, in seconds: of what was answered, and of what was not.
_USUAL: Final = {"_stream": 120, "": 30}


class Nat:
    """From :meth:`open` to :meth:`close`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def open(self) -> None:
        """Lay the cable to the phones, forward and masquerade."""
        inside = f"ip -netns {BEHIND}"
        lines = [
            f"ip netns add {BEHIND}",
            f"ip link add to-phones type veth peer name to-nat netns {BEHIND}",
            "ip link set to-phones up",
            f"{inside} link set lo up",
            f"{inside} link set to-nat up",
        ]
        for version, (_, bits) in _FAMILIES.items():
            no_dad = " nodad" if version == 6 else ""
            lines.append(f"ip address add {GATEWAY[version]}/{bits} dev to-phones{no_dad}")
            lines += [
                f"{inside} address add {address}/{bits} dev to-nat{no_dad}"
                for address in PRIVATE[version]
            ]
            lines.append(f"{inside} route add default via {GATEWAY[version]}")
        lines += [f"echo 1 >/proc/sys/net/{name}" for name in _FORWARDING]
        self._machine.shell(" && ".join(lines))
        self.forget(FIRST_PORTS)

    def forget(self, ports: range) -> None:
        """Know no connection any more; UDP port 4500 becomes one of these from now on."""
        self._machine.write(_RULES, rules(ports))
        flush = "; ".join(f"conntrack --flush --family {name}" for name in ("ipv4", "ipv6"))
        self._machine.shell(f"nft --file {_RULES} && {{ {flush}; }}")

    def forget_after(self, seconds: int) -> None:
        """Let it forget UDP that is silent for so long, as some do."""
        self._machine.shell("; ".join(f"echo {seconds} >{_MEMORY}{of}" for of in _USUAL))

    def close(self) -> None:
        """Undo all of it."""
        undo = "; ".join(
            [f"echo 0 >/proc/sys/net/{name}" for name in _FORWARDING]
            + [f"echo {seconds} >{_MEMORY}{of}" for of, seconds in _USUAL.items()]
        )
        tables = "; ".join(f"nft delete table {name} phones" for name, _ in _FAMILIES.values())
        self._machine.shell(
            f"ip link delete to-phones; ip netns delete {BEHIND}; {tables}; {undo}", check=False
        )


def rules(ports: range) -> str:
    """The rules as nft reads them: whatever was there before is replaced in one transaction."""
    text = ""
    for version, (family, bits) in _FAMILIES.items():
        ours = f'oifname "eth1" {family} saddr {GATEWAY[version]}/{bits}'
        text += f"""\
add table {family} phones
delete table {family} phones
table {family} phones {{
    chain outside {{
        type nat hook postrouting priority srcnat
        {ours} udp sport {NAT_PORT} masquerade to :{ports[0]}-{ports[-1]}
        {ours} masquerade
    }}
}}
"""
    return text
