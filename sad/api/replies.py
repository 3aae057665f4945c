"""Error replies: which name on the wire a refusal gets, and with which fields.

Counterparts: :mod:`sad.model.errors` (what is refused) and the ``error`` lines of the interface
files. What nobody foresaw becomes ``InternalError`` with a reference; the log gets the reference,
the type and the places, never a message or a value, for either could hold a key.
"""

import logging
import re
import secrets
import traceback
from dataclasses import fields, is_dataclass
from typing import Final

from sad.api.framing import InvalidParameterError, encode_error
from sad.api.interfaces import ASSOCIATIONS, SERVICE, load_interfaces
from sad.model.errors import Busy, SadError

_log: Final = logging.getLogger(__name__)

_LONGEST_ECHO: Final = 128
"""A wrong method or interface name is repeated this far, in characters."""


_KEY_LIKE: Final = re.compile(r"[0-9A-Fa-f]{24,}")


def without_keys(value: object) -> object:
    """Return a parameter of an error as it may be shown, records by their names on the wire.

    A caller that put a key where a name belongs gets it back masked: SIP servers log errors.
    """
    if isinstance(value, str):
        return _KEY_LIKE.sub("(hidden)", value)
    if isinstance(value, tuple):
        return [without_keys(member) for member in value]
    if is_dataclass(value):
        return {camel_case(f.name): without_keys(getattr(value, f.name)) for f in fields(value)}
    return value


def invalid_parameter(parameter: str) -> bytes:
    """Answer a call with a missing, unknown or ill-typed field."""
    return encode_error(f"{SERVICE}.InvalidParameter", {"parameter": without_keys(parameter)})


def expected_more() -> bytes:
    """Answer a call whose answers are many without ``more``."""
    return encode_error(f"{SERVICE}.ExpectedMore", {})


def interface_not_found(interface: str) -> bytes:
    """Answer a question about an interface that is not served."""
    return encode_error(
        f"{SERVICE}.InterfaceNotFound", {"interface": without_keys(interface[:_LONGEST_ECHO])}
    )


def unknown_method(method: str) -> bytes:
    """Answer a call of a method that is not served: its interface, or only itself, is unknown."""
    interface = method.rpartition(".")[0]
    if interface not in load_interfaces():
        return interface_not_found(interface)
    return encode_error(
        f"{SERVICE}.MethodNotFound", {"method": without_keys(method[:_LONGEST_ECHO])}
    )


def busy(refusal: Busy) -> bytes:
    """Answer a connection that is one too many, before it has asked anything."""
    return _refused(ASSOCIATIONS, refusal)


def refusal(method: str, error: Exception) -> bytes:
    """Answer a call of ``method`` that ended in ``error``, whatever that is."""
    interface = method.rpartition(".")[0]
    if isinstance(error, SadError):
        return _refused(interface, error)
    if isinstance(error, InvalidParameterError):
        return invalid_parameter(error.parameter)
    reference = secrets.token_hex(4)
    places = " > ".join(
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.StackSummary.extract(
            traceback.walk_tb(error.__traceback__), lookup_lines=False
        )
    )
    _log.error(
        "internal error %s in %s: %s at %s",
        reference,
        method,
        type(error).__qualname__,
        places,
        extra={"SAD_REFERENCE": reference},
    )
    return encode_error(f"{interface}.InternalError", {"reference": reference})


def _refused(interface: str, error: SadError) -> bytes:
    """``Associations`` has every error; another interface has those that are part of it."""
    name = type(error).__name__
    home = interface if name in load_interfaces()[interface].errors else ASSOCIATIONS
    return encode_error(
        f"{home}.{name}",
        {camel_case(f.name): without_keys(getattr(error, f.name)) for f in fields(error)},
    )


def camel_case(name: str) -> str:
    """Return ``retryAfterMilliseconds`` for ``retry_after_milliseconds``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
