"""Learning where a message's variables lie by watching what the schema encodes.

A request is encoded with every variable zero, then once for each variable with all its bits set;
the bytes that differ are that variable's place. So the positions have one source, the schema, and
a layout that does not fit is an error at compile time, never a wrong byte on the wire.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

R = TypeVar("R")


class LayoutError(Exception):
    """The schema's encoding and the declared fields do not agree: a defect of this package."""


class Variable(NamedTuple):
    """One varying field of the wire.

    ``paths`` are the attributes of the request that it holds (dotted; several if the field covers
    neighbours), ``code`` is its ``struct`` code, ``ones`` the attribute value with all bits set.
    """

    paths: tuple[str, ...]
    code: str
    ones: object


class Constant(NamedTuple):
    """Bytes that are the same in every message of a form. Undeclared ones must be zero."""


CONSTANT: Final = Constant()
SEQUENCE: Final = Variable(("sequence",), "I", 0xFFFF_FFFF)
PORT_ID: Final = Variable(("port_id",), "I", 0xFFFF_FFFF)

Field: TypeAlias = Variable | Constant
Encoder: TypeAlias = Callable[[R, int, int], bytes]
"""Returns a request as a message with this sequence number and port id."""


class Template(NamedTuple):
    """A message compiled to one ``struct.Struct``.

    ``pack_into(buffer, offset, *arguments)`` takes constants and variables in declared order.
    """

    pack_into: Callable[..., None]
    size: int
    constants: tuple[bytes, ...]


def _with_attribute(value: Any, path: str, new: object) -> Any:
    """Return a copy of a nested value of the model with one attribute changed."""
    name, _, rest = path.partition(".")
    if rest:
        new = _with_attribute(getattr(value, name), rest, new)
    if isinstance(value, tuple):  # a named one
        return value._replace(**{name: new})  # type: ignore[attr-defined]  # each has it
    return replace(value, **{name: new})


def _place(encode: Encoder[R], zero: R, variable: Variable, base: bytes) -> tuple[int, int]:
    """Return where a variable starts and ends."""
    if variable is SEQUENCE:
        image = encode(zero, 0xFFFF_FFFF, 0)
    elif variable is PORT_ID:
        image = encode(zero, 0, 0xFFFF_FFFF)
    else:
        probe = zero
        for path in variable.paths:
            probe = _with_attribute(probe, path, variable.ones)
        image = encode(probe, 0, 0)
    name, size = variable.paths[0], struct.calcsize("=" + variable.code)
    if len(image) != len(base):
        raise LayoutError(f"{name} changes the message's length")
    differing = [i for i, (a, b) in enumerate(zip(base, image, strict=True)) if a != b]
    start = differing[0] if differing else -1
    if differing != list(range(start, start + size)):
        raise LayoutError(f"{name} is not one field of {size} bytes: {differing}")
    if any(base[start : start + size]) or image[start : start + size] != b"\xff" * size:
        raise LayoutError(f"{name} is not all zero and all ones at {start}")
    return start, start + size


def learn(encode: Encoder[R], zero: R, fields: Sequence[Field]) -> Template:
    """Compile the template of one form of request.

    ``encode`` is the reference encoding and ``zero`` the request with every variable zero.
    ``fields`` are declared in wire order, with a CONSTANT wherever the bytes between two
    variables may be other than zero.
    """
    base = encode(zero, 0, 0)
    code = "="
    constants: list[bytes] = []
    end = 0
    constant_here = False

    def close_gap(start: int) -> str:
        gap = base[end:start]
        if start < end:
            raise LayoutError(f"the field at {start} is declared out of wire order")
        if constant_here:
            constants.append(gap)
            return f"{len(gap)}s"
        if any(gap):
            raise LayoutError(f"undeclared constant before {start}")
        return f"{len(gap)}x"

    for field in fields:
        if isinstance(field, Constant):
            constant_here = True
            continue
        start, next_end = _place(encode, zero, field, base)
        code += close_gap(start) + field.code
        end, constant_here = next_end, False
    layout = struct.Struct(code + close_gap(len(base)))
    return Template(layout.pack_into, layout.size, tuple(constants))
