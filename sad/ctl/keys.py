"""The verb ``key``: key sets of ipsec-man are listed, added, rotated, removed. Keys never show."""

import time
from argparse import Namespace
from functools import partial
from typing import Final

from sad.ctl.arguments import Instant
from sad.ctl.key_input import read_keys
from sad.ctl.session import CONTROL, Session, given
from sad.ctl.shapes import AddKeyOut, Key, KeyProblem, ListKeysOut
from sad.ctl.sheet import Cell, Sheet
from sad.ctl.words import instant_text, port_ranges, socket_address, span, spi_text

_STATE_WIDTH: Final = len("standing")
_VALIDITY_WIDTH: Final = len("ends in 59 min 59 s")


def key(session: Session, args: Namespace) -> None:
    """Do what the word behind ``key`` says."""
    {"list": list_keys, "add": add, "rotate": rotate, "remove": remove}[args.word](session, args)


def list_keys(session: Session, _args: Namespace) -> None:
    """Show all key sets, and what is wrong in the key files."""
    reply = session.call(f"{CONTROL}.ListKeys", {})
    session.answer(reply, partial(key_list_lines, now=time.time()))


def add(session: Session, args: Namespace) -> None:
    """Give sad a key set."""
    keys = read_keys(args.key_fd, wants_encryption=args.encryption != "null")
    now = time.time()
    parameters = given(
        name=args.name,
        endpoint=args.endpoint,
        role=args.role,
        identity=args.identity,
        localAddress=args.local,
        peerAddress=args.peer,
        spiIn=args.spi_in,
        spiOut=args.spi_out,
        localPorts=args.local_ports,
        peerPorts=args.peer_ports,
        integrityAlgorithm=args.integrity,
        encryptionAlgorithm=args.encryption,
        keys=keys,
        notBefore=_microseconds(args.not_before, now) or round(now * 1_000_000),
        notAfter=_microseconds(args.not_after, now),
        activation="agreement" if args.agreement else None,
    )
    reply = session.call(f"{CONTROL}.AddKey", parameters, patience=60.0)
    session.answer(reply, partial(key_lines, now=time.time()))


def rotate(session: Session, args: Namespace) -> None:
    """Give sad the set that follows another one."""
    keys = read_keys(args.key_fd, wants_encryption=True)
    now = time.time()
    parameters = given(
        name=args.name,
        newName=args.new_name,
        spiIn=args.spi_in,
        spiOut=args.spi_out,
        keys=keys,
        notBefore=_microseconds(args.not_before, now),
        notAfter=_microseconds(args.not_after, now),
    )
    reply = session.call(f"{CONTROL}.RotateKey", parameters, patience=60.0)
    session.answer(reply, partial(key_lines, now=time.time()))


def remove(session: Session, args: Namespace) -> None:
    """Remove a set that was given at run time."""
    reply = session.call(f"{CONTROL}.RemoveKey", {"name": args.name}, patience=60.0)
    session.answer(reply, lambda _reply, _sheet: ["removed, and its SAs with it"])


def _microseconds(when: Instant | None, now: float) -> int | None:
    return None if when is None else round(when.at(now) * 1_000_000)


# --- lines ---------------------------------------------------------------------------------------


def key_list_lines(reply: ListKeysOut, sheet: Sheet, now: float) -> list[str]:
    """Return a reply of ``ListKeys``; ``now`` in real-time seconds."""
    lines = [line for found in reply["keys"] for line in row_lines(found, sheet, now)]
    for problem in reply["problems"]:
        lines += _problem_lines(problem, sheet)
    return lines or ["no key sets"]


def key_lines(reply: AddKeyOut, sheet: Sheet, now: float) -> list[str]:
    """Return a reply of ``AddKey`` and ``RotateKey``."""
    return row_lines(reply["key"], sheet, now)


def row_lines(found: Key, sheet: Sheet, now: float) -> list[str]:
    """Return a key set as one row, folded where the terminal is narrow."""
    peer = socket_address(found["peerAddress"] or found["identity"], found["peerPorts"][0])
    more = found["peerPorts"][1:]
    return sheet.line(
        (
            Cell(found["name"]),
            Cell(found["state"], _role(found), _STATE_WIDTH),
            Cell(_validity(found, now), "", _VALIDITY_WIDTH),
            Cell(found["endpoint"]),
            Cell(f"{peer}, {port_ranges(more)}" if more else peer),
            Cell(f"in {spi_text(found['spiIn'])} out {spi_text(found['spiOut'])}"),
            Cell(f"{found['integrityAlgorithm']}/{found['encryptionAlgorithm']}"),
            Cell(found.get("association") or found["activation"]),
            Cell(found["origin"]),
        )
    )


def _role(found: Key) -> str:
    return "good" if found["state"] == "standing" else "waiting"


def _validity(found: Key, now: float) -> str:
    begins, ends = found["notBefore"] / 1_000_000, found["notAfter"] / 1_000_000
    if begins > now:
        return f"begins in {span(int(begins - now))}"
    if ends - now > 90 * 86_400:
        return f"ends {instant_text(ends)}"
    return f"ends in {span(int(ends - now))}"


def _problem_lines(problem: KeyProblem, sheet: Sheet) -> list[str]:
    key = f"{problem['key']}: " if problem["key"] else ""
    return [
        *sheet.line((Cell(f"{problem['origin']}: {key}{problem['reason']}", "bad"),)),
        *sheet.labelled("hint", problem["hint"], "hint"),
    ]
