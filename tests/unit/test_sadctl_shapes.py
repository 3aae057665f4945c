"""What sadctl believes of the interface, against the interface files."""

import string
from types import NoneType
from typing import Any, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from sad.api.idl import Array, Builtin, Enumeration, IdlType, Named, Nullable, Record
from sad.api.interfaces import ASSOCIATIONS, CONTROL, SERVICE, load_interfaces
from sad.ctl import arguments, cluster_shapes, failures, shapes

_SHAPES = {
    name: value
    for module in (shapes, cluster_shapes)
    for name, value in vars(module).items()
    if is_typeddict(value) and value.__module__ == module.__name__
}
_BUILTINS: dict[str, type] = {"string": str, "int": int, "bool": bool, "float": float}


def records() -> dict[str, tuple[str, Record]]:
    """Every type and result of both interfaces, by the name that its shape would have."""
    found: dict[str, tuple[str, Record]] = {}
    for interface in (ASSOCIATIONS, CONTROL):
        for name, idl in load_interfaces()[interface].types.items():
            if isinstance(idl, Record):
                found[name] = (interface, idl)
        for name, method in load_interfaces()[interface].methods.items():
            found[f"{name}Out"] = (interface, method.results)
    return found


def expected(idl: IdlType, interface: str) -> Any:
    """The annotation that a field of this type has."""
    match idl:
        case Nullable(of):
            return expected(of, interface) | None
        case Array(of):
            return list[expected(of, interface)]  # type: ignore[misc]  # made at run time
        case Builtin(name):
            return _BUILTINS[name]
        case Named(name):
            named = load_interfaces()[interface].types[name]
            return str if isinstance(named, Enumeration) else _SHAPES[name]
        case Enumeration():
            return str
    raise AssertionError(idl)


@pytest.mark.parametrize("name", sorted(_SHAPES))
def test_a_shape_is_what_the_interface_file_says(name: str) -> None:
    """Same fields, same types; nullable ones may be missing and are read by ``get``."""
    interface, record = records()[name]
    found = get_type_hints(_SHAPES[name], include_extras=True)
    wanted = {}
    for field, idl in record.fields:
        annotation = expected(idl, interface)
        wanted[field] = NotRequired[annotation] if isinstance(idl, Nullable) else annotation

    assert {f: _comparable(a) for f, a in found.items()} == {
        f: _comparable(a) for f, a in wanted.items()
    }


def _comparable(annotation: Any) -> Any:
    """Annotations by meaning: a union's members have no order."""
    if get_origin(annotation) is NotRequired:
        return ("may be missing", _comparable(get_args(annotation)[0]))
    members = get_args(annotation)
    return frozenset(members) if NoneType in members else annotation


def test_the_states_of_the_command_line_are_those_of_the_interface() -> None:
    """None is missing and none is invented."""
    state = load_interfaces()[ASSOCIATIONS].types["State"]

    assert isinstance(state, Enumeration)
    assert state.values == arguments.STATES


@pytest.mark.parametrize("interface", [ASSOCIATIONS, CONTROL, SERVICE])
def test_every_error_of_the_interface_has_a_sentence(interface: str) -> None:
    """And the sentence uses no parameter that the error does not have."""
    table = failures._OF_VARLINK if interface == SERVICE else failures._OF_SAD
    for name, record in load_interfaces()[interface].errors.items():
        sentence = table[name]
        texts = sentence.message + sentence.way_out
        used = {field for _, field, _, _ in string.Formatter().parse(texts) if field}

        assert used <= {field for field, _ in record.fields}, name


def test_no_sentence_is_for_an_error_that_does_not_exist() -> None:
    """What the interface lost, sadctl loses."""
    interfaces = load_interfaces()
    of_sad = {*interfaces[ASSOCIATIONS].errors, *interfaces[CONTROL].errors}

    assert set(failures._OF_SAD) == of_sad
    assert set(failures._OF_VARLINK) == set(interfaces[SERVICE].errors)


def test_an_error_of_a_later_version_says_what_it_says() -> None:
    """Name, values and hint; nothing is swallowed."""
    failure = failures.of_call_error("org.sipsad.Associations.Odd", {"why": 3, "hint": "wait"})

    assert failure.text() == "sadctl: Odd: why 3\nhint: wait\n"
    assert failures.of_call_error("x.Odd", {}).text() == "sadctl: Odd\n"


def test_a_message_from_the_daemon_stays_on_its_line() -> None:
    """Errors quote values that came from the network."""
    failure = failures.of_call_error(
        "org.sipsad.Associations.NoSuchEndpoint", {"endpoint": "a\x1b[2J\nb", "hint": "c\rd"}
    )

    assert failure.text() == 'sadctl: there is no endpoint "a\\x1b[2J\\nb"\nhint: c\\rd\n'
