"""Security-Client, Security-Server and Security-Verify: from rows of text to mechanisms and back.

A syntax error spoils the header, since nothing after it can be trusted; what is only wrong in the
meaning of one mechanism is found by the views and the choice, and spoils that mechanism alone.
Empty list elements, a trailing comma or semicolon and an empty row are syntax errors: RFC 3329
uses no rule of RFC 3261 that allows them.
"""

from __future__ import annotations

from enum import Enum
from itertools import islice
from typing import Dict, Final, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from sip_hooks.secagree.errors import HeaderError
from sip_hooks.secagree.grammar import (
    RULE_SYNTAX,
    diagnose,
    elements_of,
    is_plain,
    unquote,
)
from sip_hooks.secagree.mechanism import Parameter, SecMechanism, parameter_fault

_Element = Tuple[str, List[Parameter]]

# Makes the named tuple without the checks of SecMechanism(): reading has made them
_unchecked: Final = tuple.__new__

# Parameters with a rule of their own in RFC 3329: q, d-alg, d-qop, d-ver.
_RULED_INITIALS: Final = frozenset("dDqQ")


class HeaderName(str, Enum):
    """The three header fields of RFC 3329; none has a compact form (R3329-2.6-b)."""

    CLIENT = "Security-Client"
    SERVER = "Security-Server"
    VERIFY = "Security-Verify"


class ParseLimits(NamedTuple):
    """How much one header may bring; more is refused before it costs anything.

    ``size`` is in bytes of UTF-8, all rows together; ``parameters`` is of one mechanism.
    """

    rows: int = 32
    mechanisms: int = 64
    parameters: int = 32
    size: int = 16 * 1024


DEFAULT_LIMITS: Final = ParseLimits()


def parse_header(
    rows: Union[str, Sequence[str]], limits: ParseLimits = DEFAULT_LIMITS
) -> Tuple[SecMechanism, ...]:
    """Return the mechanisms of one header in order; no rows give an empty tuple.

    ``rows`` are the values of all its rows, without the name, in the order of the message
    (R3261-7.3.1-b); a single value may be given as it is. Raises :class:`HeaderError`.
    """
    if isinstance(rows, str):
        rows = (rows,)
    _check_size(rows, limits)
    mechanisms: List[SecMechanism] = []
    for index, row in enumerate(rows):
        _parse_row(row, index, limits, mechanisms)
    return tuple(mechanisms)


def parse_header_line(
    line: str, limits: ParseLimits = DEFAULT_LIMITS
) -> Tuple[HeaderName, Tuple[SecMechanism, ...]]:
    """Return name and mechanisms of one whole row, e.g. ``Security-Client: tls``.

    Raises :class:`HeaderError`; its position counts from the start of the line.
    """
    written, colon, value = line.partition(":")
    name = _NAMES.get(written.rstrip(" \t").lower())
    if not colon or name is None:
        raise HeaderError(0, "the line does not begin with one of the three names", RULE_SYNTAX)
    try:
        return name, parse_header(value, limits)
    except HeaderError as error:
        at = len(written) + 1 + error.position
        raise HeaderError(at, error.reason, error.rule) from None


def render_header(mechanisms: Iterable[SecMechanism]) -> str:
    """Return the mechanisms as the value of one row.

    Within its limits ``parse_header`` of it gives equal mechanisms back.
    """
    return ", ".join(map(str, mechanisms))


def render_header_line(name: HeaderName, mechanisms: Iterable[SecMechanism]) -> str:
    """Return a whole row without its line end."""
    return f"{name.value}: {render_header(mechanisms)}"


_NAMES: Final = {name.value.lower(): name for name in HeaderName}


def _check_size(rows: Sequence[str], limits: ParseLimits) -> None:
    if len(rows) > limits.rows:
        raise HeaderError(0, f"more than {limits.rows} rows", None, row=limits.rows)
    size = 0
    for index, row in enumerate(rows):
        size += len(row)
        if size <= limits.size and not row.isascii():
            size += len(row.encode("utf-8", "surrogatepass")) - len(row)
        if size > limits.size:
            raise HeaderError(0, f"more than {limits.size} bytes", None, row=index)


