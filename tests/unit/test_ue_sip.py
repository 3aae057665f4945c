"""The SIP parser of the test UE and S-CSCF: takes what RFC 3261 allows, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ue.headers import (
    SipError,
    parse_address,
    parse_digest,
    parse_hostport,
    parse_uri,
    parse_via,
    render_digest,
    same_host,
    split,
)
from tests.ue.sip import Request, Response, StreamFramer, parse

MINIMAL = (
    b"MESSAGE sip:bob@[2001:db8::9]:5065;transport=tcp SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5100;branch=z9hG4bKone, SIP/2.0/TCP host.example\r\n"
    b" ;branch=z9hG4bKtwo\r\n"
    b"v: SIP/2.0/UDP [2001:DB8::1];branch=z9hG4bKthree\r\n"
    b"Max-Forwards: 70\r\n"
    b'f: "A, B" <sip:alice@example.com;user=phone>;tag=1\r\n'
    b"t: sip:bob@example.com\r\n"
    b"i: abc@host\r\n"
    b"CSeq: 7 MESSAGE\r\n"
    b"Route: <sip:192.0.2.9:6000;lr>, <sip:core;lr>\r\n"
    b"Route: <sip:last;lr>\r\n"
    b"c: text/plain\r\n"
    b"l: 2\r\n"
    b"\r\n"
    b"hi"
)


def changed(old: bytes, new: bytes) -> bytes:
    assert old in MINIMAL
    return MINIMAL.replace(old, new, 1)


def test_rows_compact_forms_and_folding_are_read_as_one_list() -> None:
    """R3261-7.3.1-b, R3261-7.3.1-c: rows, commas, compact names and folded lines are equal."""
    message = parse(MINIMAL, stream=True)
    assert isinstance(message, Request)
    assert [via.host for via in message.vias] == ["192.0.2.1", "host.example", "2001:db8::1"]
    assert [route.uri.host for route in message.addresses("Route")] == [
        "192.0.2.9",
        "core",
        "last",
    ]
    assert (message.from_.display, message.from_.tag) == ('"A, B"', "1")
    assert (message.call_id, message.cseq.number, message.body) == ("abc@host", 7, b"hi")
    uri = parse_uri(message.uri)
    assert (uri.host, uri.port, uri.transport) == ("2001:db8::9", 5065, "TCP")


def test_encoding_parses_to_the_same_message() -> None:
    """What is built is accepted by the same strict parser, byte-exact the second time."""
    once = parse(MINIMAL, stream=True)
    twice = parse(once.encode(), stream=True)
    assert twice.encode() == once.encode()
    assert [str(via) for via in twice.vias] == [str(via) for via in once.vias]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\nMax-Forwards", b"\nMax-Forwards"),
        (b" SIP/2.0\r\nVia", b"  SIP/2.0\r\nVia"),
        (b" SIP/2.0\r\nVia", b" SIP/3.0\r\nVia"),
        (b"sip:bob@[2001:db8::9]", b"http://bob"),
        (b"z9hG4bKone", b"old-style"),
        (b"z9hG4bKone", b"z9hG4bK"),
        (b"CSeq: 7 MESSAGE", b"CSeq: 7 INVITE"),
        (b"CSeq: 7 MESSAGE", b"CSeq: 4294967296 MESSAGE"),
        (b";tag=1", b""),
        (b"i: abc@host\r\n", b""),
        (b"i: abc@host\r\n", b"i: a\r\ni: b\r\n"),
        (b"i: abc@host", b"i: abc host"),
        (b"c: text/plain\r\n", b""),
        (b"l: 2", b"l: 3"),
        (b"l: 2", b"l: 1"),
        (b"l: 2", b"l: two"),
        (b"l: 2\r\n", b"l: 2\r\nContent-Length: 2\r\n"),
        (b"Max-Forwards: 70", b"Max-Forwards: 256"),
        (b"Max-Forwards: 70", b"Max-Forwards"),
        (b"Max-Forwards: 70", b"Max Forwards: 70"),
        (b"<sip:192.0.2.9:6000;lr>", b"<sip:192.0.2.9:6000;lr"),
        (b"<sip:192.0.2.9:6000;lr>", b"<sip:192.0.2.9:0;lr>"),
        (b"<sip:192.0.2.9:6000;lr>", b"<sip:192.0.2.9:65536;lr>"),
        (b"<sip:192.0.2.9:6000;lr>,", b"<sip:192.0.2.9:6000;lr>,,"),
        (b"[2001:DB8::1]", b"[2001:DB8::1"),
        (b"[2001:DB8::1]", b"2001:DB8::1"),
        (b"c: text/plain", b"c: text\x00plain"),
        (b"c: text/plain", b"c: text\xffplain"),
        (b"Via: SIP/2.0/UDP 192.0.2.1:5100;", b"Via: SIP/2.0/UDP 192.0.2.1:5100;a=1;A=2;"),
    ],
)
def test_what_the_grammar_forbids_is_refused(old: bytes, new: bytes) -> None:
    """RFC 3261 7, 8.1.1, 18.3, 20, 25.1: no leniency anywhere."""
    with pytest.raises(SipError):
        parse(changed(old, new), stream=True)


@pytest.mark.parametrize("name", [b"v", b"f", b"t", b"i", b"CSeq"])
def test_mandatory_header_fields_are_mandatory(name: bytes) -> None:
    """RFC 3261 8.1.1: without Via, From, To, Call-ID or CSeq there is no message."""
    lines = [
        line
        for line in MINIMAL.split(b"\r\n")
        if not line.startswith(name + b":")
        and not (name == b"v" and line.startswith((b"Via", b" ")))
    ]
    with pytest.raises(SipError):
        parse(b"\r\n".join(lines), stream=False)


def test_content_length_is_mandatory_only_in_a_stream() -> None:
    """RFC 3261 18.3, 20.14."""
    bare = changed(b"l: 2\r\n", b"")
    assert parse(bare, stream=False).body == b"hi"
    with pytest.raises(SipError):
        parse(bare, stream=True)


@pytest.mark.parametrize(
    "line", [b"SIP/2.0 200 OK", b"SIP/2.0 494 Security Agreement Required", b"SIP/2.0 200 "]
)
def test_status_lines(line: bytes) -> None:
    """RFC 3261 7.2: a reason phrase may be empty, its space not."""
    start = MINIMAL.index(b"\r\n")
    message = parse(line + MINIMAL[start:], stream=True)
    assert isinstance(message, Response)
    assert message.start_line == line.decode()


@pytest.mark.parametrize("line", [b"SIP/2.0 200", b"SIP/2.0 20 OK", b"SIP/2.0 700 X", b"SIP/2.0"])
def test_bad_status_lines(line: bytes) -> None:
    """RFC 3261 7.2: three digits of a known class, then a space."""
    with pytest.raises(SipError):
        parse(line + MINIMAL[MINIMAL.index(b"\r\n") :], stream=True)


@given(st.lists(st.integers(1, 400), max_size=30))
def test_stream_is_cut_by_content_length_wherever_tcp_cuts_it(sizes: list[int]) -> None:
    """RFC 3261 18.3: segments do not matter, CRLF between messages is skipped (7.5)."""
    stream = b"\r\n\r\n" + MINIMAL + b"\r\n" + MINIMAL + MINIMAL
    framer = StreamFramer()
    found: list[bytes] = []
    for size in sizes:
        found += framer.feed(stream[:size])
        stream = stream[size:]
    assert [*found, *framer.feed(stream)] == [MINIMAL] * 3


def test_endless_header_is_refused() -> None:
    """A stream that never ends its header is given up at 64 KiB."""
    with pytest.raises(SipError):
        StreamFramer().feed(b"MESSAGE sip:a SIP/2.0\r\nX: " + b"a" * 70000)


def test_rows_are_replaced_where_they_stood() -> None:
    """The misbehaviour hooks change one header field and leave the order alone."""
    message = parse(MINIMAL, stream=True).with_rows("Route", "<sip:new;lr>")
    names = [name for name, _ in message.headers]
    assert names.index("Route") == names.index("CSeq") + 1
    assert message.rows("route") == ["<sip:new;lr>"]
    assert message.without("Route").rows("Route") == []


def test_separators_inside_quotes_and_brackets_do_not_split() -> None:
    """RFC 3261 25.1: quoted strings and angle brackets hide commas and semicolons."""
    text = '"a,\\"b" <sip:x@y;p=1,2>;q=1, <sip:z>'
    assert split(text, ",") == ['"a,\\"b" <sip:x@y;p=1,2>;q=1', "<sip:z>"]
    for bad in ('"a', "<a", "a>", "a,,b", ",a"):
        with pytest.raises(SipError):
            split(bad, ",")


def test_hosts_compare_by_value() -> None:
    """Addresses are equal by value, names without case."""
    assert same_host("[2001:DB8:0::1]", "2001:db8::1")
    assert same_host("Example.COM", "example.com")
    assert not same_host("192.0.2.1", "192.0.2.2")
    assert parse_hostport("[2001:DB8:0::1]:5060") == ("2001:db8::1", 5060)


@pytest.mark.parametrize(
    "text", ["<sip:a@b", "sip:a@b>", "a <b> c", "<tel:1>", "sip:a@b?x=1", 'x"y <sip:a>', "<sip:>"]
)
def test_bad_addresses(text: str) -> None:
    """RFC 3261 20.10, 25.1."""
    with pytest.raises(SipError):
        parse_address(text)


def test_via_keeps_its_parameters() -> None:
    """Received and rport are added without touching the rest."""
    via = parse_via("SIP/2.0/UDP [::1]:5060;branch=z9hG4bKa;rport")
    assert str(via.with_param("rport", "7")) == "SIP/2.0/UDP [::1]:5060;branch=z9hG4bKa;rport=7"


def test_digest_quotes_what_the_grammar_quotes() -> None:
    """RFC 3261 25.1: qop is quoted in a challenge and bare in credentials; names once only."""
    params = {"realm": "x", "algorithm": "AKAv1-MD5", "qop": "auth", "nc": "00000001"}
    assert 'qop="auth"' in render_digest(params, challenge=True)
    assert "qop=auth" in render_digest(params)
    assert parse_digest(render_digest(params)) == params
    for bad in (
        "Basic x=y",
        "Digest",
        "Digest a=b, a=c",
        'Digest a="b',
        "Digest a",
        "Digest a=b c",
    ):
        with pytest.raises(SipError):
            parse_digest(bad)
