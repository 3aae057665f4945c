"""A real daemon to measure, and the REGISTERs of user agents as calls to its socket."""

import contextlib
import ipaddress
import json
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.daemon import ASSOCIATIONS, Daemon, endpoint_settings
from tests.support.make import CK, EDGE_ADDRESS, IK
from tests.support.namespaces import Namespace
from tests.support.secagree_samples import VECTORS

CONNECTIONS: Final = 16
#: Under way on each connection: a crowd that does not wait for each other's answers.
DEPTH: Final = 4

_SETTINGS: Final = """\
[limits]
max_associations = 400000
max_temporary_sets = 400000
offers_per_second = 100000
"""


@contextlib.contextmanager
def running_edge(folder: Path, settings: str = "") -> Iterator[Daemon]:
    """Give a daemon as it comes, journal on, without the limits that a crowd would meet."""
    with Namespace("bench") as namespace:
        namespace.run(["ip", "addr", "add", f"{EDGE_ADDRESS}/32", "dev", "lo"])
        access = endpoint_settings("access", (EDGE_ADDRESS,), 5064, "5068-5071")
        daemon = Daemon(namespace, folder, _SETTINGS + settings + access)
        try:
            yield daemon.start()
        finally:
            daemon.stop()


def longest_header() -> str:
    """Return the value of the longest Security-Client of real handsets: six mechanisms."""
    lines = VECTORS.read_text(encoding="utf-8").splitlines()
    found = max((line for line in lines if line.startswith("Security-Client")), key=len)
    return found.partition(": ")[2]


@dataclass(frozen=True, slots=True)
class UserAgent:
    """One of many, each with an address, an identity and SPIs of its own."""

    number: int

    @property
    def address(self) -> str:
        """Its address."""
        return str(ipaddress.IPv4Address("10.128.0.0") + self.number)

    @property
    def security_client(self) -> str:
        """Its header: what a handset sends, with SPIs of its own."""
        spi = 0x1000_0000 + 2 * self.number
        header = longest_header()
        return header.replace("17775", str(spi)).replace("17776", str(spi + 1))

    def offer(self) -> dict[str, Any]:
        """Return the parameters of Offer for its REGISTER."""
        return {
            "endpoint": "access",
            "registration": {
                "privateIdentity": f"{self.number:015}@ims.mnc001.mcc001.3gppnetwork.org",
                "publicIdentities": [f"sip:{self.number:015}@ims.mnc001.mcc001.3gppnetwork.org"],
            },
            "flow": {
                "peerAddress": self.address,
                "peerPort": 5060,
                "localAddress": EDGE_ADDRESS,
                "localPort": 5060,
            },
            "transaction": {
                "callId": f"{self.number:08x}-4b1c@{self.address}",
                "cseq": 1,
                "branch": f"z9hG4bK{self.number:012x}",
            },
            "association": None,
            "securityClient": [self.security_client],
            "integrityKey": IK.hex(),
            "cipherKey": CK.hex(),
        }


def write_offers(agents: Sequence[UserAgent], into: Path) -> None:
    """Write the calls that ``load.c`` sends."""
    calls = (
        json.dumps({"method": f"{ASSOCIATIONS}.Offer", "parameters": agent.offer()})
        for agent in agents
    )
    into.write_bytes(b"".join(call.encode() + b"\0" for call in calls))


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of the load generator took: seconds of all, of each Offer, of each Confirm."""

    took: float
    offers: tuple[float, ...]
    confirms: tuple[float, ...]


def run_load(program: Path, daemon: Daemon, offers: Path, *, connections: int, depth: int) -> Load:
    """Register all in ``offers``. Raises CalledProcessError, the daemon's refusal as a note."""
    times = offers.with_suffix(".times")
    command = [str(program), str(daemon.socket), str(connections), str(depth), str(offers)]
    done = subprocess.run([*command, str(times)], capture_output=True, text=True, check=False)
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command)
        error.add_note(done.stderr)
        raise error
    pairs = list(struct.iter_unpack("=dd", times.read_bytes()))
    return Load(float(done.stdout), tuple(o for o, _ in pairs), tuple(c for _, c in pairs))
