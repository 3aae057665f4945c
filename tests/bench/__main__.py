"""``make bench``: how long the agreement takes, measured against json on the same machine.

Numbers only, and no promise of time in ``make test``: a busy machine proves nothing. The header is
the longest real one, six mechanisms of a handset (``tests/vectors/security-headers.txt``). The
yardstick is ``json.loads`` of a text of the same length.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from sip_hooks.secagree import (
    HeaderError,
    Request,
    SecMechanism,
    ServerRules,
    choose_mechanism,
    decide_request,
    find_difference,
    parse_header,
    predict_choice,
)
from tests.fuzz.targets import NO_LIMITS
from tests.lane.decision import Lane
from tests.lane.environment import inner_environment
from tests.lane.host import host_argv
from tests.support.secagree_messages import EXAMPLE
from tests.support.secagree_samples import POLICIES, VECTORS

ROOT: Final = Path(__file__).resolve().parents[2]
ROUNDS: Final = 2_000
TARGET_MICROSECONDS: Final = 40.0
#: Twice the length may cost this much more, or the work does not grow with the length alone.
TOLERATED_GROWTH: Final = 2.5
_SIZE: Final = 4 * 1024  # a quarter of what one header may bring
STATIC: Final = EXAMPLE.mechanisms


def six_mechanisms() -> str:
    """Return the value of the longest header of the vectors."""
    lines = VECTORS.read_text(encoding="utf-8").splitlines()
    return max((line for line in lines if line.startswith("Security-Client")), key=len)[17:]


def median_microseconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median of single calls."""
    spans = []
    for _ in range(rounds):
        begun_at = time.perf_counter_ns()
        work()
        spans.append(time.perf_counter_ns() - begun_at)
    return statistics.median(spans) / 1000


def json_of(value: str) -> str:
    """Return a JSON text of the header's length, with as many of its mechanisms as fit."""
    mechanisms = [
        [m.name, {name: given for name, given, _ in m.parameters}] for m in parse_header(value)
    ]
    text = json.dumps(mechanisms, separators=(",", ":"))
    while len(text) > len(value):
        mechanisms.pop()
        text = json.dumps(mechanisms, separators=(",", ":"))
    return text.ljust(len(value))


#: Patterns of one header: start, what is repeated, end.
GROWING: Final = {
    "mechanisms": ("", "tls,", "tls"),
    "parameters": ("x", ";name=value", ""),
    "quoted string": ('x;a="', "\\b", '"'),
    "folds": ("x", "\r\n ", ""),
    "unfinished string": ('x;a="', "b", ""),
}


def read(row: str) -> None:
    """Read a row or refuse it, which is work too."""
    with contextlib.suppress(HeaderError):
        parse_header(row, NO_LIMITS)


def works(size: int) -> dict[str, Callable[[], object]]:
    """Return what must grow with the length alone, each for an input of ``size`` characters."""
    found: dict[str, Callable[[], object]] = {}
    for name, (start, repeated, end) in GROWING.items():
        row = start + repeated * (size // len(repeated)) + end
        found[f"read {name}"] = partial(read, row)
    offers = parse_header(six_mechanisms()) * (size // len(six_mechanisms()) * 4)
    mirrored = [SecMechanism(m.name, m.parameters[::-1]) for m in offers]
    request = Request("INVITE", (("Via", '"a,' * (size // 3)), ("Require", "x," * (size // 2))))
    found["choose"] = partial(choose_mechanism, offers, POLICIES["legacy"])
    found["foresee"] = partial(predict_choice, offers, STATIC)
    found["compare"] = partial(find_difference, offers, mirrored)
    found["decide"] = partial(decide_request, request, ServerRules(), STATIC)
    return found


def fastest(work: Callable[[], object]) -> int:
    """Return the shortest of some calls in nanoseconds: what the machine disturbed least."""
    spans = []
    for _ in range(30):
        begun_at = time.perf_counter_ns()
        work()
        spans.append(time.perf_counter_ns() - begun_at)
    return min(spans)


def growth() -> dict[str, float]:
    """Return how much longer twice the length takes."""
    twice = works(2 * _SIZE)
    return {name: fastest(twice[name]) / fastest(work) for name, work in works(_SIZE).items()}


def main() -> int:
    """Print the table; the status tells whether a target was missed."""
    value = six_mechanisms()
    policy = POLICIES["legacy"]
    request = Request(
        "OPTIONS",
        (("Via", "SIP/2.0/UDP a"), ("Require", "sec-agree"), ("Security-Client", "tls, digest")),
    )
    text = json_of(value)
    parsed = median_microseconds(lambda: choose_mechanism(parse_header(value), policy))
    rows = {
        f"json.loads of {len(text)} characters": median_microseconds(lambda: json.loads(text)),
        f"parse {len(value)} characters": median_microseconds(lambda: parse_header(value)),
        "parse and choose, six mechanisms": parsed,
        "decide a request by RFC 3329": median_microseconds(
            lambda: decide_request(request, ServerRules(), STATIC)
        ),
    }
    for name, span in rows.items():
        print(f"{name:36} {span:8.1f} us")
    grown = growth()
    for name, ratio in grown.items():
        print(f"{'twice the length, ' + name:36} {ratio:8.2f} times")
    fast = parsed < TARGET_MICROSECONDS
    linear = max(grown.values()) <= TOLERATED_GROWTH
    print(f"parse and choose below {TARGET_MICROSECONDS:g} us: {'yes' if fast else 'NO'}")
    print(f"no growth above {TOLERATED_GROWTH}: {'yes' if linear else 'NO'}")
    not_behind = beside_ss()
    return 0 if fast and linear and not_behind else 1


def beside_ss() -> bool:
    """Have TLS connections bound and ended in fresh namespaces; print the rates."""
    with tempfile.TemporaryDirectory(dir="/run") as scratch:
        done = subprocess.run(
            host_argv(
                os.getuid(), ROOT, Path(scratch), [sys.executable, "-m", "tests.bench.connections"]
            ),
            cwd=ROOT,
            env=inner_environment(os.environ, lane=Lane.HOST, scratch=Path(scratch), columns=None),
            check=False,
        )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
