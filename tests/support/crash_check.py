"""Compares what a daemon lists and what ``ip xfrm`` shows with the model of what was answered."""

import dataclasses
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tests.support import eye
from tests.support.crash_model import BACKSTOP, SetModel, World
from tests.support.crash_scenario import EDGE, SERVER_PORT
from tests.support.make import IK
from tests.support.namespaces import Namespace

SECONDS_OFF: Final = 1.0
LIMIT_OFF: Final = 4.0  # the kernel counts whole seconds, and the daemon mends beyond three
_RANK: Final = ("inUse", "established", "retiring", "temporary")

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Kernel:
    """What lies in a namespace."""

    states: Sequence[eye.SeenSa]
    policies: Sequence[str]

    @classmethod
    def look(cls, namespace: Namespace) -> "Kernel":
        return cls(eye.states(namespace), sorted(eye.policies(namespace)))


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """What is there without any set: objects of others, and the endpoint's block policies."""

    foreign: frozenset[str]
    policies: tuple[str, ...]

    @classmethod
    def of(cls, kernel: Kernel) -> "Standing":
        return cls(frozenset(s.text for s in kernel.states), tuple(kernel.policies))


def set_of(row: Row) -> tuple[str, int]:
    return row["ipsec3gpp"]["ueAddress"], row["ipsec3gpp"]["spiUc"]


def differences(world: World, rows: Iterable[Row]) -> list[str]:
    """Say how a daemon's list differs from the model."""
    listed = {set_of(row): row for row in rows}
    found = []
    for set_ in world:
        row = listed.pop(set_.name, None)
        if row is None:
            found.append(f"lost: {set_.name} {set_.state}")
        else:
            found += _changed(set_, row)
    return found + [f"leaked: association {name} {row['state']}" for name, row in listed.items()]


def _changed(set_: SetModel, row: Row) -> list[str]:
    found = []
    if set_.identifier not in {None, row["id"]}:
        found.append(f"lost: {set_.name} has another id")
    if set_.own not in {None, own_of(row)}:
        found.append(f"lost: {set_.name} has other SPIs or ports")
    if row["state"] != set_.state:
        found.append(f"lost: {set_.name} is {row['state']}, not {set_.state}")
    low, high = set_.deadline
    if not low - SECONDS_OFF <= row["expiresAt"] / 1e6 <= high + SECONDS_OFF:
        off = row["expiresAt"] / 1e6 - low
        found.append(f"lost: {set_.name} {set_.state} ends {off:+.1f} s from its deadline")
    return found


def own_of(row: Row) -> tuple[int, int, int]:
    values = row["ipsec3gpp"]
    return values["spiPc"], values["spiPs"], values["portPc"]


def learnt(world: World, rows: Iterable[Row]) -> World:
    """Return the world with what the daemon has chosen."""
    listed = {set_of(row): row for row in rows}
    return tuple(
        dataclasses.replace(s, identifier=row["id"], own=own_of(row))
        if (row := listed.get(s.name))
        else s
        for s in world
    )


def kernel_differences(world: World, kernel: Kernel, standing: Standing) -> list[str]:
    """Say how SAs and policies differ from what the sets of a (learnt) world need."""
    return [
        *_sas_differ(world, kernel, standing),
        *_policies_differ(world, kernel, standing),
    ]


def _sas_of(set_: SetModel) -> dict[str, tuple[str, int]]:
    """Return SA1 to SA4 by TS 33.203 7.1: destination and SPI."""
    peer, spi_uc = set_.name
    edge = _edge_of(set_)
    assert set_.own is not None
    spi_pc, spi_ps, _ = set_.own
    return {
        "SA1": (edge, spi_ps),
        "SA2": (peer, spi_uc),
        "SA3": (peer, spi_uc + 1),
        "SA4": (edge, spi_pc),
    }


def _edge_of(set_: SetModel) -> str:
    return EDGE[6 if ":" in set_.name[0] else 4]


