"""What Kamailio's workers share of TLS connections: which association each is bound to.

An entry lives as long as its association would. Kamailio numbers its connections: an entry of
another number is of an earlier connection between the same ports, and none of this one.
"""

from __future__ import annotations

import json
from typing import Any, Container, Dict, List, NamedTuple, Optional, Set, Tuple

from sip_hooks.kamailio import message

_TLS = "sad_tls"


class TlsEntry(NamedTuple):
    """A bound connection; ``connection`` is Kamailio's number of it."""

    association: str
    identity: str
    connection: str


def known(flow: Dict[str, Any]) -> Optional[TlsEntry]:
    """Return what is known of the connection that the message in hand came over."""
    entry = _read(_key(flow))
    if entry is None or entry.connection != message.value("$conid"):
        return None
    return entry


def note(
    flow: Dict[str, Any], association: Dict[str, Any], connection: Optional[str] = None
) -> TlsEntry:
    """Remember the association of a connection, by default of the one in hand."""
    identity = association["registration"]["privateIdentity"]
    entry = TlsEntry(association["id"], identity, connection or message.value("$conid"))
    text = json.dumps(entry, separators=(",", ":"))
    message.table_set(_TLS, _key(flow), text, max(1, int(association["secondsLeft"])))
    return entry


def forget(association: Dict[str, Any]) -> None:
    """Forget a connection whose association has ended, and have it closed.

    Where the daemon has destroyed it there is nothing left to close; where its kernel cannot, this
    is what ends it.
    """
    tls = association["tls"]
    flow = {name: tls[name] for name in ("peerAddress", "peerPort", "localPort", "localAddress")}
    _forget(_key(flow), association["id"])


def unlisted(listed: Container[str]) -> Set[str]:
    """Return the ids of the associations that are known and not ``listed``."""
    return {entry.association for _, entry in _all() if entry.association not in listed}


def forget_all(ids: Container[str], most: int) -> int:
    """Forget up to so many of these associations; return how many were found."""
    found = [pair for pair in _all() if pair[1].association in ids][:most]
    for key, entry in found:
        _forget(key, entry.association)
    return len(found)


def _all() -> List[Tuple[str, TlsEntry]]:
    found: List[Tuple[str, TlsEntry]] = []

    def visit(_table: str, key: str, text: str) -> bool:
        entry = _of_text(text)
        if entry is not None:
            found.append((key, entry))
        return True

    message.visit_tables((_TLS,), visit)
    return found


def _forget(key: str, association_id: str) -> None:
    entry = _read(key)
    if entry is None or entry.association != association_id:
        return  # of another connection, which is none of this one's business
    message.table_remove(_TLS, key)
    message.close_connection(entry.connection)


def _key(flow: Dict[str, Any]) -> str:
    return "{peerAddress}|{peerPort}|{localPort}|{localAddress}".format(**flow)


def _read(key: str) -> Optional[TlsEntry]:
    text = message.table_get(_TLS, key)
    return None if text is None else _of_text(text)


def _of_text(text: str) -> Optional[TlsEntry]:
    try:
        parts = json.loads(text)
        return TlsEntry(*map(str, parts))
    except (TypeError, ValueError):
        return None
