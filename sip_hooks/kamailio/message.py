"""The SIP message in hand, through KEMI: the only module that touches ``KSR``.

Headers are read as they arrived: Kamailio applies removals and additions when the message leaves.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import KSR

_MOST_ROWS = 64


#: What a P-CSCF takes off a user agent's requests: the first hop's own, and what only the network
#: may say (RFC 3325, RFC 7315, RFC 4412).
OF_THE_NETWORK = (
    "Security-Client", "Security-Verify", "Security-Server",
    "P-Asserted-Identity", "P-Asserted-Service", "P-Served-User", "P-Profile-Key",
    "P-Visited-Network-ID", "P-Charging-Vector", "P-Charging-Function-Addresses",
    "P-User-Database", "Resource-Priority",
)  # fmt: skip


class Refused(Exception):
    """The request is refused. ``header`` is one whole header row of the answer, or empty."""

    def __init__(self, status: int, reason: str, header: str = "", why: str = "") -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.header = header
        self.why = why


class Dropped(Exception):
    """The message is dropped without an answer."""


def rows(name: str) -> List[str]:
    """Return the values of a header's rows in order; Refused for what is no UTF-8."""
    found: List[str] = []
    try:
        while len(found) < _MOST_ROWS:
            value = KSR.hdr.get_idx(name, len(found))
            if value is None:
                return found
            found.append(str(value))
    except UnicodeDecodeError:
        raise Refused(400, "Bad Request", why="a header is no UTF-8") from None
    raise Refused(400, "Bad Request", why="more than {} rows of {}".format(_MOST_ROWS, name))


def value(name: str) -> str:
    """Return a pseudo-variable as text, empty if it has no value."""
    try:
        found = KSR.pv.get(name)
    except UnicodeDecodeError:
        raise Refused(400, "Bad Request", why="a value is no UTF-8") from None
    return "" if found is None else str(found)


def variable(name: str) -> str:
    """Return ``$var(NAME)`` as text; one that was never set is 0 to Kamailio, and empty here."""
    found = value("$var({})".format(name))
    return "" if found == "0" else found


def set_value(name: str, text: str) -> None:
    """Set a pseudo-variable."""
    KSR.pv.sets(name, text)


def set_number(name: str, number: int) -> None:
    """Set a pseudo-variable to a number."""
    KSR.pv.seti(name, number)


def remove(*names: str) -> None:
    """Remove every row of these headers."""
    for name in names:
        KSR.hdr.remove(name)


def remove_network_provided() -> None:
    """Remove P-Access-Network-Info if it claims to be the network's word (RFC 7315 4.4)."""
    if any("network-provided" in row.lower() for row in rows("P-Access-Network-Info")):
        remove("P-Access-Network-Info")


def append(name: str, text: str) -> None:
    """Add a header row; text that would end the row early is refused."""
    if "\r" in text or "\n" in text:
        raise Refused(400, "Bad Request", why="a line break in {}".format(name))
    KSR.hdr.append("{}: {}\r\n".format(name, text))


def replace(name: str, texts: Tuple[str, ...]) -> None:
    """Put these rows in place of all rows of a header."""
    remove(name)
    for text in texts:
        append(name, text)


def keep(state: Dict[str, Any]) -> None:
    """Keep something with the SIP transaction."""
    set_value("$avp(sad_state)", json.dumps(state, separators=(",", ":")))


def kept() -> Dict[str, Any]:
    """Return what :func:`keep` kept."""
    state = json.loads(value("$avp(sad_state)"))
    assert isinstance(state, dict)
    return state


def flow() -> Dict[str, Any]:
    """Return the flow of the message as the daemon names it."""
    return {
        "peerAddress": address(value("$si")),
        "peerPort": int(value("$sp")),
        "localAddress": address(value("$Ri")),
        "localPort": local_port(),
    }


def local_port() -> int:
    """Return the port that the message arrived at.

    Not ``$Rp``: on a connection that Kamailio has opened that is the port of the first listener.
    """
    return int(value("$sel(dst.port)"))


def address(text: str) -> str:
    """Return a host without brackets, an IPv6 address in its short form."""
    host = text.strip("[]")
    if ":" not in host:
        return host
    try:
        return ipaddress.IPv6Address(host).compressed
    except ValueError:
        return host


