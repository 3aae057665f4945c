"""``sad.*`` of the Kamailio configuration, read once in each worker.

Custom global parameters, e.g. ``sad.endpoint = "access" desc "endpoint of sad.toml"``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Callable, Optional, Tuple, Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class SettingError(Exception):
    """A value of ``sad.*`` is missing or wrong: every request is refused until it is mended."""


@dataclass(frozen=True)
class HookSettings:
    """What the hook must know of the endpoint without asking the daemon.

    ``core_sockets`` are the local (address, port) pairs that face the core: what arrives
    elsewhere comes from user agents, and what goes to the core leaves from the first. Only
    ``core_hosts`` are heard there, and nothing of a user agent goes anywhere else.
    ``timeout`` bounds one call of the daemon, in seconds. ``tls_port`` is where TLS is spoken with
    user agents (TS 33.203 Annex O), None: nowhere.
    """

    socket: str
    endpoint: str
    addresses: Tuple[str, ...]
    server_port: int
    client_ports: Tuple[int, ...]
    core_sockets: Tuple[Tuple[str, int], ...]
    core_hosts: Tuple[Network, ...]
    path_uri: str
    timeout: float
    linger: int
    emergency: bool
    tls_port: Optional[int] = None

    def is_protected(self, port: int) -> bool:
        """Whether a local port belongs to the endpoint."""
        return port == self.server_port or port in self.client_ports

    def carries_users(self, port: int) -> bool:
        """Whether what arrives at a local port is protected: by an SA set, or by TLS."""
        return self.is_protected(port) or port == self.tls_port

    def is_core(self, host: str) -> bool:
        """Whether a host is an address of the core; names are none."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.core_hosts)

    def address_like(self, peer: str) -> Optional[str]:
        """The endpoint's address of the same IP version as a peer's."""
        return next((a for a in self.addresses if (":" in a) == (":" in peer)), None)


def read_settings(parameter: Callable[[str], str]) -> HookSettings:
    """Read them; ``parameter`` returns the text of ``sad.NAME``, empty if it is not set."""

    def text(name: str) -> str:
        value = parameter(name).strip()
        if not value:
            raise SettingError(f"sad.{name} is not set in the Kamailio configuration")
        return value

    def number(name: str, low: int, high: int) -> int:
        value = text(name)
        if not value.isdigit() or not low <= int(value) <= high:
            raise SettingError(f"sad.{name} is not a number of {low} to {high}")
        return int(value)

    core = tuple(_socket(item) for item in text("core_sockets").split(","))
    return HookSettings(
        socket=text("socket"),
        endpoint=text("endpoint"),
        addresses=_addresses(text("addresses")),
        server_port=number("server_port", 1, 65535),
        client_ports=_ports(text("client_ports")),
        core_sockets=core,
        core_hosts=tuple(_network(item) for item in text("core_hosts").split(",")),
        path_uri=text("path_uri"),
        timeout=number("timeout_ms", 1, 60_000) / 1000,
        linger=number("linger", 0, 86_400),
        emergency=parameter("emergency").strip() == "1",
        tls_port=number("tls_port", 0, 65535) or None if parameter("tls_port").strip() else None,
    )


def _address(item: str) -> str:
    try:
        return ipaddress.ip_address(item.strip().strip("[]")).compressed
    except ValueError:
        raise SettingError(f"{item.strip()} is not an IP address") from None


def _addresses(items: str) -> Tuple[str, ...]:
    addresses = tuple(_address(item) for item in items.split(","))
    if len({":" in address for address in addresses}) != len(addresses):
        raise SettingError("sad.addresses has more than one address of an IP version")
    return addresses


def _network(item: str) -> Network:
    try:
        return ipaddress.ip_network(item.strip())
    except ValueError:
        raise SettingError(f"{item.strip()} of sad.core_hosts is no address or prefix") from None


def _socket(item: str) -> Tuple[str, int]:
    host, _, port = item.strip().rpartition(":")
    if not port.isdigit():
        raise SettingError(f"{item.strip()} of sad.core_sockets is not ADDRESS:PORT")
    return _address(host), int(port)


def _ports(item: str) -> Tuple[int, ...]:
    first, _, last = item.partition("-")
    if not first.isdigit() or not (last or first).isdigit():
        raise SettingError("sad.client_ports is not a range like 5068-5071")
    return tuple(range(int(first), int(last or first) + 1))
