"""Thousands of SA sets, laid past the daemon: what an earlier life of it left behind."""

import asyncio
import dataclasses
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from netlink import decode
from netlink.kernel import KernelIpsec
from netlink.model import ObservedPolicy, ObservedSa
from netlink.secret import Secret
from netlink.sockets import open_socket
from netlink.tables import TableReader
from netlink.uapi import XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA
from sad.core.planning import plan_install
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association
from sad.model.journal import Put
from sad.model.rules import Layout, Lifetimes
from sad.store.journal import Journal
from tests.support.make import CK, IK, LAYOUT, LIFETIMES, OWNER, association, sa_set
from tests.support.namespaces import Namespace

_AT_ONCE: Final = 64
_PAIR: Final = AlgorithmPair("hmac-sha-1-96", "null")
_DUMP_BUFFER: Final = 4 << 20
_LEAST_SPI: Final = 65536
#: A permutation of the numbers below a prime (Park and Miller), and of those below what it
#: does not divide.
_FACTOR, _PRIME = 48271, 2**31 - 1


def boottime() -> float:
    """Seconds of CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def sets(count: int, *, deadline_at: float, first: int = 0) -> list[Association]:
    """Return the confirmed sets of so many user agents, SPIs and reqids strewn as if drawn."""
    spis, reqids = strewn_spis(first, count), strewn_reqids(first, count)
    return [
        association(
            id=f"{first + n:032x}",
            private_identity=f"{first + n}@ims.example",
            sa_set=sa_set(
                ue_address=address_of(first + n),
                spi_uc=spis[4 * n],
                spi_us=spis[4 * n + 1],
                spi_pc=spis[4 * n + 2],
                spi_ps=spis[4 * n + 3],
            ),
            reqid_in=reqids[3 * n],
            reqid_out=(reqids[3 * n + 1], reqids[3 * n + 2]),
            deadline_at=deadline_at,
            policies_until=boottime() + LIFETIMES.longest_registration,
        )
        for n in range(count)
    ]


def strewn_spis(first: int, count: int) -> list[int]:
    """Return four SPIs for each of so many user agents from a first one on.

    None comes twice, whatever is asked for with other numbers: of 100 000 sets that were drawn
    apart from each other some would.
    """
    numbers = range(4 * first + 1, 4 * (first + count) + 1)
    return [_LEAST_SPI + number * _FACTOR % _PRIME for number in numbers]


def strewn_reqids(first: int, count: int) -> list[int]:
    """Return three reqids for each of them, none twice."""
    low, high = LAYOUT.reqid_range
    numbers = range(3 * first, 3 * (first + count))
    return [low + number * _FACTOR % (high - low) for number in numbers]


def address_of(number: int) -> str:
    """Return the address of one of many user agents."""
    return f"10.{20 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


async def lay(
    namespace: Namespace,
    associations: Sequence[Association],
    *,
    owner: int = OWNER,
    lifetimes: Lifetimes = LIFETIMES,
) -> None:
    """Put sets with their policies into a kernel, as the daemon of this tag would."""
    layout = dataclasses.replace(LAYOUT, owner=owner)
    with namespace.enter():  # none of this gives the loop a turn
        kernel = await KernelIpsec.open()
    try:
        for start in range(0, len(associations), _AT_ONCE):
            piece = associations[start : start + _AT_ONCE]
            await asyncio.gather(*(_lay_one(kernel, a, layout, lifetimes) for a in piece))
    finally:
        kernel.close()


async def _lay_one(
    kernel: KernelIpsec, one: Association, layout: Layout, lifetimes: Lifetimes
) -> None:
    keys = derive_keys(_PAIR, Secret(IK), Secret(CK))
    outcomes = await kernel.commit(plan_install((), one, keys, layout, lifetimes, boottime()))
    assert not any(outcomes), "a set could not be laid"


async def fill_journal(state: Path, associations: Iterable[Association]) -> None:
    """Have the journal of an earlier life know of associations; the daemon is not running."""
    path = state / "journal.sqlite"
    connection = sqlite3.connect(path)
    (boot_id,) = connection.execute("SELECT value FROM meta WHERE key = 'boot_id'").fetchone()
    connection.close()
    journal = Journal.open(path, boot_id)
    await journal.record([Put(a) for a in associations])
    journal.close()


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a kernel holds: ours as observed, all else as digests of all that is said of it.

    Keys and counters are in the digests: what has the same was not touched.
    """

    sas: tuple[ObservedSa, ...]
    policies: tuple[ObservedPolicy, ...]
    foreign: frozenset[str]


async def contents(namespace: Namespace) -> Contents:
    """Return what the kernel of a namespace holds."""
    with namespace.enter():
        tables = TableReader(open_socket(_DUMP_BUFFER))
    foreign: set[str] = set()

    def sa(buffer: decode.Buffer, start: int, end: int) -> ObservedSa | None:
        seen = decode.sa(buffer, start, end)
        if seen is not None and seen.selector.owner == OWNER:
            return seen
        foreign.add(hashlib.sha256(bytes(buffer[start:end])).hexdigest())
        return None

    def policy(buffer: decode.Buffer, start: int, end: int) -> ObservedPolicy | None:
        seen = decode.policy(buffer, start, end)
        if seen is not None and seen.id.selector.owner == OWNER:
            return seen
        foreign.add(hashlib.sha256(bytes(buffer[start:end])).hexdigest())
        return None

    try:
        sas = await tables.read(XFRM_MSG_GETSA, sa)
        policies = await tables.read(XFRM_MSG_GETPOLICY, policy)
    finally:
        tables.close()
    return Contents(tuple(sas), tuple(policies), frozenset(foreign))
