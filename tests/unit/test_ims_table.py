"""What workers tell each other through shared tables: round trips, and nothing from garbage."""

import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_hooks.ims import (
    FlowEntry,
    ImsError,
    RegistrationEntry,
    flow_key,
    read_token,
    registration_token,
)

PORTS = st.integers(0, 65535)
FOUR = st.ip_addresses(v=4).map(str)
SIX = st.ip_addresses(v=6).filter(lambda a: not getattr(a, "scope_id", None)).map(str)
ENDS = st.tuples(FOUR, PORTS, FOUR, PORTS) | st.tuples(SIX, PORTS, SIX, PORTS)
TOKENS = ENDS.map(lambda ends: registration_token(*ends))
TEXTS = st.text()
SET_PORTS = st.integers(1, 65535)
STATES = st.sampled_from(["temporary", "established", "inUse", "retiring"])
FLOWS = st.builds(FlowEntry, TEXTS, TOKENS, STATES, st.booleans(), TEXTS, SET_PORTS)
LISTS = st.lists(TEXTS, max_size=3).map(tuple)
REGISTRATIONS = st.builds(RegistrationEntry, TEXTS, SET_PORTS, LISTS, LISTS, LISTS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=3),
)

ASSOCIATION: dict[str, Any] = {
    "id": "a1",
    "state": "temporary",
    "registration": {"privateIdentity": "p@x", "publicIdentities": ["sip:a@x", "tel:+1"]},
    "ipsec3gpp": {
        "ueAddress": "10.0.0.2",
        "portUc": 6802,
        "portUs": 6800,
        "pcscfAddress": "10.0.0.1",
        "portPc": 5068,
        "portPs": 5064,
    },
}
TOKEN = registration_token("10.0.0.2", 6800, "10.0.0.1", 5064)


@given(ENDS)
def test_a_token_is_read_back(ends: tuple[str, int, str, int]) -> None:
    """It says all that stays while the registration lives (T33-7.1-g), fit for a URI's user."""
    token = registration_token(*ends)

    assert read_token(token) == ends
    assert token.isalnum()
    assert token == token.lower()


def test_a_token_does_not_depend_on_the_writing_of_an_address() -> None:
    """One registration, one name."""
    one = registration_token("2001:DB8:0:0:0:0:0:2", 6800, "2001:db8::1", 5064)

    assert one == registration_token("2001:db8::2", 6800, "2001:0db8::0001", 5064)


@pytest.mark.parametrize(
    "ends",
    [
        ("", 1, "10.0.0.1", 1),
        ("10.0.0.2", 1, "host", 1),
        ("10.0.0.2", 1, "2001:db8::1", 1),
        ("fe80::1%eth0", 1, "fe80::2", 1),
        ("10.0.0.2", 65536, "10.0.0.1", 1),
        ("10.0.0.2", -1, "10.0.0.1", 1),
    ],
)
def test_ends_that_cannot_belong_together_have_no_token(ends: tuple[str, int, str, int]) -> None:
    """A token that could not be read back is not made."""
    with pytest.raises(ImsError):
        registration_token(*ends)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "clear",
        TOKEN[1:],
        "q" + TOKEN[1:],
        TOKEN + "00",
        TOKEN[:-1],
        TOKEN.upper(),
        "r" + TOKEN[1:].upper(),
        "r" + "aa " * 8,
        "r" + " " * 24,
        "r" + "\u0661" * 24,
        TOKEN[:-1] + "g",
        TOKEN + "\n",
        "r" + "0" * 48,
    ],
)
def test_what_is_no_token_names_nobody(token: str) -> None:
    """A token has one writing: nobody gets a second entry for one registration."""
    if token == TOKEN.upper():
        token = "r" + token[1:].replace("0", "A")
    assert read_token(token) is None


@given(st.text("r0123456789abcdefABCDEF \t\n\u0660", max_size=80) | st.text(max_size=80))
def test_noise_is_no_token_or_a_whole_one(text: str) -> None:
    """Never another exception; what is read is what would be written."""
    ends = read_token(text)

    assert ends is None or registration_token(*ends) == text


def test_a_flow_has_one_key() -> None:
    """Kamailio and the daemon write IPv6 addresses differently."""
    assert flow_key("10.0.0.2", 6802, 5064) == "10.0.0.2|6802|5064"
    assert flow_key("2001:DB8:0:0:0:0:0:2", 1, 2) == flow_key("2001:db8::2", 1, 2)
    assert flow_key("nobody", 1, 2) == "nobody|1|2"


@given(FLOWS)
def test_a_flow_entry_is_read_back(entry: FlowEntry) -> None:
    """Types too; what is printed is ASCII, so any table holds it."""
    assert FlowEntry.from_text(entry.to_text()) == entry
    assert entry.to_text().isascii()


