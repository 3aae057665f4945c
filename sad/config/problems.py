"""What is wrong with a configuration: where, what, and the way out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic_core import PydanticCustomError

EX_CONFIG: Final = 78
"""Exit status of a configuration error (sysexits.h)."""

REFUSED: Final = "refused"
BROKEN_RULES: Final = "broken_rules"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. ``origin`` is ``file:line``, a variable or an option; ``key`` may be empty."""

    origin: str
    key: str
    reason: str
    hint: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.origin}: {key}{self.reason}; {self.hint}"


class ConfigurationError(Exception):
    """The settings cannot be used. ``problems`` is never empty; each is one line of the text."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def refused(reason: str, hint: str) -> PydanticCustomError:
    """Return the refusal of one value."""
    return PydanticCustomError(REFUSED, "{reason}; {hint}", {"reason": reason, "hint": hint})


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule between several settings. ``loc`` is the path below the model that reports it."""

    loc: tuple[str | int, ...]
    reason: str
    hint: str


def raise_broken(found: Iterable[BrokenRule]) -> None:
    """Raise one pydantic error that carries all of ``found``, if there are any.

    A model validator can report only one error, at the model's own place:
    :mod:`sad.config.load` unfolds this one.
    """
    rules = tuple(found)
    if rules:
        text = "; ".join(f"{dotted(rule.loc)}: {rule.reason} ({rule.hint})" for rule in rules)
        raise PydanticCustomError(BROKEN_RULES, "{text}", {"text": text, "rules": rules})


def dotted(loc: tuple[str | int, ...]) -> str:
    """Return a path as people write it: ``endpoint[0].client_ports``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")
