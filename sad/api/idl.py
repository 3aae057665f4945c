"""Reads Varlink interface definitions into values. No I/O.

Enough of the language for this project's own files: types, enums, methods, errors, comments.
The counterpart is the text of the ``.varlink`` files beside this module, which
:mod:`sad.api.interfaces` loads.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Builtin:
    """``bool``, ``int``, ``float``, ``string`` or ``object``."""

    name: str


@dataclass(frozen=True, slots=True)
class Named:
    """A type that the interface defines."""

    name: str


@dataclass(frozen=True, slots=True)
class Nullable:
    """``?T``: may be null or left out."""

    of: "IdlType"


@dataclass(frozen=True, slots=True)
class Array:
    """``[]T``."""

    of: "IdlType"


@dataclass(frozen=True, slots=True)
class Dictionary:
    """``[string]T``."""

    of: "IdlType"


@dataclass(frozen=True, slots=True)
class Record:
    """Named fields in the order of the file."""

    fields: tuple[tuple[str, "IdlType"], ...]


@dataclass(frozen=True, slots=True)
class Enumeration:
    """One of these words."""

    values: tuple[str, ...]


IdlType: TypeAlias = Builtin | Named | Nullable | Array | Dictionary | Record | Enumeration


@dataclass(frozen=True, slots=True)
class Method:
    """A method's parameters and results."""

    parameters: Record
    results: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An interface: its text as served, and what the text says.

    ``comments`` maps each member's name (and the interface's own) to the comment above it.
    """

    name: str
    text: str
    types: Mapping[str, IdlType]
    methods: Mapping[str, Method]
    errors: Mapping[str, Record]
    comments: Mapping[str, str]


class InterfaceSyntaxError(Exception):
    """The text is no interface definition; ``line`` counts from 1."""

    def __init__(self, line: int, expected: str) -> None:
        self.line = line
        super().__init__(f"line {line}: expected {expected}")


_TOKEN: Final = re.compile(
    r"(?P<space>\s+)|(?P<comment>\#[^\n]*)|(?P<mark>->|\[string\]|\[\]|[():,?])"
    r"|(?P<word>[A-Za-z][A-Za-z0-9_.-]*)"
)
_BUILTIN: Final = frozenset({"bool", "int", "float", "string", "object"})


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int
    comment: str


def _tokens(text: str) -> list[_Token]:
    """Cut the text; each token carries the comment lines right above it."""
    tokens: list[_Token] = []
    comment: list[str] = []
    position, line = 0, 1
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise InterfaceSyntaxError(line, "a word or a mark of the language")
        if found.lastgroup == "comment":
            comment.append(found[0].removeprefix("#").strip())
        elif found.lastgroup == "space":
            if "\n\n" in found[0]:  # an empty line parts a comment from what follows
                comment.clear()
        else:
            tokens.append(_Token(found[0], line, "\n".join(comment)))
            comment.clear()
        line += found[0].count("\n")
        position = found.end()
    return tokens


class _Reader:
    """Recursive descent over the tokens of one file."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._last = _Token("", text.count("\n") + 1, "")
        self._next = 0

    def peek(self) -> _Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else self._last

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token.text or (expected is not None and token.text != expected):
            raise InterfaceSyntaxError(token.line, expected or "more")
        self._next += 1
        return token.text

    def word(self, what: str) -> str:
        token = self.peek()
        if not token.text[:1].isalpha():
            raise InterfaceSyntaxError(token.line, what)
        return self.take()

    def type(self) -> IdlType:
        """``?T``, ``[]T``, ``[string]T``, a word, a record or an enumeration."""
        match self.peek().text:
            case "?":
                self.take()
                return Nullable(self.type())
            case "[]":
                self.take()
                return Array(self.type())
            case "[string]":
                self.take()
                return Dictionary(self.type())
            case "(":
                return self.body()
        name = self.word("a type")
        return Builtin(name) if name in _BUILTIN else Named(name)

    def body(self) -> Record | Enumeration:
        """``(a: T, b: U)`` or ``(a, b)``; empty brackets are a record."""
        self.take("(")
        fields: list[tuple[str, IdlType]] = []
        words: list[str] = []
        while self.peek().text != ")":
            if fields or words:
                self.take(",")
            name = self.word("a field's name")
            if self.peek().text == ":":
                self.take()
                fields.append((name, self.type()))
            else:
                words.append(name)
            if fields and words:
                raise InterfaceSyntaxError(self.peek().line, "either fields or words")
        self.take(")")
        return Enumeration(tuple(words)) if words else Record(tuple(fields))

    def record(self) -> Record:
        line = self.peek().line
        body = self.body()
        if isinstance(body, Enumeration):
            raise InterfaceSyntaxError(line, "fields with types")
        return body


def parse_interface(text: str) -> Interface:
    """Read one file; raises :class:`InterfaceSyntaxError`."""
    reader = _Reader(text)
    types: dict[str, IdlType] = {}
    methods: dict[str, Method] = {}
    errors: dict[str, Record] = {}
    comments: dict[str, str] = {}
    comment = reader.peek().comment
    reader.take("interface")
    interface = reader.word("the interface's name")
    comments[interface] = comment
    while (token := reader.peek()).text:
        kind = reader.take()
        name = reader.word("a member's name")
        if name in types or name in methods or name in errors:
            # a method and an error of one name would be told apart by nobody
            raise InterfaceSyntaxError(token.line, f"one member only of the name {name}")
        comments[name] = token.comment
        match kind:
            case "type":
                types[name] = reader.body()
            case "method":
                parameters = reader.record()
                reader.take("->")
                methods[name] = Method(parameters, reader.record())
            case "error":
                errors[name] = reader.record()
            case _:
                raise InterfaceSyntaxError(token.line, "type, method or error")
    return Interface(
        name=interface, text=text, types=types, methods=methods, errors=errors, comments=comments
    )
