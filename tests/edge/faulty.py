"""What Kamailio loads instead of the hook's loader: the hook, with a defect in a chosen place.

Copied into the hook's folder as it runs under Kamailio's own Python. The file ``fault`` beside it
says ``METHOD N``: the N-th line that the hook runs inside that entry point raises. What happened
is appended to ``faulted``; a call that ended before line N writes ``METHOD done``. Without a
defect it writes how long each entry took into ``times``: so long a worker was blocked.
"""

import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import KSR

# Beside this file, once it has been copied.
from sad_kamailio import mod_init as real_mod_init  # type: ignore[import-not-found]

_HERE = Path(__file__).resolve().parent
_FAULT, _FAULTED, _TIMES = (_HERE / name for name in ("fault", "faulted", "times"))


class Defect(Exception):
    """The injected defect."""


class _Faulty:
    """Wraps the hook; every entry point goes through :meth:`_enter`."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook

    def child_init(self, rank: int) -> int:
        return int(self._hook.child_init(rank))

    def request(self, msg: object) -> int:
        return self._enter("request", msg)

    def next_hop(self, msg: object) -> int:
        return self._enter("next_hop", msg)

    def reply(self, msg: object) -> int:
        return self._enter("reply", msg)

    def challenge(self, msg: object) -> int:
        return self._enter("challenge", msg)

    def registered(self, msg: object) -> int:
        return self._enter("registered", msg)

    def notified(self, msg: object) -> int:
        return self._enter("notified", msg)

    def retry(self, msg: object) -> int:
        return int(self._hook.retry(msg))

    def follow(self, msg: object) -> int:
        return int(self._hook.follow(msg))

    def _enter(self, name: str, msg: object) -> int:
        method = getattr(self._hook, name)
        wanted = _wanted(name)
        if wanted is None:
            begun = time.perf_counter()
            try:
                return int(method(msg))
            finally:
                seconds = time.perf_counter() - begun
                _append(_TIMES, f"{name} {seconds:.6f} {KSR.pv.get('$rm')} {KSR.pv.get('$ci')}")
        counter = _Counter(wanted)
        sys.settrace(counter.trace)
        try:
            result = int(method(msg))
        except Defect:
            _append(_FAULTED, f"{name} {wanted} {counter.where}")
            raise
        finally:
            sys.settrace(None)
        _append(_FAULTED, f"{name} done" if counter.left > 0 else f"{name} {wanted} swallowed")
        return result


class _Counter:
    """Raises at the N-th line of the hook's own modules.

    Not of the pure ones below them, whose loops over letters would make thousands of lines: what
    they raise comes through the line that calls them.
    """

    def __init__(self, lines: int) -> None:
        self.left = lines
        self.where = ""

    def trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        name = frame.f_code.co_filename
        if "/sip_hooks/kamailio/" not in name and not name.endswith("/sip_hooks/client.py"):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise Defect
        return self.trace


def _wanted(name: str) -> int | None:
    try:
        method, _, line = _FAULT.read_text().partition(" ")
    except OSError:
        return None
    return int(line) if method == name else None


def _append(path: Path, line: str) -> None:
    try:
        with path.open("a") as file:
            file.write(line + "\n")
    except OSError:
        pass


def mod_init() -> _Faulty:
    """As the loader's."""
    return _Faulty(real_mod_init())
