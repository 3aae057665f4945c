"""The line finder against documents in which every number is the number of its own line."""

import random
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sad.config.locate import Path, key_lines, nearest_line


class Writer:
    """Writes random TOML; each number it writes is its own line number."""

    def __init__(self, seed: int) -> None:
        self.text = ""
        self.random = random.Random(seed)
        self._names = 0
        self._arrays: list[str] = []

    def choose(self, *options: str) -> str:
        return self.random.choice(options)

    def fresh_key(self) -> str:
        self._names += 1
        number = self._names
        return self.choose(
            f"key-{number}", f'"a.b # [{number}] \\" é"', f"'l = {number}'", f'"\\u00e9{number}"'
        )

    def dotted(self) -> str:
        parts = [self.fresh_key() for _ in range(self.random.randint(1, 3))]
        return self.choose(".", " . ", ".\t").join(parts)

    def header(self) -> None:
        if self._arrays and self.choose("again", "new") == "again":
            array = self.random.choice(self._arrays)
            form = self.choose("[[{}]]", "[[ {} ]]", "[{}.{}]", "[[{}.{}]]")
            self.text += form.format(array, self.fresh_key())
        elif self.choose("table", "array") == "array":
            self._arrays.append(self.dotted())
            self.text += f"[[{self._arrays[-1]}]]"
        else:
            self.text += f"[{self.dotted()}]"
        self.end_line()

    def end_line(self) -> None:
        self.text += self.choose("\n", " # x = [ { \" '\n", "\r\n", "\n\n# [no.table]\n")

    def pair(self) -> None:
        self.text += f"{self.dotted()}{self.choose(' = ', '=')}"
        self.value(2)
        self.end_line()

    def value(self, depth: int, *, inline: bool = False) -> None:
        kinds = ["number", "string"] + (["array", "table"] if depth else [])
        kind = self.choose(*kinds)
        if kind == "number":
            self.text += str(self.text.count("\n") + 1)
        elif kind == "string":
            strings = ['"# \\" ] }"', "'\\ ] } ,'", "1979-05-27 07:32:00"]
            if not inline:
                strings += ['"""x"""""', '"""\n] "" \\"""\nx""""', "'''\n[a]\n''''"]
            self.text += self.choose(*strings)
        elif kind == "array":
            self.text += "["
            for _ in range(self.random.randint(0, 3)):
                self.text += self.choose("", " ") if inline else self.choose("", "\n  ", " # ]\n")
                self.value(depth - 1, inline=inline)
                self.text += ","
            self.text += "]"
        else:
            self.text += "{ "
            count = self.random.randint(0, 3)
            for index in range(count):
                self.text += f"{self.dotted()} = "
                self.value(depth - 1, inline=True)
                self.text += ", " if index < count - 1 else " "
            self.text += "}"


def numbers(value: Any, path: Path = ()) -> Iterator[tuple[Path, int]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from numbers(inner, (*path, index))
    elif isinstance(value, int):
        yield path, value


@settings(max_examples=300)
@given(seed=st.integers(min_value=0))
def test_every_value_is_found_on_its_line(seed: int) -> None:
    """Whatever the form (dotted, quoted, inline, array of tables), the line is the value's own."""
    writer = Writer(seed)
    for _ in range(8):
        if writer.choose("header", "pair", "pair") == "header":
            writer.header()
        else:
            writer.pair()

    lines = key_lines(writer.text)

    for path, line in numbers(tomllib.loads(writer.text)):
        assert lines[path] == line


def test_tables_and_their_elements_have_the_line_of_their_header() -> None:
    """An ``[[endpoint]]`` is found at its header, so that a missing key can be blamed on it."""
    lines = key_lines("a = 1\n\n[[endpoint]]\nx = 4\n[[endpoint]]\n[endpoint.sub]\ny.z = 7\n")

    assert lines[("endpoint",)] == 3
    assert lines[("endpoint", 0)] == 3
    assert lines[("endpoint", 1)] == 5
    assert lines[("endpoint", 1, "sub")] == 6
    assert lines[("endpoint", 1, "sub", "y", "z")] == 7


@pytest.mark.parametrize(
    ("path", "line"),
    [(("t", "a"), 2), (("t", "missing"), 1), (("t", "a", 3, "x"), 2), (("other",), None)],
)
def test_what_is_not_in_the_text_is_blamed_on_its_innermost_parent(
    path: Path, line: int | None
) -> None:
    """A missing key has no line: that of its table is the place to add it."""
    assert nearest_line(key_lines("[t]\na = 2\n"), path) == line
