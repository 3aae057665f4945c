"""The journal over a reboot: its rows brought into the new boot, where sets can be rebuilt.

A deadline is of CLOCK_BOOTTIME, which begins anew. So the journal remembers the real-time second
at which its boot began, and the difference of two boots moves the deadlines: the time without a
machine counts (T24-P-12).
"""

import sqlite3
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import structs

from sad.model.association import Association


def enter_boot(connection: sqlite3.Connection, boot_id: str, began: float | None) -> None:
    """Note this boot; carry the rows of an earlier one over, or delete them.

    ``boot_id`` names boot and network namespace, ``began`` is the real-time second at which
    CLOCK_BOOTTIME was 0; None: sets cannot be rebuilt, what an earlier boot knew is gone. The
    caller has begun a transaction.
    """
    before = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    if before.get("boot_id", boot_id) != boot_id:
        carried = list(_carried(connection, before, boot_id, began))
        connection.execute("DELETE FROM association")
        rows = [(a.id, msgspec.json.encode(a)) for a in carried]
        connection.executemany("INSERT INTO association VALUES (?, ?)", rows)
    connection.execute("REPLACE INTO meta VALUES ('boot_id', ?)", (boot_id,))
    connection.execute("DELETE FROM meta WHERE key = 'began'")
    if began is not None:
        connection.execute("INSERT INTO meta VALUES ('began', ?)", (repr(began),))


def _carried(
    connection: sqlite3.Connection, before: Mapping[str, str], boot_id: str, began: float | None
) -> Iterator[Association]:
    if began is None or "began" not in before:
        return
    if _namespace(before["boot_id"]) != _namespace(boot_id):
        return
    shift = float(before["began"]) - began
    decoder = msgspec.json.Decoder(Association)
    for (body,) in connection.execute("SELECT body FROM association"):
        try:
            association = decoder.decode(body)
        except msgspec.MsgspecError:
            continue  # of another version: nobody can rebuild it
        if began < max(association.created_at, association.confirmed_at):
            continue  # the clock was set back: how long it may live is not known
        yield structs.replace(
            association,
            deadline_at=association.deadline_at + shift,
            policies_until=association.policies_until + shift,
        )


def _namespace(boot_id: str) -> str:
    return boot_id.partition(" ")[2]