def _sas_differ(world: World, kernel: Kernel, standing: Standing) -> list[str]:
    texts = {s.text for s in kernel.states}
    found = [f"touched: {text}" for text in standing.foreign - texts]
    seen = {(s.destination, s.spi): s for s in kernel.states if s.text not in standing.foreign}
    for set_ in world:
        for row, key in _sas_of(set_).items():
            sa = seen.pop(key, None)
            if sa is None:
                found.append(f"lost: {row} of {set_.name} {set_.state}")
            else:
                found += _limit_differs(set_, row, sa)
    return found + [f"leaked: SA to {to} spi {spi:#x}" for to, spi in seen]


def _limit_differs(set_: SetModel, row: str, sa: eye.SeenSa) -> list[str]:
    found = []
    ends_at = added_at(sa) + sa.hard_add
    low, high = set_.deadline
    if not low + BACKSTOP - LIMIT_OFF <= ends_at <= high + BACKSTOP + LIMIT_OFF:
        off = ends_at - low - BACKSTOP
        found.append(f"lost: limit of {row} of {set_.name} {set_.state} is {off:+.1f} s off")
    if not sa.auth_key.startswith(IK.hex()):
        found.append(f"lost: the key of {row} of {set_.name}")
    return found


def added_at(sa: eye.SeenSa) -> float:
    """Return the origin of an SA's limit, which moves, in real time."""
    (text,) = re.findall(r"add (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", sa.text)
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def _policies_differ(world: World, kernel: Kernel, standing: Standing) -> list[str]:
    rest = list(kernel.policies)
    found = []
    for text in standing.policies:
        if text in rest:
            rest.remove(text)
        else:
            found.append(f"touched: {text}")
    reqids = {(s.destination, s.spi): s.reqid for s in kernel.states}
    wanted = _policies_of(world, reqids)
    seen = [_read(text) for text in rest]
    found += [f"lost: policy {p}" for p in wanted if p not in seen]
    found += [f"leaked: policy {p}" for p in seen if p not in wanted]
    if len(seen) != len(set(seen)):
        found.append("leaked: a policy is there twice")
    return found


#: direction, source, its port, destination, its port, the reqid of the template ("block": none)
_Policy = tuple[str, str, str, str, str, str]


def _policies_of(world: World, reqids: Mapping[tuple[str, int], int]) -> set[_Policy]:
    """Return what TS 33.203 7.1 and INTEROP-1 ask for: every pair of their ports with ours.

    What several sets have goes out on the best of them, the oldest of equals (T24-P-9).
    """
    wanted: dict[tuple[str, ...], str] = {}
    for set_ in sorted(world, key=lambda s: _RANK.index(s.state)):
        assert set_.own is not None
        peer, edge, sas = set_.name[0], _edge_of(set_), _sas_of(set_)
        for row, port in (("SA2", set_.port_uc), ("SA3", set_.port_us)):
            wanted["out", edge, "", peer, str(port)] = "block"
            for own in (set_.own[2], SERVER_PORT):
                outbound = "out", edge, str(own), peer, str(port)
                wanted.setdefault(outbound, str(reqids.get(sas[row])))
                wanted["in", peer, str(port), edge, str(own)] = str(reqids.get(sas["SA1"]))
    return {(*selector, reqid) for selector, reqid in wanted.items()}  # type: ignore[misc]


def _read(text: str) -> _Policy:
    def find(pattern: str) -> str:
        match = re.search(pattern, text)
        return match.group(1) if match else ""

    blocked = "action block" in text
    return (
        find(r"dir (\S+)"),
        find(r"^src ([^/\s]+)"),
        find(r"\bsport (\d+)"),
        find(r"^src \S+ dst ([^/\s]+)"),
        find(r"\bdport (\d+)"),
        "block" if blocked else find(r"reqid (\d+)"),
    )
