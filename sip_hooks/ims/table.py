"""Entries of the tables that a SIP server's workers share, as short text and back.

A text that is not one of ours reads as None: the caller then asks the daemon.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from sip_hooks.ims.errors import ImsError

_VERSION = "r"
_STATES = ("temporary", "established", "inUse", "retiring")
_TOKEN = re.compile(_VERSION + r"([0-9a-f]{24}|[0-9a-f]{72})")  # two IPv4, two IPv6 ends


def flow_key(peer_address: str, peer_port: int, local_port: int) -> str:
    """Return the key of a protected flow; the way an IPv6 address is written does not count."""
    with contextlib.suppress(ValueError):  # a flow that nothing protects
        peer_address = ipaddress.ip_address(peer_address).compressed
    return "{}|{}|{}".format(peer_address, peer_port, local_port)


def _packed(address: str, port: int) -> bytes:
    try:
        packed = ipaddress.ip_address(address).packed + port.to_bytes(2, "big")
    except (ValueError, OverflowError):
        packed = b""
    if not packed or "%" in address:  # a zone would be lost
        raise ImsError("a flow's end without an IP address or port")
    return packed


def registration_token(peer_address: str, port_us: int, local_address: str, port_ps: int) -> str:
    """Return the name of a registration, fit for the user part of a Path URI.

    It is made of what stays while the registration lives (T33-7.1-g), so nobody has to remember
    it. ImsError for ends that cannot belong together.
    """
    peer, local = _packed(peer_address, port_us), _packed(local_address, port_ps)
    if len(peer) != len(local):
        raise ImsError("a flow whose ends differ in their IP version")
    return _VERSION + (peer + local).hex()


def read_token(token: str) -> Optional[Tuple[str, int, str, int]]:
    """Return peer address, port_us, local address and port_ps of a token, None if it is none."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    packed = bytes.fromhex(match[1])
    size = len(packed) // 2
    (peer, port_us), (local, port_ps) = (
        (ipaddress.ip_address(part[:-2]).compressed, int.from_bytes(part[-2:], "big"))
        for part in (packed[:size], packed[size:])
    )
    return peer, port_us, local, port_ps


def _load(text: str, length: int) -> Optional[List[Any]]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, list) and len(fields) == length else None


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_port(value: object) -> bool:
    return type(value) is int and 0 < value < 65536


def _texts(value: object) -> Optional[Tuple[str, ...]]:
    return tuple(value) if isinstance(value, list) and _are_texts(*value) else None


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
        entry = cls(*(_load(text, len(cls._fields)) or ("", "", "", False, "", 0)))
        of_us = (
            _are_texts(entry.association, entry.token, entry.private_identity)
            and entry.state in _STATES
            and isinstance(entry.used, bool)
            and _is_port(entry.port_pc)
            and read_token(entry.token) is not None
        )
        return entry if of_us else None


class RegistrationEntry(NamedTuple):
    """How to reach a registration, and what it may call itself.

    ``association`` and ``port_pc`` are of the set that carries what is sent to it; over TLS that
    port is the one that both ends have agreed on.
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
        tls = association.get("tls")
        port_pc = tls["localPort"] if tls else association["ipsec3gpp"]["portPc"]
        return cls(association["id"], port_pc, identities, service_route, aors)

    def note(self) -> str:
        """Return what a restarted SIP server must know again, for the daemon to keep."""
        return _dump(list(self.service_route), list(self.aors))

    @classmethod
    def of_note(cls, association: Dict[str, Any]) -> "RegistrationEntry":
        """Make it of an ``Association`` that a SIP server before this one has confirmed."""
        identities = tuple(association["registration"]["publicIdentities"])
        fields = _load(association.get("note") or "", 2) or (None, None)
        routes, aors = _texts(fields[0]), _texts(fields[1])
        if routes is None or not aors:
            routes, aors = (), identities[:1]
        return cls.of(association, identities=identities, service_route=routes, aors=aors)

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
        if fields is None or not _are_texts(fields[0]) or not _is_port(fields[1]):
            return None
        identities, service_route, aors = (_texts(value) for value in fields[2:])
        if identities is None or service_route is None or aors is None:
            return None
        return cls(fields[0], fields[1], identities, service_route, aors)
