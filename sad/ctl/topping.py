"""The verb top: the daemon and its associations, drawn again and again in a terminal.

One ``Monitor`` stream keeps the table, so a node with very many associations is not listed anew
each time; what is asked for in every round are the status, and the counters of the rows shown.
"""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from sad.ctl.failures import Exit, Failure
from sad.ctl.render import event_lines, status_head_lines
from sad.ctl.session import ASSOCIATIONS, CONTROL, Session
from sad.ctl.sheet import Cell, Sheet, state_role
from sad.ctl.words import lifetime_text, size, span, state_text
from sip_hooks.client import CallError, Client, Subscription, TimedOut

if TYPE_CHECKING:
    from sad.ctl.shapes import Association, MonitorOut

#: Cursor home, then what is drawn; each line clears its rest, and the last everything below.
_HOME: Final = "\x1b[H"
_CLEAR_LINE: Final = "\x1b[K\n"
_CLEAR_BELOW: Final = "\x1b[J"
_CLEAR_ALL: Final = "\x1b[2J"
_MOST_ROWS: Final = 40
_EVENTS_SHOWN: Final = 5


class _Board:
    """What is known of the associations: the newest change first."""

    def __init__(self) -> None:
        self.associations: dict[str, Association] = {}
        self.events: list[tuple[str, MonitorOut]] = []
        self.resync = False

    def take(self, reply: Mapping[str, Any], stamp: str) -> None:
        event, association = reply.get("event"), reply.get("association")
        if event == "resync":
            self.resync = True
            return
        if association is None:
            return
        self.associations.pop(association["id"], None)
        if event != "ended":
            self.associations[association["id"]] = association
        if event != "present":
            seen: MonitorOut = {"event": str(event), "association": association}
            self.events = [(stamp, seen), *self.events[: _EVENTS_SHOWN - 1]]

    def newest(self, count: int) -> Iterator[Association]:
        for _, association in zip(
            range(count), reversed(self.associations.values()), strict=False
        ):
            yield association


def top(session: Session, args: Namespace) -> None:
    """Draw until interrupted, or ``--rounds`` times."""
    if session.output.is_json or not session.output.is_terminal:
        raise Failure(
            "top draws in a terminal",
            "for programs there are sadctl status --json and sadctl monitor --json",
            Exit.USAGE,
        )
    with Client(session.path, session.timeout or 10.0) as client:
        drawn = 0
        session.output.raw(_CLEAR_ALL)
        while True:
            with client.subscribe(f"{ASSOCIATIONS}.Monitor", {}) as stream:
                board = _Board()
                while not board.resync:
                    _fill(board, stream, args.interval)
                    _draw(session, client, board)
                    drawn += 1
                    if args.rounds and drawn >= args.rounds:
                        return


def _fill(board: _Board, stream: Subscription, seconds: float) -> None:
    """Take what comes for so long."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not board.resync:
        try:
            reply = stream.next(left)
        except TimedOut:
            return
        board.take(reply, time.strftime("%H:%M:%S"))


def _draw(session: Session, client: Client, board: _Board) -> None:
    status = client.call(f"{CONTROL}.GetStatus")
    sheet = session.output.sheet
    try:
        rows = os.get_terminal_size().lines
    except OSError:
        rows = 24
    now = time.time()
    lines = [*status_head_lines(status, sheet, now), ""]  # type: ignore[arg-type]  # as it came
    recent = [
        line for stamp, event in board.events for line in event_lines(event, sheet, stamp=stamp)
    ]
    room = max(1, min(_MOST_ROWS, rows - len(lines) - len(recent) - 3))
    for association in board.newest(room):
        lines += _row(association, _counted(client, association["id"]), sheet, now)
    lines = [*lines[: rows - len(recent) - 2], "", *recent]
    session.output.raw(_HOME + _CLEAR_LINE.join(lines) + _CLEAR_BELOW)
    session.output.flush()


def _counted(client: Client, association_id: str) -> list[dict[str, Any]]:
    try:
        reply = client.call(f"{ASSOCIATIONS}.Get", {"id": association_id})
    except CallError:  # it has ended meanwhile, or the kernel lost it
        return []
    counters: list[dict[str, Any]] = reply.get("counters", [])
    return counters


def _row(
    association: Association, counters: list[dict[str, Any]], sheet: Sheet, now: float
) -> list[str]:
    """Return one line, cut rather than folded: a screen has so many lines."""
    bytes_of = {"in": 0, "out": 0}
    failures, last = 0, 0
    for counter in counters:
        bytes_of[counter["direction"]] += counter["bytes"]
        failures += counter["integrityFailures"] + counter["replayFailures"]
        last = max(last, counter["lastUsedAt"])
    state = association["state"]
    left = dict(association) | {
        "secondsLeft": max(0, int(association["expiresAt"] / 1_000_000 - now))
    }
    used = f"{span(int(now - last / 1_000_000))} ago" if last else "unused"
    cells = (
        Cell(association["id"][:12], pad=12),
        Cell(state_text(state), state_role(state), pad=11),
        Cell(lifetime_text(left), pad=22),  # type: ignore[arg-type]  # as it came
        Cell(f"in {size(bytes_of['in'])}, out {size(bytes_of['out'])}", pad=26),
        Cell(used, pad=14),
        Cell(f"{failures} failures" if failures else "", "bad"),
        Cell(association["registration"]["privateIdentity"]),
    )
    return sheet.line(cells)[:1]
