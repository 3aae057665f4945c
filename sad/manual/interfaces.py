"""Pieces of the Varlink interfaces as Markdown: methods, types and errors with their comments.

The ``.varlink`` files are the source, as :mod:`sad.api.idl` reads them. Pure but for reading.
"""

from collections.abc import Iterator, Mapping

from sad.api.idl import (
    Array,
    Builtin,
    Dictionary,
    Enumeration,
    IdlType,
    Interface,
    Named,
    Nullable,
    Record,
)
from sad.api.interfaces import load_interfaces
from sad.manual.markdown import plain


def interface(name: str) -> str:
    """Return a whole interface."""
    return "\n\n".join(_pieces(load_interfaces()[name]))


def _pieces(of: Interface) -> Iterator[str]:
    yield plain(of.comments[of.name])
    for name, method in of.methods.items():
        yield f"### {name}"
        yield plain(of.comments[name])
        yield _fence(_members("in", method.parameters) + _members("out", method.results))
    if of.types:
        yield f"### Types of {of.name}"
        yield from _members_of(of.types, of.comments)
    yield f"### Errors of {of.name}"
    yield from _members_of(of.errors, of.comments)


def _members_of(members: Mapping[str, IdlType], comments: Mapping[str, str]) -> Iterator[str]:
    for name, body in members.items():
        comment = plain(comments[name])
        yield f"**{name}**" + (f": {comment}" if comment else "")
        match body:
            case Record(fields) if fields:
                yield _fence([f"{field}: {spelled(of)}" for field, of in fields])
            case Enumeration(values):
                yield _fence([", ".join(values)])


def _members(direction: str, record: Record) -> list[str]:
    lines = [f"{name}: {spelled(of)}" for name, of in record.fields] or ["nothing"]
    return [f"{direction:<4} {lines[0]}", *(f"     {line}" for line in lines[1:])]


def _fence(lines: list[str]) -> str:
    return "\n".join(["```", *lines, "```"])


def spelled(of: IdlType) -> str:
    """Return a type as the interface files write it."""
    match of:
        case Builtin(name) | Named(name):
            return name
        case Nullable(inner):
            return f"?{spelled(inner)}"
        case Array(inner):
            return f"[]{spelled(inner)}"
        case Dictionary(inner):
            return f"[string]{spelled(inner)}"
        case Record(fields):
            return "(" + ", ".join(f"{name}: {spelled(inner)}" for name, inner in fields) + ")"
        case Enumeration(values):
            return "(" + ", ".join(values) + ")"
