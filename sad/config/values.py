"""Value types of the settings: each parses one value, or refuses it with the way out.

They are shared by :mod:`sad.config.settings` and :mod:`sad.config.endpoint`.
Text forms (``"5068-5071"``, ``"0660"``, ``"a, b"``) are accepted everywhere, because environment
variables and options are text.
"""

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from sad.config.problems import refused
from sad.model.algorithms import AlgorithmPair

LOWEST_PORT: Final = 1024
HIGHEST_PORT: Final = 65535
SIP_PORTS: Final = frozenset({5060, 5061})
CLIENT_BLOCK_SIZES: Final = (2, 4, 8)
LOWEST_SPI: Final = 256  # RFC 4303 2.1: 0 is never sent, 1 to 255 are IANA's (IPS-1)
HIGHEST_U32: Final = 0xFFFF_FFFF


def _not_a_truth_value(value: object) -> object:
    # pydantic would read true as 1
    if isinstance(value, bool):
        raise refused("a truth value is no number", "give a whole number")
    return value


Count = Annotated[int, BeforeValidator(_not_a_truth_value)]
"""A whole number; text of digits is accepted, true and false are not."""


def split_text(value: object) -> object:
    """Split text at commas: the list form of environment variables."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _parse_mode(value: object) -> object:
    if isinstance(value, str):
        if re.fullmatch(r"(0o?)?[0-7]{3}", value) is None:
            raise refused(f'"{value}" is no file mode', 'write three octal digits, e.g. "0660"')
        return int(value.removeprefix("0o"), 8)
    return _not_a_truth_value(value)


def _check_mode(value: int) -> int:
    if not 0 <= value <= 0o777 or value & 0o600 != 0o600:
        raise refused(
            f"{value} is no mode of a socket that its owner can use",
            "write it in octal, e.g. 0o660 in TOML",
        )
    return value


FileMode = Annotated[int, BeforeValidator(_parse_mode), AfterValidator(_check_mode)]
"""Permission bits, at least read and write for the owner."""


def _check_port(port: int) -> int:
    if port in SIP_PORTS:  # TS 33.203 7.1: protected ports differ from them (T33-7.1-e)
        raise refused(
            f"{port} is a port of unprotected SIP",
            "a protected port differs from 5060 and 5061 (TS 33.203 7.1); take e.g. 5064",
        )
    if not LOWEST_PORT <= port <= HIGHEST_PORT:
        raise refused(
            f"{port} is no protected port", f"take one of {LOWEST_PORT} to {HIGHEST_PORT}"
        )
    return port


Port = Annotated[Count, AfterValidator(_check_port)]
"""A protected port (T33-7.1-e)."""

PortNumber = Annotated[Count, Field(ge=1, le=HIGHEST_PORT)]
"""Any port."""


def _expand_ports(value: object) -> object:
    if not isinstance(value, str):
        return value
    hint = 'write "5068-5071", or a list of ports'
    ports: list[int] = []
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d{1,5})(?:\s*-\s*(\d{1,5}))?\s*", part)
        if match is None:
            raise refused(f'"{value}" names no ports', hint)
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= HIGHEST_PORT:
            raise refused(f'"{value}" is no range of ports', hint)
        ports += range(first, last + 1)
    return ports


def _check_block(ports: tuple[int, ...]) -> tuple[int, ...]:
    block = tuple(sorted(ports))
    size = len(block)
    if (
        size not in CLIENT_BLOCK_SIZES
        or block != tuple(range(block[0], block[0] + size))
        or block[0] % size
    ):
        # one masked selector a direction then covers the block (a mask is a power of two)
        raise refused(
            f"{_ports_text(ports)} is no aligned block",
            "take 2, 4 or 8 ports in a row whose first is a multiple of their number, "
            'e.g. "5068-5071"',
        )
    return block


def _ports_text(ports: tuple[int, ...]) -> str:
    if len(ports) > 1 and ports == tuple(range(ports[0], ports[-1] + 1)):
        return f"{ports[0]}-{ports[-1]}"
    return ", ".join(map(str, ports)) or "an empty list"


PortList = Annotated[tuple[Count, ...], BeforeValidator(_expand_ports)]
"""Ports as a list or as text, not judged."""

PortBlock = Annotated[
    tuple[Port, ...], BeforeValidator(_expand_ports), AfterValidator(_check_block)
]
"""An aligned block of 2, 4 or 8 protected ports, in ascending order."""


def _check_address(
    value: str, hint: str = "give the address at which user agents reach this node"
) -> str:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise refused(
            f'"{value}" is no IP address', "write a numeric address; names and prefixes do not do"
        ) from None
    kind = None
    if address.is_loopback:
        kind = "loopback"
    elif address.is_unspecified:
        kind = "unspecified"
    elif address.is_multicast:
        kind = "multicast"
    elif address.is_link_local:
        kind = "link-local"
    elif isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        kind = "IPv4-mapped"
    elif address == ipaddress.IPv4Address("255.255.255.255"):
        kind = "broadcast"
    if kind is not None:
        raise refused(f"{value} is a {kind} address", hint)
    return address.compressed


Address = Annotated[str, AfterValidator(_check_address)]
"""A unicast address that user agents can reach, as canonical text."""


def _check_peer_address(value: str) -> str:
    return _check_address(value, "give the address from which the peer sends")


PeerAddress = Annotated[str, AfterValidator(_check_peer_address)]
"""A unicast address of somebody else, as canonical text."""


def _check_network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise refused(
            f'"{value}" is no network', "write address/length without host bits: 192.168.0.0/16"
        ) from None


Network = Annotated[str, AfterValidator(_check_network)]
"""An IP network as canonical text."""


def _check_udp_port(port: int) -> int:
    if not 1 <= port <= HIGHEST_PORT:
        raise refused(f"{port} is no UDP port", f"take one of 1 to {HIGHEST_PORT}; 4500 by RFC")
    return port


UdpPort = Annotated[Count, AfterValidator(_check_udp_port)]
"""A port of UDP, any."""


def _check_account(value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < HIGHEST_U32:
        return value
    if isinstance(value, str) and value.isdecimal():
        return _check_account(int(value))
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", value):
        return value
    raise refused(f"{value!r} is no account", "give a name, or its number without quotes")


Account = Annotated[str | int, BeforeValidator(_check_account)]
"""A user or group, by name or number."""


def _check_name(value: str) -> str:
    if re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", value) is None:
        raise refused(
            f'"{value}" is no endpoint name',
            "take up to 32 of a to z, 0 to 9 and inner hyphens, e.g. edge-1",
        )
    return value


EndpointName = Annotated[str, AfterValidator(_check_name)]
"""What callers call an endpoint."""


def _check_algorithm(value: str) -> str:
    integrity, _, encryption = value.partition("/")
    pair = AlgorithmPair(integrity, encryption)
    if pair.illegal:  # T33-H-c
        raise refused(
            f'"{value}" must not be used together (TS 33.203 Annex H)',
            "alg null goes with aes-gcm only, aes-gcm with alg null only, aes-gmac with null only",
        )
    if not pair.known:
        raise refused(
            f'"{value}" is no pair of algorithms that this version knows',
            'write alg/ealg by RFC 3329 name, e.g. "hmac-sha-1-96/aes-cbc"',
        )
    return value


AlgorithmName = Annotated[str, AfterValidator(_check_algorithm)]
"""An (alg, ealg) pair as ``alg/ealg``."""


def _check_spi(value: int) -> int:
    if not LOWEST_SPI <= value <= HIGHEST_U32:
        raise refused(
            f"{value} is no SPI to allocate", f"take {LOWEST_SPI} to {HIGHEST_U32} (RFC 4303 2.1)"
        )
    return value


def _check_reqid(value: int) -> int:
    if not 1 <= value <= HIGHEST_U32:
        raise refused(f"{value} is no reqid", f"take 1 to {HIGHEST_U32}")
    return value


def _check_range(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] >= value[1]:
        raise refused(f"[{value[0]}, {value[1]}] holds nothing", "write [lowest, highest]")
    return value


SpiRange = Annotated[
    tuple[
        Annotated[Count, AfterValidator(_check_spi)], Annotated[Count, AfterValidator(_check_spi)]
    ],
    BeforeValidator(split_text),
    AfterValidator(_check_range),
]
"""Lowest and highest SPI, both included."""

ReqidRange = Annotated[
    tuple[
        Annotated[Count, AfterValidator(_check_reqid)],
        Annotated[Count, AfterValidator(_check_reqid)],
    ],
    BeforeValidator(split_text),
    AfterValidator(_check_range),
]
"""Lowest and highest reqid, both included."""


def _check_path(value: str) -> str:
    if not value.startswith("/") or "\0" in value:
        raise refused(f'"{value}" is no absolute path', "write it from the root: /run/...")
    return value


AbsolutePath = Annotated[str, AfterValidator(_check_path)]
"""A path from the root."""
