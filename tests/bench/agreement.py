"""How long the agreement takes, measured against json on the same machine.

The header is the longest real one, six mechanisms of a handset
(``tests/vectors/security-headers.txt``). The yardstick is ``json.loads`` of a text of the same
length. What must grow with the length alone is measured at two lengths.
"""

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
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
from tests.bench.figures import Row
from tests.bench.world import World
from tests.fuzz.targets import NO_LIMITS
from tests.support.secagree_messages import EXAMPLE
from tests.support.secagree_samples import POLICIES, VECTORS

ROUNDS: Final = 200
#: Machines that are shared change their speed by half from second to second: blocks of rounds are
#: spread over some seconds, and the block that was disturbed least is told.
BLOCKS: Final = 40
_PAUSE_SECONDS: Final = 0.2
TARGET_MICROSECONDS: Final = 40.0
#: Twice the length may cost this much more, or the work does not grow with the length alone.
TOLERATED_GROWTH: Final = 2.5
_SIZE: Final = 4 * 1024  # a quarter of what one header may bring
STATIC: Final = EXAMPLE.mechanisms


def six_mechanisms() -> str:
    """Return the value of the longest header of the vectors."""
    lines = VECTORS.read_text(encoding="utf-8").splitlines()
    return max((line for line in lines if line.startswith("Security-Client")), key=len)[17:]


def microseconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the shortest of all calls, and the median of the calls of the quietest block."""
    blocks = []
    for _ in range(BLOCKS):
        spans = []
        for _ in range(ROUNDS):
            begun_at = time.perf_counter_ns()
            work()
            spans.append(time.perf_counter_ns() - begun_at)
        blocks.append(spans)
        time.sleep(_PAUSE_SECONDS)
    return min(map(min, blocks)) / 1000, min(statistics.median(b) for b in blocks) / 1000


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


def growing_works(size: int) -> dict[str, Callable[[], object]]:
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
    twice = growing_works(2 * _SIZE)
    return {
        name: fastest(twice[name]) / fastest(work) for name, work in growing_works(_SIZE).items()
    }


def rows(_world: World) -> Iterator[Row]:
    """Measure reading, choosing and deciding, then what twice the length costs."""
    value = six_mechanisms()
    policy = POLICIES["legacy"]
    request = Request(
        "OPTIONS",
        (("Via", "SIP/2.0/UDP a"), ("Require", "sec-agree"), ("Security-Client", "tls, digest")),
    )
    text = json_of(value)
    works: tuple[tuple[str, Callable[[], object], float | None], ...] = (
        (f"json.loads of {len(text)} characters", lambda: json.loads(text), None),
        (f"parse {len(value)} characters", lambda: parse_header(value), None),
        (
            "parse and choose, six mechanisms",
            lambda: choose_mechanism(parse_header(value), policy),
            TARGET_MICROSECONDS,
        ),
        (
            "decide a request by RFC 3329",
            lambda: decide_request(request, ServerRules(), STATIC),
            None,
        ),
    )
    for what, work, limit in works:
        best, median = microseconds(work)
        yield Row(
            number=0,
            what=what,
            layout=f"median of the quietest of {BLOCKS} blocks of {ROUNDS} calls; no kernel",
            unit="µs",
            best=best,
            median=median,
            trials=ROUNDS * BLOCKS,
            median_at_most=limit,
        )
    for name, ratio in growth().items():
        yield Row(
            number=0,
            what=f"twice the length, {name}",
            layout=f"{_SIZE} and {2 * _SIZE} characters",
            unit="times",
            best=ratio,
            median=ratio,
            trials=30,
            at_most=TOLERATED_GROWTH,
        )
