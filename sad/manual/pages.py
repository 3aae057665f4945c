"""Which pages there are, and their text with the pieces of the code put in."""

import importlib.resources
import re
from collections.abc import Callable, Mapping
from typing import Final

from sad import __main__ as daemon
from sad.config import build_parser as build_daemon_parser
from sad.ctl.parser import build_parser as build_ctl_parser
from sad.guard.__main__ import build_parser as build_guard_parser
from sad.manual import interfaces, programs, settings
from sad.manual.markdown import code, plain, table

#: The pages by name and section.
PAGES: Final = ("sad.8", "sad-guard.8", "sadctl.1", "sad.toml.5", "sad-socket.7")

_ASKED: Final = re.compile(r"^\{\{([a-z-]+(?: [A-Za-z.]+)?)\}\}$", re.MULTILINE)


def page(name: str) -> str:
    """Return a page as Markdown, whole."""
    source = importlib.resources.files("sad.manual") / f"{name}.md"
    return _ASKED.sub(lambda asked: piece(asked[1]), source.read_text(encoding="utf-8"))


def piece(asked: str) -> str:
    """Return one piece of the code; KeyError if there is none of this name."""
    name, _, of = asked.partition(" ")
    if name == "interface":
        return interfaces.interface(of)
    return _PIECES[name]()


def _daemon_options() -> str:
    parser = build_daemon_parser()
    settings_too = frozenset(
        option
        for action in parser._actions  # noqa: SLF001 - argparse has no other way to read a parser
        for option in action.option_strings
        if option not in ("--config", "--check-config", "--version", "-h", "--help")
    )
    return programs.options_of(parser, without=settings_too)


def _daemon_exit_codes() -> str:
    rows = [[code(str(status)), plain(text)] for status, text in daemon.EXIT_STATUS.items()]
    return table(["status", "meaning"], rows)


def _socket_rules() -> str:
    """Return what the page of the socket has to say to programmers, as it stands beside it."""
    readme = importlib.resources.files("sad.api") / "README.md"
    text = readme.read_text(encoding="utf-8")
    return text[text.index("## Rules of a connection") :]


_PIECES: Final[Mapping[str, Callable[[], str]]] = {
    "verbs": programs.verbs,
    "ctl-options": programs.common_options,
    "ctl-exit-codes": programs.exit_codes,
    "guard-options": lambda: programs.options_of(build_guard_parser()),
    "ctl-synopsis": lambda: f"`{programs.synopsis_of(build_ctl_parser())}`",
    "guard-synopsis": lambda: f"`{programs.synopsis_of(build_guard_parser())}`",
    "daemon-options": _daemon_options,
    "daemon-exit-codes": _daemon_exit_codes,
    "settings": settings.top_level,
    "tables": settings.tables,
    "endpoint": settings.endpoint,
    "socket-rules": _socket_rules,
}
