"""What file, environment and command line say, and where in them.

Priority: command line, environment (``SAD_*``, nested with ``__``), file, defaults. The values are
still raw: :mod:`sad.config.load` makes :class:`~sad.config.settings.Settings` of them.
"""

import argparse
import dataclasses
import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from sad import __version__
from sad.config.locate import Path as KeyPath
from sad.config.locate import key_lines, nearest_line
from sad.config.problems import ConfigurationError, Problem
from sad.config.settings import Settings
from sad.usage import Parser

DEFAULT_PATH: Final = "/etc/sad/sad.toml"
PATH_VARIABLE: Final = "SAD_CONFIG"
_PREFIX: Final = "SAD_"


class _Readable(Settings, BaseSettings):
    """The settings as the library's readers want to see them."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_nested_delimiter="__")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What each source said.

    ``path`` is None if no file was read; ``ignored`` are variables that are no settings.
    """

    command_line: Mapping[str, Any]
    environment: Mapping[str, Any]
    file: Mapping[str, Any]
    path: str | None
    lines: Mapping[KeyPath, int]
    ignored: tuple[str, ...] = ()

    def merged(self) -> dict[str, Any]:
        """Return all values; tables merge, lists are replaced as a whole."""
        return _merge(_merge(self.file, self.environment), self.command_line)

    def origin_of(self, loc: KeyPath) -> str:
        """Return the place that gave the value at ``loc``, or where it is missing."""
        which = self._giver(loc)
        if which is self.command_line:
            return f"command line --{_option(loc)}"
        if which is self.environment:
            return f"environment {_variable(loc)}"
        if self.path is None:
            return "settings"
        line = nearest_line(self.lines, loc)
        return self.path if line is None else f"{self.path}:{line}"

    def _giver(self, loc: KeyPath) -> Mapping[str, Any] | None:
        by_priority = (self.command_line, self.environment, self.file)
        walks = [(_walk(source, loc), source) for source in by_priority]
        for (_, decides), source in walks:
            if decides:
                return source
        depth, source = max(
            ((depth, source) for (depth, _), source in walks), key=lambda found: found[0]
        )
        return source if depth else None


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the daemon's command line, every setting an option."""
    return _build_parser()[0]


def read_sources(argv: Sequence[str]) -> Sources:
    """Read all sources. ``argv`` is without the program's name.

    Raises ConfigurationError; leaves through SystemExit at ``--help`` or an unknown option.
    """
    parser, source = _build_parser()
    arguments = parser.parse_args(list(argv))
    try:
        command_line = source(parsed_args=arguments)()
    except SettingsError as error:
        field = next((name for name in Settings.model_fields if name in str(error)), "")
        raise ConfigurationError(
            [Problem(f"command line --{_option((field,))}", field, str(error), "mend the JSON")]
        ) from None
    path = arguments.config or os.environ.get(PATH_VARIABLE) or None
    file, lines, read = _read_file(path)
    environment, ignored = _read_environment()
    return Sources(
        command_line=command_line,
        environment=environment,
        file=file,
        path=read,
        lines=lines,
        ignored=ignored,
    )


def _build_parser() -> tuple[argparse.ArgumentParser, CliSettingsSource[argparse.ArgumentParser]]:
    parser = Parser(
        prog="sad",
        description="Security association daemon of a SIP edge node.",
        epilog=f"Each setting is also an environment variable ({_PREFIX}LOG_LEVEL, "
        f"{_PREFIX}LIMITS__MAX_CONNECTIONS) and a key of the settings file.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"settings file (default: ${PATH_VARIABLE}, else {DEFAULT_PATH} if there is one)",
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="check the settings, say what would run, and exit",
    )
    parser.add_argument("--version", action="version", version=f"sad {__version__}")
    source = CliSettingsSource[argparse.ArgumentParser](
        _Readable, root_parser=parser, cli_kebab_case=True
    )
    return parser, source


def _read_file(
    given: str | None,
) -> tuple[dict[str, Any], dict[KeyPath, int], str | None]:
    path = Path(given or DEFAULT_PATH)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read()
    except FileNotFoundError:
        if given is None:
            return {}, {}, None
        raise _bad_file(
            path, "there is no such file", f"give --config or {PATH_VARIABLE}"
        ) from None
    except OSError as error:
        raise _bad_file(path, error.strerror or str(error), "make it readable for sad") from None
    if mode & stat.S_IWOTH:
        raise _bad_file(path, "everybody may write it", f"chmod o-w {path}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _bad_file(f"{path}:{line}", "not UTF-8", "save the file as UTF-8") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _bad_file(*_syntax_error(path, text, str(error))) from None
    return values, key_lines(text), str(path)


def _bad_file(origin: object, reason: str, hint: str) -> ConfigurationError:
    return ConfigurationError([Problem(str(origin), "", reason, hint)])


def _syntax_error(path: Path, text: str, message: str) -> tuple[str, str, str]:
    match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if match is None:
        return str(path), message, "see the TOML specification"
    line = match[1] or str(max(1, len(text.splitlines())))
    column = f" at column {match[2]}" if match[2] else " at the end of the file"
    return f"{path}:{line}", message[: match.start()] + column, "this is no TOML"


class _Environment(EnvSettingsSource):
    """The library's reader; text that is no JSON list or table stays text, for the value types."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            decoded = super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value
        return decoded if isinstance(decoded, list | dict) else value


def _read_environment() -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the values of the environment, and the variables of our prefix that are no settings.

    The environment is not written for us alone, so a foreign name passes; one that looks like a
    setting is taken for a slip of the pen and refused.
    """
    known = Settings.model_fields
    strangers = {}
    for name in sorted(os.environ):
        top = name.removeprefix(_PREFIX).partition("__")[0].lower()
        if name.startswith(_PREFIX) and name != PATH_VARIABLE and top not in known:
            strangers[name] = top
    slips = {name: top for name, top in strangers.items() if _resembling(top, known)}
    if slips:
        raise ConfigurationError(
            Problem(f"environment {name}", top, "unknown setting", suggest(top, known))
            for name, top in slips.items()
        )
    return _Environment(_Readable)(), tuple(strangers)


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _walk(values: Any, loc: KeyPath) -> tuple[int, bool]:
    """Return how many steps of ``loc`` lead to something, and whether that decides.

    A value that is no table hides those of the sources below.
    """
    for depth, part in enumerate(loc):
        if not isinstance(values, Mapping):
            return depth, True
        if part not in values:
            return depth, False
        values = values[part]
    return len(loc), not isinstance(values, Mapping)


def _option(loc: KeyPath) -> str:
    names: list[str] = []
    for part in loc:
        if isinstance(part, int):
            break  # a list is one option
        names.append(part.replace("_", "-"))
    return ".".join(names)


def _variable(loc: KeyPath) -> str:
    names = []
    for part in loc:
        if isinstance(part, int):
            break
        names.append(part.upper())
    # a table may have come as JSON in one variable
    for length in range(len(names), 0, -1):
        name = _PREFIX + "__".join(names[:length])
        if name in os.environ:
            return name
    return _PREFIX + "__".join(names)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name."""
    close = _resembling(name, known)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(known)}"


def _resembling(name: str, known: Iterable[str]) -> list[str]:
    beginning = [other for other in known if len(name) > 2 and other.startswith(name)]
    return beginning + difflib.get_close_matches(name, known, n=1, cutoff=0.75)
