"""Messages as bytes: cut, decoded, encoded."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sad.api.framing import (
    MESSAGE_BYTES,
    InvalidParameterError,
    MalformedMessageError,
    MessageSplitter,
    decode_call,
    decode_parameters,
    encode_error,
    encode_reply,
)
from sad.api.messages import ConfirmIn, GetInfoIn, GetInterfaceDescriptionOut
from tests.support.effort import at_most


@given(messages=st.lists(st.binary(max_size=40).filter(lambda m: 0 not in m)), data=st.data())
def test_messages_do_not_depend_on_how_the_bytes_arrive(
    messages: list[bytes], data: st.DataObject
) -> None:
    """Whatever the pieces of a stream, its messages come out whole and in order."""
    stream = b"".join(m + b"\0" for m in messages) + b"rest"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    splitter = MessageSplitter()

    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found = [message for piece in pieces for message in splitter.feed(piece)]

    assert found == messages
    assert splitter.pending == len(b"rest")
    assert not splitter.overflowed


@pytest.mark.parametrize("piece", [1, 1000, 4 * MESSAGE_BYTES])
def test_a_message_of_the_limit_passes_and_one_more_byte_does_not(piece: int) -> None:
    """64 KiB a message, the NUL not counted."""
    for length, passes in ((MESSAGE_BYTES, True), (MESSAGE_BYTES + 1, False)):
        splitter = MessageSplitter()
        stream = b"before\0" + b"x" * length + b"\0after\0"

        found = [
            m for i in range(0, len(stream), piece) for m in splitter.feed(stream[i : i + piece])
        ]

        assert splitter.overflowed is not passes
        assert found == ([b"before", b"x" * length, b"after"] if passes else [b"before"])


def test_a_stream_without_end_is_not_kept() -> None:
    """Memory is bounded before the message ends, and after the limit nothing comes out."""
    splitter = MessageSplitter()
    for _ in range(20):
        splitter.feed(b"x" * 4096)

    assert splitter.overflowed
    assert splitter.pending == 0
    assert splitter.feed(b"\0{}\0") == []


def test_cutting_takes_linear_time() -> None:
    """32 MiB in pieces of 4 KiB: quadratic copying would take minutes."""
    splitter = MessageSplitter(limit=64 * 1024 * 1024)

    with at_most(yardsticks=100):
        for _ in range(8192):
            assert splitter.feed(b"x" * 4096) == []
        (message,) = splitter.feed(b"\0")

    assert len(message) == 8192 * 4096


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"method":"a.B"} {"method":"a.B"}',
        b'{"method":"a.B","parameters":{"x":[1,}}',
        b'{"method":"a.B","parameters":{"x":NaN}}',
        b'{"method":"\xff"}',
        b'{"method":"\\ud800"}',
        b'{"method":"a.B","parameters":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
        b'{"method":"a.B","parameters":' + b'{"a":' * 12_000,
    ],
)
def test_what_is_not_json_is_malformed(text: bytes) -> None:
    """However it is broken, and however deep: one error, nothing else escapes."""
    with pytest.raises(MalformedMessageError):
        decode_call(text)


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        (b"{}", "method"),
        (b'{"method":1}', "method"),
        (b'{"method":"a.B","more":1}', "more"),
        (b'{"method":"a.B","oneway":null}', "oneway"),
        (b'{"method":"a.B","oneWay":true}', "oneWay"),
        (b"[]", "parameters"),
        (b'{"method":"a.B","no name":1}', "parameters"),
    ],
)
def test_a_wrong_envelope_names_its_field(text: bytes, parameter: str) -> None:
    """The name of what is wrong, never what it was."""
    with pytest.raises(InvalidParameterError) as caught:
        decode_call(text)

    assert caught.value.parameter == parameter


def test_an_envelope_does_not_print_its_parameters() -> None:
    """Parameters may hold keys."""
    call = decode_call(b'{"method":"a.B","parameters":{"key":"c0ffee"}}')

    assert repr(call) == "Call('a.B')"
    assert "c0ffee" not in f"{call} {call!r}"


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        (b'{"id":"a"}', "expiresSeconds"),
        (b'{"id":"a","expiresSeconds":"600"}', "expiresSeconds"),
        (b'{"id":"a","expiresSeconds":600.0}', "expiresSeconds"),
        (b'{"id":"a","expiresSeconds":true}', "expiresSeconds"),
        (b'{"id":"a","expiresSeconds":null}', "expiresSeconds"),
        (b'{"id":"a","expiresSeconds":9223372036854775808}', "expiresSeconds"),
        (b'{"id":["a"],"expiresSeconds":1}', "id"),
        (b'{"id":"a\\u001b[2J","expiresSeconds":1}', "id"),
        (b'{"id":"a\\n","expiresSeconds":1}', "id"),
        (b'{"id":"' + b"a" * 129 + b'","expiresSeconds":1}', "id"),
        (b'{"id":"a","expiresSeconds":1,"expires":1}', "expires"),
        (b'{"id":"a","expiresSeconds":1,"x` - at `$.id":1}', "id.x"),
        (b'{"id":"a","expiresSeconds":1,"x` - at `$.' + b"a" * 129 + b'":1}', "parameters"),
        (b'{"id":"a","expiresSeconds":1,"' + b"a" * 65 + b'":1}', "parameters"),
        (b'{"id":"\xff","expiresSeconds":1}', "parameters"),
        (b'{"id":"\\ud800","expiresSeconds":1}', "parameters"),
        (b"[]", "parameters"),
        (b"7", "parameters"),
        (b"null", "id"),
    ],
)
def test_wrong_parameters_name_their_field(text: bytes, parameter: str) -> None:
    """Missing, unknown, ill-typed, out of the type's range: by name, without the value."""
    with pytest.raises(InvalidParameterError) as caught:
        decode_parameters(msgspec.json.Decoder(ConfirmIn), msgspec.Raw(text))

    assert caught.value.parameter == parameter
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", [b"{}", b"null"])
def test_no_parameters_can_be_said_in_two_ways(text: bytes) -> None:
    """An empty object, or null as some clients send."""
    decoded = decode_parameters(msgspec.json.Decoder(GetInfoIn), msgspec.Raw(text))

    assert decoded == GetInfoIn()


@given(st.text())
def test_replies_are_json_and_end_with_their_only_nul(text: str) -> None:
    """Whatever the text, the NUL is the end."""
    text = text.encode("utf-8", "replace").decode()
    output = GetInterfaceDescriptionOut(description=text)

    for data, expected in (
        (encode_reply(output), {"parameters": {"description": text}}),
        (
            encode_reply(output, continues=True),
            {"parameters": {"description": text}, "continues": True},
        ),
        (encode_error("a.B", {"x": text}), {"error": "a.B", "parameters": {"x": text}}),
    ):
        assert data.index(0) == len(data) - 1
        assert json.loads(data[:-1]) == expected