def socket_name(protocol: str, host: str, port: int) -> str:
    """Return a listening socket as Kamailio names it."""
    host = "[{}]".format(host) if ":" in host else host
    return "{}:{}:{}".format(protocol, host, port)


def answer_to_source() -> None:
    """Let what answers this request go to the port it came from, whatever its Via says."""
    KSR.force_rport()


def answer_from(host: str, port: int) -> None:
    """Let what answers this UDP request leave from another listening socket."""
    if KSR.corex.set_recv_socket(socket_name("udp", host, port)) < 0:
        raise Refused(503, "Service Unavailable", why="no listen=udp:{}:{}".format(host, port))


def leave_from(host: str, port: int) -> None:
    """Let the request leave from a listening socket, whatever its transport will be."""
    if KSR.corex.set_send_socket(socket_name("udp", host, port)) < 0:
        raise Refused(503, "Service Unavailable", why="no listen=udp:{}:{}".format(host, port))


def send_to(protocol: str, local: Tuple[str, int], remote: Tuple[str, int]) -> None:
    """Let the request leave from ``local`` to ``remote``."""
    if KSR.corex.set_send_socket(socket_name(protocol, *local)) < 0:
        why = "no listen={}".format(socket_name(protocol, *local))
        raise Refused(503, "Service Unavailable", why=why)
    host = "[{}]".format(remote[0]) if ":" in remote[0] else remote[0]
    KSR.setdsturi("sip:{}:{};transport={}".format(host, remote[1], protocol))


def from_own_address() -> bool:
    """Whether the source is one of this server's own addresses."""
    return bool(KSR.is_myself_srcip())


def close_connection(number: str) -> None:
    """Close a TCP connection by Kamailio's own number; one that is gone is no error."""
    if number.isdigit():
        KSR.tcpops.tcp_close_connection_id(int(number))


def seconds_of_contacts(table: str, aor: str, *, by: str = "$conid") -> int:
    """Return how long the longest contact of an address of record lives on the connection in hand.

    ``by`` "$ci": those that the REGISTER in hand has made. 0 if there is none: it has been
    de-registered.
    """
    left, now = 0, int(value("$TS") or 0)
    if KSR.registrar.reg_fetch_contacts(table, aor, "sad") < 0:
        return left
    try:
        ours, field = value(by), {"$conid": "conid", "$ci": "callid"}[by]
        for number in range(int(value("$ulc(sad=>count)") or 0)):
            if value("$(ulc(sad=>{})[{}])".format(field, number)) == ours:
                expires = int(value("$(ulc(sad=>expires)[{}])".format(number)) or 0)
                left = max(left, expires - now)
    finally:
        KSR.registrar.reg_free_contacts("sad")
    return left


def log(text: str) -> None:
    """Log for operators. Never give it a header's or a key's content."""
    KSR.warn("sad: {}\n".format(text))


def parameter(name: str) -> str:
    """Return ``sad.NAME`` of the configuration."""
    return value("$sel(cfg_get.sad.{})".format(name))


def table_get(table: str, key: str) -> Optional[str]:
    """Read the shared table."""
    found = KSR.htable.sht_get(table, key)
    return None if found is None else str(found)


def table_set(table: str, key: str, text: str, seconds: int) -> None:
    """Write the shared table; the entry lives that many seconds."""
    if KSR.htable.sht_setxs(table, key, text, seconds) < 0:
        log("the shared table {} is full: raise its size".format(table))


def table_remove(table: str, key: str) -> None:
    """Remove an entry of the shared table."""
    KSR.htable.sht_rm(table, key)


def table_keys(table: str, most: int) -> List[str]:
    """Return some keys of the shared table."""
    keys: List[str] = []

    def visit(_table: str, key: str, _text: str) -> bool:
        keys.append(key)
        return len(keys) < most

    visit_tables((table,), visit)
    return keys


def visit_tables(tables: Sequence[str], visit: Callable[[str, str, str], bool]) -> None:
    """Call ``visit`` with table, key and text of each entry until it says no.

    It must be quick and remove nothing: others wait for the slot in hand.
    """
    for table in tables:
        if KSR.htable.sht_iterator_start("sad", table) < 0:
            continue
        try:
            while KSR.htable.sht_iterator_next("sad") > 0:
                if not visit(table, value("$shtitkey(sad)"), value("$shtitval(sad)")):
                    return
        finally:
            KSR.htable.sht_iterator_end("sad")
