"""A SIP server's side of many registrations: Offer, Verify, Confirm, with the headers of a phone.

``python -m tests.bench.caller SOCKET FIRST COUNT [--connections N] [--deep N]`` registers user
agents in rounds: what one round asks goes out over all connections before an answer is read.
"""

import argparse
import json
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tests.support.make import CK, EDGE_ADDRESS, IK

ASSOCIATIONS: Final = "org.sipsad.Associations"
EXPIRES_SECONDS: Final = 3600

#: A phone's list (tests/vectors/security-headers.txt: two mechanisms that differ only in alg).
LIST: Final = ", ".join(
    "ipsec-3gpp;prot=esp;mod=trans;spi-c={spi_c};spi-s={spi_s};port-c=6101;port-s=6100;"
    f"alg={alg};ealg=null"
    for alg in ("hmac-md5-96", "hmac-sha-1-96")
)


class UserAgent:
    """One of many; everything of it follows from its number."""

    def __init__(self, number: int) -> None:
        self.address = f"10.{20 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        self.security_client = LIST.format(
            spi_c=256 + number * 7919 % 0x7000_0000, spi_s=0x7100_0000 + number
        )
        self.identity = f"00101{number:010d}@ims.mnc001.mcc001.3gppnetwork.org"
        self.number = number
        self.id = ""
        self.security_server = ""
        self.client_port = 0

    def offer(self) -> dict[str, Any]:
        """The parameters of Offer for its first REGISTER."""
        return {
            "endpoint": "access",
            "registration": {
                "privateIdentity": self.identity,
                "publicIdentities": [f"sip:{self.identity}"],
            },
            "flow": self._flow(5060, 5060),
            "transaction": {
                "callId": f"{self.number:032x}@{self.address}",
                "cseq": 1,
                "branch": f"z9hG4bK{self.number:016x}",
            },
            "securityClient": [self.security_client],
            "integrityKey": IK.hex(),
            "cipherKey": CK.hex(),
        }

    def hear(self, answer: dict[str, Any]) -> None:
        """Take what Offer answered."""
        self.id = answer["association"]["id"]
        self.security_server = answer["securityServer"]

    def verify(self) -> dict[str, Any]:
        """The parameters of Verify for the REGISTER that answers the challenge."""
        return {
            "flow": self._flow(6101, 5064),
            "securityVerify": [self.security_server],
            "securityClient": [self.security_client],
        }

    def confirm(self) -> dict[str, Any]:
        """The parameters of Confirm for the 200."""
        return {
            "id": self.id,
            "expiresSeconds": EXPIRES_SECONDS,
            "privateIdentity": self.identity,
            "publicIdentities": [f"sip:{self.identity}", f"tel:+1555{self.number:07d}"],
        }

    def _flow(self, peer_port: int, local_port: int) -> dict[str, Any]:
        return {
            "peerAddress": self.address,
            "peerPort": peer_port,
            "localAddress": EDGE_ADDRESS,
            "localPort": local_port,
        }


class Line:
    """One connection; raises AssertionError for an answer that is an error."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._received = bytearray()

    def ask(self, method: str, parameters: Sequence[dict[str, Any]]) -> None:
        """Send calls one behind the other."""
        name = f"{ASSOCIATIONS}.{method}"
        calls = [json.dumps({"method": name, "parameters": p}) + "\0" for p in parameters]
        self._socket.sendall("".join(calls).encode())

    def answers(self, count: int) -> list[dict[str, Any]]:
        """Read so many replies."""
        while self._received.count(0) < count:
            data = self._socket.recv(1 << 18)
            assert data, "the daemon hung up"
            self._received += data
        *texts, rest = bytes(self._received).split(b"\0")
        self._received = bytearray(rest)
        replies = [json.loads(text) for text in texts]
        assert not any("error" in reply for reply in replies), replies
        return [reply["parameters"] for reply in replies]


def register(lines: Sequence[Line], agents: Sequence[UserAgent]) -> None:
    """Register user agents in one round."""
    shares = [agents[i :: len(lines)] for i in range(len(lines))]

    def everywhere(method: str) -> Iterator[tuple[UserAgent, dict[str, Any]]]:
        for line, share in zip(lines, shares, strict=True):
            line.ask(method, [getattr(agent, method.lower())() for agent in share])
        for line, share in zip(lines, shares, strict=True):
            yield from zip(share, line.answers(len(share)), strict=True)

    for agent, answer in everywhere("Offer"):
        agent.hear(answer)
    for method in ("Verify", "Confirm"):
        for agent, answer in everywhere(method):
            assert answer["association"]["id"] == agent.id


def main(argv: Sequence[str] | None = None) -> int:
    """Register, and say nothing."""
    parser = argparse.ArgumentParser(prog="tests.bench.caller")
    parser.add_argument("socket")
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--deep", type=int, default=4, help="calls one behind the other")
    given = parser.parse_args(argv)
    lines = [Line(given.socket) for _ in range(given.connections)]
    at_once = given.connections * given.deep
    for first in range(given.first, given.first + given.count, at_once):
        last = min(first + at_once, given.first + given.count)
        register(lines, [UserAgent(n) for n in range(first, last)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
