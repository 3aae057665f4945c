"""Entries of the tables that a SIP server's workers share, as short text and back.

A text that is not one of ours reads as None: the caller then asks the daemon.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any, Dict, NamedTuple, Optional, Tuple

_TOKEN_VERSION = "r"


def flow_key(peer_address: str, peer_port: int, local_port: int) -> str:
    """Return the key of a protected flow."""
    return "{}|{}|{}".format(peer_address, peer_port, local_port)


def registration_token(peer_address: str, port_us: int, local_address: str, port_ps: int) -> str:
    """Return the name of a registration, fit for the user part of a Path URI.

    It is made of what stays while the registration lives (T33-7.1-g), so nobody has to remember
    it.
    """
    packed = ipaddress.ip_address(peer_address).packed + port_us.to_bytes(2, "big")
    packed += ipaddress.ip_address(local_address).packed + port_ps.to_bytes(2, "big")
    return _TOKEN_VERSION + packed.hex()


def read_token(token: str) -> Optional[Tuple[str, int, str, int]]:
    """Return peer address, port_us, local address and port_ps of a token, None if it is none."""
    if not token.startswith(_TOKEN_VERSION) or len(token) not in (25, 73):
        return None
    try:
        packed = bytes.fromhex(token[1:])
    except ValueError:
        return None
    size = len(packed) // 2
    ends = []
    for part in (packed[:size], packed[size:]):
        ends.append((ipaddress.ip_address(part[:-2]).compressed, int.from_bytes(part[-2:], "big")))
    (peer, port_us), (local, port_ps) = ends
    if registration_token(peer, port_us, local, port_ps) != token:
        return None  # upper case or white space
    return peer, port_us, local, port_ps


def _load(text: str, length: int) -> Optional[list[Any]]:
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    return fields if isinstance(fields, list) and len(fields) == length else None


def _dump(*fields: object) -> str:
    return json.dumps(fields, separators=(",", ":"))


class FlowEntry(NamedTuple):
    """What a worker must know of a flow; ``used``: the daemon knows of its first request."""

    association: str
    token: str
    state: str
    used: bool
    private_identity: str
    port_pc: int

    @classmethod
    def of(cls, association: Dict[str, Any], *, used: bool) -> "FlowEntry":
        """Make it of the daemon's ``Association``."""
        s = association["ipsec3gpp"]
        return cls(
            association["id"],
            registration_token(s["ueAddress"], s["portUs"], s["pcscfAddress"], s["portPs"]),
            association["state"],
            used,
            association["registration"]["privateIdentity"],
            s["portPc"],
        )

    def to_text(self) -> str:
        """Return it as text."""
        return _dump(*self)

    @classmethod
    def from_text(cls, text: str) -> "Optional[FlowEntry]":
        """Read it back."""
        fields = _load(text, len(cls._fields))
        return None if fields is None else cls(*fields)


class RegistrationEntry(NamedTuple):
    """How to reach a registration, and what it may call itself.

    ``association`` and ``port_pc`` are of the set that carries what is sent to it.
    """

    association: str
    port_pc: int
    identities: Tuple[str, ...]
    service_route: Tuple[str, ...]
    aors: Tuple[str, ...]

    @classmethod
    def of(
        cls,
        association: Dict[str, Any],
        *,
        identities: Tuple[str, ...],
        service_route: Tuple[str, ...],
        aors: Tuple[str, ...],
    ) -> "RegistrationEntry":
        """Make it of the daemon's ``Association``."""
        port_pc = association["ipsec3gpp"]["portPc"]
        return cls(association["id"], port_pc, identities, service_route, aors)

    def note(self) -> str:
        """Return what a restarted SIP server must know again, for the daemon to keep."""
        return _dump(list(self.service_route), list(self.aors))

    @classmethod
    def of_note(cls, association: Dict[str, Any]) -> "RegistrationEntry":
        """Make it of an ``Association`` that a SIP server before this one has confirmed."""
        identities = tuple(association["registration"]["publicIdentities"])
        fields = _load(association.get("note") or "", 2)
        routes, aors = fields if fields is not None else ((), identities[:1])
        return cls.of(
            association, identities=identities, service_route=tuple(routes), aors=tuple(aors)
        )

    def sent_on(self, other: "RegistrationEntry") -> "RegistrationEntry":
        """As this, but what is sent goes on the set of ``other`` (T24-P-9)."""
        return self._replace(association=other.association, port_pc=other.port_pc)

    def moved_to(self, association: Dict[str, Any]) -> "RegistrationEntry":
        """As this, but what is sent goes on another set."""
        port_pc = association["ipsec3gpp"]["portPc"]
        return self._replace(association=association["id"], port_pc=port_pc)

    def with_aors(self, aors: Tuple[str, ...]) -> "RegistrationEntry":
        """As this, with other registered identities (T24-D-2)."""
        return self._replace(aors=aors)

    def to_text(self) -> str:
        """Return it as text."""
        return _dump(*self)

    @classmethod
    def from_text(cls, text: str) -> "Optional[RegistrationEntry]":
        """Read it back."""
        fields = _load(text, len(cls._fields))
        if fields is None:
            return None
        association, port_pc, *lists = fields
        return cls(association, port_pc, *(tuple(items) for items in lists))
