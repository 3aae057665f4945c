"""The reg event (RFC 3680): which registrations the network has ended (T24-D-3)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_hooks.ims import ImsError, ended_aors
from tests.support.effort import at_most

TYPE = "application/reginfo+xml"
NAMESPACE = 'xmlns="urn:ietf:params:xml:ns:reginfo"'


def registration(aor: str, state: str, *contacts: str) -> str:
    inner = "".join(
        f'<contact id="{n}" state="{contact}" event="x"><uri>sip:a@b</uri></contact>'
        for n, contact in enumerate(contacts)
    )
    return f'<registration aor="{aor}" id="r" state="{state}">{inner}</registration>'


def document(*registrations: str, state: str = "full", head: str = "") -> bytes:
    inner = "\n".join(registrations)
    return f'{head}<reginfo {NAMESPACE} version="0" state="{state}">{inner}</reginfo>'.encode()


def test_what_is_terminated_with_all_its_contacts_has_ended() -> None:
    """T24-D-3: by canonical identity, in the order of the document."""
    body = document(
        registration("sip:b@X", "terminated", "terminated", "terminated"),
        registration(" sip:a@x;user=phone ", "terminated"),
        registration("tel:+1-555", "terminated", "terminated"),
    )

    assert ended_aors(TYPE, body) == ("sip:b@x", "sip:a@x", "tel:+1555")


@pytest.mark.parametrize("alive", ["active", "init", "", "Terminated"])
def test_what_lives_has_not_ended(alive: str) -> None:
    """Of several identities the others keep the SAs (T24-D-2)."""
    over = registration("sip:a@x", "terminated", "terminated")

    body = document(over, registration("sip:b@x", alive, "active"))
    assert ended_aors(TYPE, body) == ("sip:a@x",)
    body = document(over, registration("sip:b@x", "terminated", "terminated", alive))
    assert ended_aors(TYPE, body) == ("sip:a@x",)
    body = document(over, registration("sip:a@x", alive))
    assert ended_aors(TYPE, body) == ()


def test_a_partial_document_counts_as_well() -> None:
    """It names what changed (RFC 3680 5.1); an empty one nothing."""
    over = registration("sip:a@x", "terminated")

    assert ended_aors(TYPE, document(over, state="partial")) == ("sip:a@x",)
    assert ended_aors(TYPE, document()) == ()


def test_without_a_document_nothing_ends() -> None:
    """The last NOTIFY of a subscription may have no body."""
    assert ended_aors("", b"") == ()


@pytest.mark.parametrize("content_type", ["", "text/xml", "application/reginfo", "multipart/x"])
def test_other_bodies_are_not_read(content_type: str) -> None:
    """They end nothing, whatever they are."""
    assert ended_aors(content_type, b"<!DOCTYPE") == ()


def test_the_type_is_read_without_case_and_parameters() -> None:
    """RFC 3261 7.3.1."""
    body = document(registration("sip:a@x", "terminated"))

    assert ended_aors(" Application/REGINFO+xml ; charset=utf-8", body) == ("sip:a@x",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"<reginfo/>",
        b'<reginfo xmlns="urn:other"/>',
        b'<x:reginfo xmlns="urn:ietf:params:xml:ns:reginfo"/>',
        b'<registration xmlns="urn:ietf:params:xml:ns:reginfo"/>',
        document() + b"x",
        document()[:-1],
        document(head="\0"),
        document(registration("sip:a@x\0", "terminated")),
        document("<registration/>"),
        document('<registration state="terminated"/>'),
        document(registration("", "terminated")),
        document(registration("alice", "terminated")),
        document(registration("&quot;&lt;sip:a@x&gt;", "terminated")),
        document("&x;"),
        document("\u00e9").decode().encode("latin-1"),
        b" " * (64 * 1024 + 1),
    ],
)
def test_what_is_no_reginfo_document_is_refused(body: bytes) -> None:
    """An ImsError, which ends nothing, and never another exception."""
    with pytest.raises(ImsError) as caught:
        ended_aors(TYPE, body)
    assert "alice" not in str(caught.value)


BOMB = (
    '<!DOCTYPE r [<!ENTITY a "sip:a@x"><!ENTITY b "&a;&a;">]>'
    f'<reginfo {NAMESPACE} version="0" state="full">'
    '<registration aor="&a;" id="r" state="terminated"/></reginfo>'
)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("declared", ["", *ENCODINGS, "UTF-16LE", "idna", "rot13", "x-none"])
def test_no_encoding_hides_a_declaration(encoding: str, declared: str) -> None:
    """DOCTYPE and entities are refused however the bytes are written; only UTF-8 is read."""
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    with pytest.raises(ImsError):
        ended_aors(TYPE, (head + BOMB).encode(encoding))
    with pytest.raises(ImsError):
        ended_aors(TYPE, head.encode() + BOMB.encode(encoding))


@pytest.mark.parametrize(
    "text", ["<!doctype r>", "<!ENTITY a 'b'>", "<!DocType r SYSTEM 'file:'>"]
)
def test_declarations_in_any_case_are_refused(text: str) -> None:
    """Nothing is fetched and nothing expanded."""
    with pytest.raises(ImsError, match="declaration"):
        ended_aors(TYPE, document(head=text))


@pytest.mark.parametrize("declared", ["utf-8", "UTF-16", "iso-8859-1", "utf-7"])
def test_a_document_is_utf_8_whatever_it_says(declared: str) -> None:
    """The same bytes have one reading."""
    head = f'\ufeff<?xml version="1.0" encoding="{declared}"?>'
    body = document("<!-- \u00e9 -->", registration("sip:a@x", "terminated"), head=head)

    assert ended_aors(TYPE, body) == ("sip:a@x",)


@pytest.mark.parametrize(
    "body",
    [
        document("<a>" * 9000 + "</a>" * 9000),
        document("<a>" * 20_000),
        document("<registration/>" * 4000),
        document(registration("sip:a@x" + ";a" * 30_000, "terminated")),
        document("<a " + "x" * 60_000 + "='1'/>"),
        document("<!--" + "-" * 60_000),
        document(*(registration(f"sip:{n}@x", "terminated") for n in range(900))),
    ],
)
def test_deep_and_wide_documents_are_read_in_a_moment(body: bytes) -> None:
    """64 KiB of anything hold no worker of the SIP server and exhaust no stack."""
    with at_most(yardsticks=15), contextlib.suppress(ImsError):
        ended_aors(TYPE, body)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"<reginfo>", document()[:-10], b"\xff\xfe"])
)
def test_noise_ends_nothing(noise: bytes, before: bytes) -> None:
    """Only ImsError, whatever the bytes (T24-D-3)."""
    with pytest.raises(ImsError):
        ended_aors(TYPE, before + noise + b"<")
