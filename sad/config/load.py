"""From raw sources to :class:`~sad.config.settings.Settings`.

The counterpart of a pydantic error is a :class:`~sad.config.problems.Problem` that names the line,
the variable or the option from which the value came, and the way out.
"""

from collections.abc import Iterator, Sequence
from typing import Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sad.config.locate import Path
from sad.config.problems import (
    BROKEN_RULES,
    BrokenRule,
    ConfigurationError,
    Problem,
    dotted,
)
from sad.config.settings import Settings
from sad.config.sources import Sources, read_sources, suggest

_SHAPES: Final = {
    "model_type": (
        "no table",
        'write a table; in a variable or option as JSON: {"key": value}',
    ),
    "tuple_type": ("no list", "write a list; in a variable or option as a, b or JSON"),
}


def load_settings(argv: Sequence[str] = ()) -> Settings:
    """Return the settings in force. ``argv`` is the command line without the program's name.

    Raises ConfigurationError with every problem found.
    """
    return settings_of(read_sources(argv))


def settings_of(sources: Sources) -> Settings:
    """Return the settings that ``sources`` make up, or raise ConfigurationError."""
    try:
        return Settings.model_validate(sources.merged())
    except ValidationError as error:
        found = [p for details in error.errors() for p in _problems(details, sources)]
        raise ConfigurationError(sorted(found, key=_place)) from None


def _problems(details: ErrorDetails, sources: Sources) -> Iterator[Problem]:
    loc: Path = details["loc"]
    context = details.get("ctx", {})
    if details["type"] == BROKEN_RULES:
        rules: tuple[BrokenRule, ...] = context["rules"]
        for rule in rules:
            yield _problem((*loc, *rule.loc), rule.reason, rule.hint, sources)
        return
    reason = str(context.get("reason") or details["msg"].removeprefix("Input "))
    if details["type"] == "extra_forbidden":
        reason = "unknown setting"
        siblings = _model_at(loc[:-1]).model_fields
        hint = suggest(str(loc[-1]), siblings)
    elif details["type"] == "missing":
        reason = "missing"
        hint = f"add it. {_documentation(loc)}"
    elif details["type"] in _SHAPES:
        reason, hint = _SHAPES[details["type"]]
    else:
        hint = str(context.get("hint") or _documentation(loc))
    yield _problem(loc, reason, hint, sources)


def _place(problem: Problem) -> tuple[str, int]:
    source, _, line = problem.origin.rpartition(":")
    return (source, int(line)) if line.isdecimal() else (problem.origin, 0)


def _problem(loc: Path, reason: str, hint: str, sources: Sources) -> Problem:
    return Problem(sources.origin_of(loc), dotted(loc), reason, hint)


def _model_at(loc: Path) -> type[BaseModel]:
    model: type[BaseModel] = Settings
    for part in loc:
        if isinstance(part, str):
            model = _model_of(model.model_fields[part]) or model
    return model


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _documentation(loc: Path) -> str:
    model: type[BaseModel] = Settings
    text = "see the documentation"
    for part in loc:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is not None:
            text = field.description or text
            model = _model_of(field) or model
    return text