def _parse_row(row: str, index: int, limits: ParseLimits, mechanisms: List[SecMechanism]) -> None:
    found = _read_plain(row)
    if found is None:
        found = [
            _unchecked(SecMechanism, (name, tuple(given))) for name, given in _read(row, index)
        ]
    _check_counts(found, row, index, limits, len(mechanisms))
    mechanisms.extend(found)


class _PlainFields(Dict[str, Parameter]):
    """The parameters that a row's fields say: a phone repeats most with each of its mechanisms.

    Raises :class:`_NotPlainError` for a field that is none, or that has a fault.
    """

    __slots__ = ()

    def __missing__(self, field: str) -> Parameter:
        word, equals, value = field.partition("=")
        if not word or (equals and not value) or "=" in value:
            raise _NotPlainError
        parameter = (word, value or None, False)
        if word[0] in _RULED_INITIALS and parameter_fault(parameter) is not None:
            raise _NotPlainError
        self[field] = parameter
        return parameter


class _NotPlainError(Exception):
    pass


def _read_plain(row: str) -> Optional[List[SecMechanism]]:
    """Return the mechanisms of a row of tokens, as almost all are, in half the time.

    None of any other row, and of one that :func:`_read` refuses.
    """
    plain = row.replace(", ", ",").replace("; ", ";")
    if not is_plain(plain):
        return None
    found: List[SecMechanism] = []
    parameter_of = _PlainFields().__getitem__
    try:
        for element in plain.split(","):
            name, *fields = element.split(";")
            if not name or "=" in name:
                return None
            found.append(_unchecked(SecMechanism, (name, tuple(map(parameter_of, fields)))))
    except _NotPlainError:
        return None
    return found


def _read(row: str, index: int) -> List[_Element]:
    """Return the mechanisms of a row and their parameters. Raises HeaderError."""
    pattern = elements_of(row)
    found: List[_Element] = []
    parameters: List[Parameter] = []
    for ordinal, (separator, word, value, unreadable) in enumerate(pattern.findall(f",{row}")):
        if separator == ";":
            first = value[:1]
            if first == '"':
                parameter: Parameter = (word, unquote(value), True)
            else:
                parameter = (word, value or None, False)
            if word[0] in _RULED_INITIALS or first == "[":  # all that the pattern cannot judge
                fault = parameter_fault(parameter)
                if fault is not None:
                    raise HeaderError(_element_start(row, ordinal), *fault, row=index)
            parameters.append(parameter)
        elif unreadable:
            position, reason = diagnose(row, len(row) - len(unreadable))
            raise HeaderError(position, reason, RULE_SYNTAX, row=index)
        else:
            if value:
                at = _element_start(row, ordinal)
                raise HeaderError(at, "a mechanism's name takes no value", RULE_SYNTAX, row=index)
            parameters = []
            found.append((word, parameters))
    return found


def _check_counts(
    found: List[SecMechanism],
    row: str,
    index: int,
    limits: ParseLimits,
    already: int,
) -> None:
    if already + len(found) > limits.mechanisms:
        reason = f"more than {limits.mechanisms} mechanisms"
        ordinal = sum(1 + len(given) for _, given in found[: limits.mechanisms - already])
        raise HeaderError(_element_start(row, ordinal), reason, None, row=index)
    ordinal = 0
    for _, given in found:
        if len(given) > limits.parameters:
            reason = f"more than {limits.parameters} parameters of one mechanism"
            at = _element_start(row, ordinal + 1 + limits.parameters)
            raise HeaderError(at, reason, None, row=index)
        ordinal += 1 + len(given)


def _element_start(row: str, ordinal: int) -> int:
    """Return where the name of the row's element number ``ordinal`` stands."""
    match = next(islice(elements_of(row).finditer(f",{row}"), ordinal, None))
    return match.start(2) - 1  # the comma put before the row
