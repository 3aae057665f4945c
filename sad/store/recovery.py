"""What can be saved from a damaged journal: rows that are whole, for the kernel to confirm.

A row that is read here is only a claim. The start compares it with the kernel like any other:
without its four SAs, by SPI, reqid and selector, it ends. What no readable row speaks for goes.
"""

import contextlib
import ipaddress
import sqlite3
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from sad.model.algorithms import AlgorithmPair
from sad.model.association import Association
from sad.model.manual_algorithms import MANUAL_ENCRYPTION, MANUAL_INTEGRITY
from sad.model.sa_pair import SaPairParameters
from sad.model.sa_set import SaSetParameters

#: Ids are hexadecimal; each of these ranges is read by itself, so that a damaged page costs only
#: the rows that lie on it. It is the only way into a journal of an older version.
_PREFIX_LETTERS: Final = 3
#: So often a range of row numbers is halved because of a damaged page in it.
_MOST_HALVINGS: Final = 20_000


def salvage(path: Path, boot_id: str) -> list[Association]:
    """Return the rows of a damaged journal that are whole and of this boot; raises nothing.

    If the boot cannot be told from the file, the kernel has the last word all the same: SPIs and
    reqids are random, no other boot has them.
    """
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        with contextlib.closing(connection):
            if _of_another_boot(connection, boot_id):
                return []
            return list(_whole_rows(connection))
    return []


def _of_another_boot(connection: sqlite3.Connection, boot_id: str) -> bool:
    with contextlib.suppress(sqlite3.Error):
        row = connection.execute("SELECT value FROM meta WHERE key = 'boot_id'").fetchone()
        return row is not None and row[0] != boot_id
    return False


def _whole_rows(connection: sqlite3.Connection) -> Iterator[Association]:
    decoder = msgspec.json.Decoder(Association)
    saved: set[str] = set()
    for association_id, body in chain(_by_number(connection), _by_id(connection)):
        if association_id in saved:
            continue
        with contextlib.suppress(msgspec.MsgspecError, ValueError, TypeError):
            association = decoder.decode(body)
            if association.id == association_id and _is_sound(association):
                saved.add(association_id)
                yield association


def _by_number(connection: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Yield rows in the order of their numbers, for which no index is needed."""
    ranges: list[tuple[int, int]] = []
    with contextlib.suppress(sqlite3.Error):
        last = connection.execute("SELECT max(rowid) FROM association").fetchone()[0]
        ranges.append((0, (last or 0) + 1))
    left = _MOST_HALVINGS
    while ranges:
        low, high = ranges.pop()
        try:
            yield from connection.execute(
                "SELECT id, body FROM association WHERE rowid >= ? AND rowid < ?", (low, high)
            ).fetchall()
        except sqlite3.Error:
            if high - low > 1 and left:
                left -= 1
                middle = (low + high) // 2
                ranges += [(middle, high), (low, middle)]


def _by_id(connection: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Yield rows in the order of their ids."""
    for number in range(16**_PREFIX_LETTERS):
        first = f"{number:0{_PREFIX_LETTERS}x}"
        with contextlib.suppress(sqlite3.Error):
            yield from connection.execute(
                "SELECT id, body FROM association WHERE id BETWEEN ? AND ?", (first, first + "g")
            )


def _is_sound(association: Association) -> bool:
    """Whether every value is one that a plan can be made of."""
    bodies = (
        association.ipsec_3gpp,
        association.ipsec_man,
        association.tls,
        association.ipsec_ike,
    )
    if sum(body is not None for body in bodies) != 1:
        return False
    path = association.path
    try:
        ends = (path.local_address, path.peer_address)
        versions = {ipaddress.ip_address(address).version for address in ends}
    except ValueError:
        return False
    return (
        len(versions) == 1
        and bool(path.local_ports)
        and bool(path.peer_ports)
        and all(0 < port < 2**16 for port in (*path.local_ports, *path.peer_ports))
        and (not path.local_spis or _are_sound_sas(association))
    )


def _are_sound_sas(association: Association) -> bool:
    s = association.xfrm
    numbers = (*s.local_spis, *s.peer_spis, association.reqid_in, *association.reqid_out)
    return (
        _are_known(s)
        and len(association.reqid_out) == len(s.peer_spis)
        and all(0 < n < 2**32 for n in numbers)
    )


def _are_known(s: SaSetParameters | SaPairParameters) -> bool:
    if isinstance(s, SaPairParameters):
        return (
            s.integrity_algorithm in MANUAL_INTEGRITY
            and s.encryption_algorithm in MANUAL_ENCRYPTION
        )
    return AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm).known
