"""The verb check: is this node fit? The daemon looks at the kernel, this process at the rest.

What a confined daemon cannot see, the state of the clock and of the guard, is looked at here.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sad.ctl.failures import Exit, Failure
from sad.ctl.session import CONTROL, Session
from sad.ctl.sheet import Cell, Sheet
from sad.ctl.words import counted

if TYPE_CHECKING:
    from sad.ctl.shapes import CheckOut, CheckResult

#: The first SA of an algorithm takes up to more than a second.
_PATIENCE_SECONDS: Final = 60.0

_ROLES: Final = {"ok": "good", "warning": "waiting", "failed": "bad"}
_STA_UNSYNC: Final = 0x0040  # adjtimex(2)
_TIMEX_BYTES: Final = 512  # more than struct timex of any Linux


def check(session: Session, _args: Namespace) -> None:
    """Look at the node and say what it lacks; a failed check is exit status 1."""
    reply = session.call(f"{CONTROL}.Check", {}, patience=_PATIENCE_SECONDS)
    results = [*reply.get("results", ()), *_own_results()]
    session.answer({"results": results}, check_lines)
    failed = sum(result["fitness"] == "failed" for result in results)
    if failed:
        raise Failure(
            f"{counted(failed, 'check')} failed", "each one says what to do", Exit.REFUSED
        )


def check_lines(reply: CheckOut, sheet: Sheet) -> list[str]:
    """Return results as lines."""
    lines: list[str] = []
    for result in reply["results"]:
        fitness = result["fitness"]
        cells = (
            Cell(fitness, _ROLES.get(fitness, ""), pad=len("warning")),
            Cell(f"{result['what']}:", "label"),
            *(Cell(word) for word in result["text"].split(" ")),
        )
        lines += sheet.line(cells, gap=" ")
        if result["hint"]:
            lines += sheet.labelled("hint", result["hint"], "hint", indent="        ")
    return lines


def _own_results() -> Iterator[CheckResult]:
    yield _clock()
    if (guard := _guard_program()) is not None:
        yield _guard(guard)


def _clock() -> CheckResult:
    """Certificates and the kernel's limits go by the wall clock."""
    import ctypes  # noqa: PLC0415 - no other verb needs it

    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(timex)
    except (OSError, AttributeError):
        state = -1
    if state < 0:
        return _result("clock", "warning", "the kernel does not say how it is kept", "")
    # struct timex: unsigned int modes, then four longs (offset, freq, maxerror, esterror), status.
    word = ctypes.sizeof(ctypes.c_long)
    status = ctypes.c_int.from_buffer(timex, 5 * word).value
    if status & _STA_UNSYNC:
        hint = "start an NTP client: certificates and log lines go by this clock"
        return _result("clock", "warning", "nothing keeps it right", hint)
    return _result("clock", "ok", "it is kept right", "")


def _guard_program() -> str | None:
    """Return the guard's program beside this one, if this user may run it to any effect."""
    folder = os.path.dirname(os.path.realpath(sys.argv[0]))  # noqa: PTH120 - pathlib lengthens the start
    path = os.path.join(folder, "sad-guard")  # noqa: PTH118 - as above
    return path if os.geteuid() == 0 and os.access(path, os.X_OK) else None


def _guard(program: str) -> CheckResult:
    import subprocess  # noqa: PLC0415 - as above

    done = subprocess.run([program, "show"], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode == 0:
        return _result("guard", "ok", "its rules are in force", "")
    hint = "systemctl enable --now sad-guard.service"
    return _result("guard", "warning", "no rules keep clear text off without the daemon", hint)


def _result(what: str, fitness: str, text: str, hint: str) -> CheckResult:
    return {"what": what, "fitness": fitness, "text": text, "hint": hint}