@given(REGISTRATIONS)
def test_a_registration_entry_is_read_back(entry: RegistrationEntry) -> None:
    """Tuples come back as tuples, so entries compare."""
    assert RegistrationEntry.from_text(entry.to_text()) == entry
    assert entry.to_text().isascii()


@given(st.text() | JSON.map(json.dumps))
def test_garbage_is_no_entry(text: str) -> None:
    """The caller then asks the daemon; never another exception."""
    assert FlowEntry.from_text(text) is None
    assert RegistrationEntry.from_text(text) is None


@given(FLOWS, REGISTRATIONS, st.integers(0, 5), JSON)
def test_a_field_of_a_wrong_type_is_no_entry(
    flow: FlowEntry, registration: RegistrationEntry, index: int, wrong: object
) -> None:
    """An entry is of the right types or it is none: JSON says nothing of them."""
    for entry in (flow, registration):
        fields = json.loads(entry.to_text())
        index %= len(fields)
        expected = type(fields[index])
        fields[index] = wrong
        read = type(entry).from_text(json.dumps(fields))
        assert read is None or type(wrong) is expected


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "1" * 5000, "NaN", "[]"])
def test_deep_json_is_no_entry(text: str) -> None:
    """Nesting exhausts no stack."""
    assert FlowEntry.from_text(text) is None
    assert RegistrationEntry.from_text(text) is None


@pytest.mark.parametrize(
    "fields",
    [
        ["a", 0, [], [], []],
        ["a", 65536, [], [], []],
        ["a", True, [], [], []],
        ["a", 1.0, [], [], []],
        ["a", 1, "bc", [], []],
        ["a", 1, {"b": 1}, [], []],
        ["a", 1, [], [1], []],
        ["a", 1, [], [], None],
        ["a", 1, [], []],
        ["a", 1, [], [], [], []],
        ["a", TOKEN, "inUse", 1, "p", 5],
        ["a", TOKEN, "s", True, "p", 5],
        ["a", "x", "inUse", True, "p", 5],
        ["a", TOKEN, "inUse", True, "p", False],
    ],
)
def test_entries_of_nearly_the_right_shape_are_none(fields: list[object]) -> None:
    """Ports are ports, texts are texts, flags are flags."""
    text = json.dumps(fields)

    assert FlowEntry.from_text(text) is None
    assert RegistrationEntry.from_text(text) is None


def test_a_flow_entry_is_made_of_an_association() -> None:
    """What a worker must know without asking: whose, in what state, by which port_pc."""
    entry = FlowEntry.of(ASSOCIATION, used=False)

    assert entry == ("a1", TOKEN, "temporary", False, "p@x", 5068)


def test_a_registration_moves_to_another_set() -> None:
    """T24-P-9: what is sent goes on another set, names and routes stay."""
    entry = RegistrationEntry.of(
        ASSOCIATION, identities=("sip:a@x",), service_route=("<sip:s;lr>",), aors=("sip:a@x",)
    )
    newer = dict(ASSOCIATION, id="a2", ipsec3gpp=dict(ASSOCIATION["ipsec3gpp"], portPc=5070))

    moved = entry.moved_to(newer)

    assert moved.sent_on(entry) == entry
    assert moved == ("a2", 5070, ("sip:a@x",), ("<sip:s;lr>",), ("sip:a@x",))
    assert entry.with_aors(("sip:b@x",)).aors == ("sip:b@x",)


def test_a_note_brings_routes_and_names_back() -> None:
    """A restarted SIP server knows again what the 200 said (TS 24.229 5.2.6.3)."""
    entry = RegistrationEntry.of(
        ASSOCIATION,
        identities=("sip:a@x", "tel:+1"),
        service_route=("<sip:s;lr>",),
        aors=("sip:a@x", "sip:b@x"),
    )

    assert RegistrationEntry.of_note(dict(ASSOCIATION, note=entry.note())) == entry


@given(st.none() | st.text() | JSON.map(json.dumps) | st.tuples(JSON, JSON).map(json.dumps))
def test_a_note_that_is_none_of_ours_says_nothing(note: str | None) -> None:
    """Then the registration is known by its first identity, and by some name always (T24-D-3)."""
    entry = RegistrationEntry.of_note(dict(ASSOCIATION, note=note))

    assert entry.identities == ("sip:a@x", "tel:+1")
    assert entry.aors
    assert all(isinstance(text, str) for text in (*entry.aors, *entry.service_route))
    assert RegistrationEntry.from_text(entry.to_text()) == entry


def test_addresses_of_the_table_are_those_of_the_standard_library() -> None:
    """An IPv4 address inside IPv6 stays what it was (RFC 4291)."""
    mapped = str(ipaddress.ip_address("::ffff:10.0.0.2"))

    assert read_token(registration_token(mapped, 1, mapped, 2)) == (mapped, 1, mapped, 2)
