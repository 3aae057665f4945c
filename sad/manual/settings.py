"""Pieces of the settings as Markdown: each key with its meaning, type, range and default.

The models are the source, by way of the schema that pydantic makes of them. Pure.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from sad.config import EndpointSettings, Settings
from sad.manual.markdown import code, plain, table

#: Numbers that nobody reads in decimal.
_NOTATIONS: Final = {"socket_mode": "0o{:o}", "ownership_tag": "0x{:08X}"}
_TYPES: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}


def top_level() -> str:
    """Return the keys that stand in no table."""
    return _table_of(Settings)


def tables() -> str:
    """Return each table with its keys; ``[[endpoint]]`` has a section of its own."""
    pieces = []
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            pieces += [f"### [{name}]", plain(f"{field.description}."), _table_of(kind)]
    return "\n\n".join(pieces)


def endpoint() -> str:
    """Return the keys of an endpoint, then its tables with theirs."""
    return "\n\n".join([_table_of(EndpointSettings), *_tables_in("endpoint", EndpointSettings)])


def table_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field that is a table, or a list of them; else None."""
    kinds = (annotation, *get_args(annotation))
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _tables_in(path: str, model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = table_in(field.annotation)
        if kind is not None:
            key = f"{path}.{name}"
            repeated = get_origin(field.annotation) is tuple
            yield f"### [[{key}]]" if repeated else f"### [{key}]"
            yield plain(f"{field.description}.")
            yield _table_of(kind)
            yield from _tables_in(key, kind)


def _table_of(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    rows = [
        [code(key), plain(_meaning(key, found, schema, is_required=key in required))]
        for key, found in schema["properties"].items()
        if not _is_table(found)
    ]
    return table(["key", "meaning"], rows)


def _is_table(found: Mapping[str, Any]) -> bool:
    shapes = (found, found.get("items", {}), *found.get("anyOf", ()))
    return any(str(shape.get("$ref", "")).endswith("Settings") for shape in shapes)


def _meaning(
    key: str, found: Mapping[str, Any], schema: Mapping[str, Any], *, is_required: bool
) -> str:
    parts = [f"{found['description']}.", f"{_capital(_type(found, schema))}."]
    if is_required:
        parts.append("Must be given.")
    elif found.get("default") is not None:
        parts.append(f"Default: {_value(key, found['default'])}.")
    return " ".join(parts)


def _type(found: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    return ", ".join(_type_words(found, schema))


def _type_words(found: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    if reference := found.get("$ref"):
        found = schema["$defs"][reference.rpartition("/")[2]]
    if words := found.get("enum"):
        yield "one of " + ", ".join(f'"{word}"' for word in words)
    elif alternatives := found.get("anyOf"):
        words = [_type(each, schema) for each in alternatives if each.get("type") != "null"]
        yield " or ".join(words)
    elif found["type"] == "array":
        items = found.get("items")
        yield "two numbers" if items is None else f"list: {_type(items, schema)}"
    else:
        yield _TYPES[found["type"]]
    if "minimum" in found and "maximum" in found:
        yield f"{found['minimum']} to {found['maximum']}"
    if factor := found.get("multipleOf"):
        yield f"a multiple of {factor}"


def _value(key: str, value: Any) -> str:
    notation = _NOTATIONS.get(key)
    return notation.format(value) if notation else json.dumps(value)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
