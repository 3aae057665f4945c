"""The interface files against the code: Structs, errors and methods, field by field."""

import enum
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import msgspec
import pytest

from sad.api import messages
from sad.api.authorization import AccessPolicy
from sad.api.framing import Call
from sad.api.idl import (
    Array,
    Builtin,
    Enumeration,
    IdlType,
    Interface,
    Named,
    Nullable,
    Record,
)
from sad.api.interfaces import (
    ASSOCIATIONS,
    CONTROL,
    SERVICE,
    get_info,
    get_interface_description,
    load_interfaces,
)
from sad.api.methods import Methods
from sad.api.replies import camel_case
from sad.api.wire import Message
from sad.model import errors
from sad.model.requests import Caller
from tests.support.memory_backend import MemoryBackend

INTERFACES = load_interfaces()
BUILTINS = {str: "string", int: "int", bool: "bool", float: "float"}
ERRORS = {e.__name__: e for e in errors.SadError.__subclasses__()}
METHODS = [(i, name) for i in INTERFACES.values() for name in i.methods]
TYPES = [(i, name) for i in INTERFACES.values() for name in i.types]


def shape_of(annotation: Any) -> IdlType:
    """A Python annotation as the IDL would write it, all names resolved."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return shape_of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        (inner,) = (a for a in arguments if a is not types.NoneType)
        return Nullable(shape_of(inner))
    if origin is tuple:
        assert arguments[1] is ...
        return Array(shape_of(arguments[0]))
    if origin is Literal:
        return Enumeration(arguments)
    if annotation in BUILTINS:
        return Builtin(BUILTINS[annotation])
    if issubclass(annotation, enum.StrEnum):
        return Enumeration(tuple(annotation))
    if is_dataclass(annotation):  # a value inside an error
        hints = typing.get_type_hints(annotation)
        return Record(
            tuple((camel_case(f.name), shape_of(hints[f.name])) for f in fields(annotation))
        )
    return shape_of_struct(annotation)


def shape_of_struct(struct: type[msgspec.Struct]) -> Record:
    hints = typing.get_type_hints(struct, include_extras=True)
    return Record(
        tuple((f.encode_name, shape_of(hints[f.name])) for f in msgspec.structs.fields(struct))
    )


def resolved(of: IdlType, interface: Interface) -> IdlType:
    """A type of the file with its named types filled in."""
    match of:
        case Named(name):
            return resolved(interface.types[name], interface)
        case Nullable(inner):
            return Nullable(resolved(inner, interface))
        case Array(inner):
            return Array(resolved(inner, interface))
        case Record(members):
            return Record(tuple((n, resolved(t, interface)) for n, t in members))
    return of


@pytest.mark.parametrize(("interface", "name"), METHODS, ids=lambda v: getattr(v, "name", v))
def test_a_method_takes_and_gives_what_its_interface_says(interface: Interface, name: str) -> None:
    """Names, order, types and nullability of every field, down to the last one."""
    method = interface.methods[name]

    assert shape_of_struct(getattr(messages, f"{name}In")) == resolved(
        method.parameters, interface
    )
    assert shape_of_struct(getattr(messages, f"{name}Out")) == resolved(method.results, interface)


@pytest.mark.parametrize(("interface", "name"), TYPES, ids=lambda v: getattr(v, "name", v))
def test_a_named_type_has_its_struct_or_enumeration(interface: Interface, name: str) -> None:
    """Under the same name in ``sad.api.messages``."""
    assert shape_of(getattr(messages, name)) == resolved(Named(name), interface)


def test_nullable_parameters_may_be_left_out_and_others_may_not() -> None:
    """``?T`` has the default None; nothing else has a default."""
    inputs = [getattr(messages, f"{name}In") for _, name in METHODS]
    for struct in (*inputs, messages.Registration, messages.Flow, messages.Ipsec3gppRequest):
        for (name, of), field in zip(
            shape_of_struct(struct).fields, msgspec.structs.fields(struct), strict=True
        ):
            assert field.required is not isinstance(of, Nullable), f"{struct}.{name}"


def test_no_message_is_left_over() -> None:
    """Every Struct of the module is a method's or a named type's."""
    named = {n for _, n in TYPES} | {f"{n}{end}" for _, n in METHODS for end in ("In", "Out")}
    structs = {
        name
        for name, value in vars(messages).items()
        if isinstance(value, type) and issubclass(value, Message)
    }

    assert structs - {"Message"} <= named


def test_every_refusal_is_an_error_of_the_interface() -> None:
    """``sad.model.errors`` and the file name the same errors; InternalError is the API's own."""
    assert set(INTERFACES[ASSOCIATIONS].errors) == {*ERRORS, "InternalError"}
    assert set(INTERFACES[CONTROL].errors) == {"NotPermitted", "Busy", "InternalError"}


@pytest.mark.parametrize("interface", [ASSOCIATIONS, CONTROL])
def test_errors_have_the_fields_of_the_interface(interface: str) -> None:
    """Field by field, in order, in camelCase, with types and nullability."""
    file = INTERFACES[interface]
    for name, record in file.errors.items():
        if name == "InternalError":
            assert record == Record((("reference", Builtin("string")),))
            continue
        error = ERRORS[name]
        hints = typing.get_type_hints(error)
        shape = Record(tuple((camel_case(f.name), shape_of(hints[f.name])) for f in fields(error)))
        assert shape == resolved(record, file), name


def test_every_member_of_our_interfaces_is_explained() -> None:
    """A reader of ``introspect`` needs no other page: methods and errors have comments."""
    for interface in INTERFACES.values():
        assert interface.comments[interface.name]
        for name in (*interface.methods, *interface.errors):
            assert interface.comments[name], f"{interface.name}.{name}"


async def test_every_method_of_the_files_is_served_and_no_other() -> None:
    """The dispatch table is the files' list of methods."""
    served = Methods(MemoryBackend(), AccessPolicy()).names

    assert served == {f"{interface.name}.{name}" for interface, name in METHODS}


def test_the_service_describes_itself() -> None:
    """GetInfo lists what GetInterfaceDescription can describe, by the very files."""
    info = get_info()

    assert info.interfaces == (ASSOCIATIONS, CONTROL, SERVICE)
    for name in info.interfaces:
        description = get_interface_description(name)
        assert description is not None
        assert description.description == INTERFACES[name].text
    assert get_interface_description("org.example.Other") is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("InterfaceNotFound", Record((("interface", Builtin("string")),))),
        ("MethodNotFound", Record((("method", Builtin("string")),))),
        ("InvalidParameter", Record((("parameter", Builtin("string")),))),
        ("ExpectedMore", Record(())),
    ],
)
def test_the_service_errors_are_those_of_varlink(error: str, expected: Record) -> None:
    """Foreign clients know these by heart."""
    assert INTERFACES[SERVICE].errors[error] == expected


async def test_each_method_of_the_files_can_be_begun() -> None:
    """Each answers a call with nonsense by naming it, which an unserved one could not."""
    methods = Methods(MemoryBackend(), AccessPolicy(control_uids=frozenset({7})))
    caller = Caller(uid=7, gid=7, pid=1)
    for interface, name in METHODS:
        call = Call(method=f"{interface.name}.{name}", parameters=msgspec.Raw(b'{"nonsense":1}'))
        reply = methods.begin(caller, call)
        assert isinstance(reply, bytes)
        assert msgspec.json.decode(reply[:-1])["error"] == f"{SERVICE}.InvalidParameter"
