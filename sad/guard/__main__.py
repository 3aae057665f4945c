"""``sad-guard``: apply, remove, show or print the guard's rules. Run by ``sad-guard.service``."""

import argparse
import sys
from collections.abc import Sequence

from sad.config import EX_CONFIG, ConfigurationError, EndpointSettings, load_settings
from sad.guard.backends import (
    GuardError,
    all_backends,
    apply,
    choose_backend,
    remove,
)
from sad.usage import Parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="sad-guard",
        description="Keep clear text off the protected ports of sad's endpoints.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="settings file of sad")
    parser.add_argument(
        "--backend",
        choices=["auto", *(backend.name for backend in all_backends())],
        default="auto",
        help="tool to use (default: the first that works)",
    )
    parser.add_argument(
        "verb",
        choices=["apply", "remove", "show", "print"],
        help="apply: replace the rules by those of the settings; remove: remove them; show: what "
        "they have dropped; print: the rules as text, changing nothing",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 1 (not done) or 78 (settings)."""
    arguments = build_parser().parse_args(argv)
    try:
        return _run(arguments)
    except ConfigurationError as error:
        _complain(str(error))
        return EX_CONFIG
    except GuardError as error:
        _complain(f"sad-guard: {error}")
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if arguments.verb == "remove":
        _say(f"removed from: {', '.join(remove()) or 'nothing was there'}")
        return 0
    if arguments.verb == "show":
        return _show()
    endpoints = _endpoints(arguments.config)
    if arguments.verb == "print":
        _say(choose_backend(arguments.backend, endpoints).render(endpoints).rstrip("\n"))
        return 0
    chosen = apply(arguments.backend, endpoints)
    _say(f"applied with {chosen.name}: {', '.join(e.name for e in endpoints) or 'no endpoint'}")
    return 0


def _endpoints(config: str | None) -> tuple[EndpointSettings, ...]:
    return load_settings([] if config is None else ["--config", config]).endpoint


def _show() -> int:
    shown = False
    for backend in all_backends():
        counters = backend.counters()
        if counters is None:
            continue
        shown = True
        _say(f"{backend.name}:")
        for counter in counters:
            _say(
                f"  endpoint {counter.endpoint} {counter.address} "
                f"{'in ' if counter.inbound else 'out'}: dropped {counter.packets} packets, "
                f"{counter.bytes} bytes"
            )
    if not shown:
        _complain("there are no guard rules: run sad-guard apply")
    return 0 if shown else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
