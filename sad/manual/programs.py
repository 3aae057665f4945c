"""Pieces of the command lines as Markdown. Pure but for building the parsers.

The parsers themselves are the source: what ``--help`` says, the page says.
"""

import argparse
from collections.abc import Iterator
from typing import Final

from sad.ctl import failures, parser
from sad.manual.markdown import code, plain, table

_HELP: Final = {"-h", "--help", "--version"}


def options_of(of: argparse.ArgumentParser, *, without: frozenset[str] = frozenset()) -> str:
    """Return the arguments and options of a parser as a table, or a sentence if there are none."""
    rows = [
        [code(_spelled(action)), plain(_help(of, action))]
        for action in of._actions  # noqa: SLF001 - argparse has no other way to read a parser
        if action.help != argparse.SUPPRESS
        and not without.intersection(action.option_strings)
        and not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - as above
    ]
    return table(["argument", "meaning"], rows) if rows else "It takes no arguments of its own."


def synopsis_of(of: argparse.ArgumentParser) -> str:
    """Return the usage of a parser in one line."""
    usage = of.format_usage().removeprefix("usage: ")
    return " ".join(usage.split())


def verbs() -> str:
    """Return each verb of ``sadctl`` with its arguments."""
    return "\n\n".join(_verb_pieces())


def common_options() -> str:
    """Return the options that every verb of ``sadctl`` takes."""
    return options_of(parser.build_parser())


def exit_codes() -> str:
    """Return the exit codes of ``sadctl``."""
    rows = [[code(str(int(exit_code))), plain(exit_code.meaning)] for exit_code in failures.Exit]
    return table(["status", "meaning"], rows)


def _verb_pieces() -> Iterator[str]:
    whole = parser.build_parser()
    common = frozenset(
        option
        for action in whole._actions  # noqa: SLF001 - as above
        for option in action.option_strings
    )
    for name, of_verb in verb_parsers(whole).items():
        yield f"### {name}"
        yield plain(of_verb.description or "")
        pieces = options_of(of_verb, without=common)
        if pieces.startswith("|"):
            yield pieces


def verb_parsers(whole: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each verb by its name."""
    (action,) = (
        action
        for action in whole._actions  # noqa: SLF001 - as above
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - as above
    )
    return dict(action.choices)


def _spelled(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else None
    if value is None and action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    names = ", ".join(action.option_strings)
    if not names:
        word = value or action.dest
        return f"{word} ..." if action.nargs == "+" else word
    return f"{names} {value}" if value and action.nargs != 0 else names


def _help(of: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or "") % {"prog": of.prog, "default": action.default}
    return f"{text[:1].upper()}{text[1:]}." if text else ""
