"""Varlink messages as bytes: split, decode the envelope, encode replies. No I/O.

A message is one JSON object and a NUL byte. A call is decoded in two stages: here its envelope,
with the parameters left raw; then, once the method is known, the parameters (counterpart:
:mod:`sad.api.methods`). :mod:`sad.api.connection` moves the bytes.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

MESSAGE_BYTES: Final = 64 * 1024
"""Longest message a client may send, the NUL not counted."""

NOTHING: Final = msgspec.Raw(b"{}")


class Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The envelope of a call. ``parameters`` may hold keys, so it does not print."""

    method: str
    parameters: msgspec.Raw = NOTHING
    oneway: bool = False
    more: bool = False
    upgrade: bool = False

    def __repr__(self) -> str:
        return f"Call({self.method!r})"


class MalformedMessageError(Exception):
    """The message is no JSON object: nothing after it can be trusted either."""


class InvalidParameterError(Exception):
    """A field is missing, unknown or ill-typed; ``parameter`` is its dotted name.

    It never holds the value.
    """

    def __init__(self, parameter: str) -> None:
        self.parameter = parameter
        super().__init__(parameter)


class MessageSplitter:
    """Cuts a byte stream into messages in linear time and bounded memory.

    After ``overflowed`` turned true the stream has no next message and the rest is not kept.
    """

    __slots__ = ("_limit", "_partial", "overflowed")

    def __init__(self, limit: int = MESSAGE_BYTES) -> None:
        self._limit = limit
        self._partial = bytearray()
        self.overflowed = False

    @property
    def pending(self) -> int:
        """Bytes of a message that has not ended."""
        return len(self._partial)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that end in ``data``, without their NUL."""
        if self.overflowed:
            return []
        messages = data.split(b"\0")
        rest = messages.pop()
        if messages and self._partial:
            self._partial += messages[0]
            messages[0] = bytes(self._partial)
            self._partial = bytearray()
        self._partial += rest
        for index, message in enumerate(messages):
            if len(message) > self._limit:
                self._overflow()
                return messages[:index]
        if len(self._partial) > self._limit:
            self._overflow()
        return messages

    def _overflow(self) -> None:
        self.overflowed = True
        self._partial = bytearray()


_CALL: Final = msgspec.json.Decoder(Call)
_ENCODER: Final = msgspec.json.Encoder()

# msgspec says where in a suffix. A sender can forge one with a field's name, to no gain: what is
# repeated are short words of letters, digits, dots and brackets.
_PATH: Final = re.compile(r" - at `\$\.?([A-Za-z0-9_.\[\]]*)`\Z")
_FIELD: Final = re.compile(
    r"\AObject (?:missing required|contains unknown) field `(.*)`\Z", re.DOTALL
)
_NAME: Final = re.compile(r"\A[A-Za-z](?:_?[A-Za-z0-9])*\Z")
_LONGEST_NAME: Final = 64
_LONGEST_PATH: Final = 128


def parameter_of(error: msgspec.ValidationError) -> str:
    """Return the dotted name of the field an error is about, ``parameters`` for the whole.

    An unknown field's name is the sender's own text: it is repeated only if it is a name.
    """
    text = str(error)
    path = ""
    if found := _PATH.search(text):
        path = found[1]
        text = text[: found.start()]
    if (field := _FIELD.match(text)) and len(field[1]) <= _LONGEST_NAME and _NAME.match(field[1]):
        path = f"{path}.{field[1]}" if path else field[1]
    return path if 0 < len(path) <= _LONGEST_PATH else "parameters"


def decode_call(message: bytes) -> Call:
    """Decode the envelope of a call.

    Raises :class:`MalformedMessageError` if it is not JSON, :class:`InvalidParameterError` if it
    is JSON of another shape.
    """
    try:
        return _CALL.decode(message)
    except msgspec.ValidationError as error:
        raise InvalidParameterError(parameter_of(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedMessageError from None


def decode_parameters(decoder: msgspec.json.Decoder[Any], parameters: msgspec.Raw) -> Any:
    """Decode a call's parameters; raises :class:`InvalidParameterError`.

    The message around them was sound, so even bad UTF-8 in them is no reason to hang up.
    """
    try:
        return decoder.decode(parameters)
    except msgspec.ValidationError as error:
        name = parameter_of(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        name = "parameters"
    if bytes(parameters) == b"null":  # some clients say "no parameters" so
        return decode_parameters(decoder, NOTHING)
    raise InvalidParameterError(name)


def encode_reply(output: msgspec.Struct, *, continues: bool = False) -> bytes:
    """Return a reply message with its NUL."""
    tail = b',"continues":true}\0' if continues else b"}\0"
    return b'{"parameters":' + _ENCODER.encode(output) + tail


def encode_error(name: str, parameters: Mapping[str, object]) -> bytes:
    """Return an error reply with its NUL; ``name`` is the error's full name."""
    return _ENCODER.encode({"error": name, "parameters": parameters}) + b"\0"
