"""What an insert costs while a kernel fills, where user space chose its hash chains badly.

The cases are those of which the kernel's lists go linear when reqids count up beside addresses,
selectors are prefixes, or many user agents share an address. Ratios only: the last quarter of the
inserts against the first, in one run on one machine.
"""

import contextlib
import dataclasses
import ipaddress
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.support.daemon import Daemon, endpoint_settings
from tests.support.make import CK, IK
from tests.support.namespaces import Namespace

EDGE: Final = {4: "10.10.0.1", 6: "2001:db8:1::1"}
_QUARTERS: Final = 4


@dataclasses.dataclass(frozen=True)
class Case:
    """``ue`` gives the address, the client port and the first SPI of a user agent by number."""

    name: str
    size: int
    ue: Callable[[int], tuple[str, int, int]]


def _spi(number: int) -> int:
    return 0x1000_0000 + 2 * number


def _v4(number: int) -> str:
    return str(ipaddress.IPv4Address("10.64.0.0") + number)


def _v6(number: int) -> str:
    return str(ipaddress.IPv6Address("2001:db8:2::1") + number)


def cases(size: int, behind_nat: int) -> tuple[Case, ...]:
    """Return the cases of kernel.md's table that user agents can bring about."""
    return (
        Case("IPv4 pool in order", size, lambda n: (_v4(n), 20000, _spi(n))),
        Case("IPv4 pool, SPIs beside it", size, _lockstep),
        Case("IPv6 pool of one /64 in order", size, lambda n: (_v6(n), 20000, _spi(n))),
        Case("one address (NAT), up to its bound", behind_nat, _behind_nat),
    )


def _lockstep(number: int) -> tuple[str, int, int]:
    """A peer's SPI whose XOR with its address is the same for all: what the kernel hashes."""
    address = int(ipaddress.IPv4Address("10.64.0.0")) + 2 * number
    return str(ipaddress.IPv4Address(address)), 20000, address ^ 0x1000_0000


def _behind_nat(number: int) -> tuple[str, int, int]:
    return "10.64.0.1", 20000 + 2 * number, _spi(number)


@contextlib.contextmanager
def edge(folder: Path) -> Iterator[Daemon]:
    """Give a daemon with an endpoint of both families."""
    with Namespace("cost") as namespace:
        for version, address in EDGE.items():
            prefix = 24 if version == 4 else 64
            namespace.run(["ip", "addr", "add", f"{address}/{prefix}", "dev", "lo"])
        access = endpoint_settings("access", tuple(EDGE.values()), 5064, "5068-5071")
        daemon = Daemon(namespace, folder, access)
        try:
            yield daemon.start()
        finally:
            daemon.stop()


def install(daemon: Daemon, case: Case, number: int) -> None:
    """Have the daemon install the set of one user agent, which has a registration of its own."""
    address, port, spi = case.ue(number)
    values: dict[str, Any] = {
        "ueAddress": address,
        "pcscfAddress": EDGE[6 if ":" in address else 4],
        "spiUc": spi,
        "spiUs": spi + 1,
        "portUc": port,
        "portUs": port + 1,
        "integrityAlgorithm": "hmac-sha-1-96",
        "encryptionAlgorithm": "null",
        "integrityKey": IK.hex(),
        "cipherKey": CK.hex(),
    }
    daemon.call(
        "Install",
        endpoint="access",
        registration={"privateIdentity": f"{number}@cost.example", "publicIdentities": []},
        mechanism="ipsec-3gpp",
        ipsec3gpp=values,
        lifetimeSeconds=3600,
    )


def quarters(daemon: Daemon, case: Case) -> list[float]:
    """Install all of a case; return the median microseconds of an insert by quarter."""
    piece = case.size // _QUARTERS
    medians = []
    for quarter in range(_QUARTERS):
        spans = []
        for number in range(quarter * piece, (quarter + 1) * piece):
            begun_at = time.perf_counter()
            install(daemon, case, number)
            spans.append(time.perf_counter() - begun_at)
        medians.append(statistics.median(spans) * 1e6)
    return medians


def empty(daemon: Daemon) -> None:
    """End everything, so that the next case begins with nothing."""
    for association in daemon.associations():
        daemon.call("Release", id=association["id"])
