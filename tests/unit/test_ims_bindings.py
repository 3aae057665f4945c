"""What a 200 to REGISTER grants (T24-P-7), and what a REGISTER asks to end (T24-D-1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_hooks.ims import (
    ImsError,
    granted_seconds,
    public_identities,
    service_route,
)

OWN = "<sip:alice@10.0.0.2:6800>;+g.3gpp.smsip;expires=600000"
OTHER = "<sip:alice@10.0.0.3:6800>;expires=77"


def granted(*contacts: str, own: str = OWN, expires: str | None = None) -> int:
    return granted_seconds(ue_contact=[own], contact_rows=contacts, expires_row=expires)


@pytest.mark.parametrize(
    ("contacts", "expires", "seconds"),
    [
        (["<sip:alice@10.0.0.2:6800>;expires=600"], None, 600),
        (["<sip:alice@10.0.0.2:6800>"], "300", 300),
        (["<sip:alice@10.0.0.2:6800>;expires=600"], "300", 600),
        (["<sip:alice@10.0.0.2:6800>;Expires = 0"], "300", 0),
        ([OTHER, "<sip:alice@10.0.0.2:6800>;q=0.5;expires=600"], None, 600),
        ([f"{OTHER}, <sip:alice@10.0.0.2:6800;transport=tcp>;expires=600, {OTHER}"], None, 600),
        (['"x;expires=1" <sip:alice@10.0.0.2:6800;expires=2>;expires="60"'], None, 60),
        (["sip:alice@10.0.0.2:6800;expires=60"], None, 60),
        (["sip:alice@10.0.0.2:6800"], " 60\r\n ", 60),
        (['<sip:alice@10.0.0.2:6800>;+sip.instance="<urn:x;expires=1>";expires=60'], None, 60),
        (["<sip:bob@10.0.0.2:6800>;expires=5", "<sip:alice@10.0.0.2:6800>;expires=6"], None, 6),
        (["<sip:bob@10.0.0.2:6800>;expires=5"], None, 5),
        (["<sip:alice@10.0.0.2:6800>;expires=5,<sip:alice@10.0.0.2:6800;ob>;expires=9"], None, 9),
        (["<sip:alice@10.0.0.2:6800>;expires=4294967295"], None, 2**32 - 1),
        ([OTHER], "300", 0),
        (["<sip:alice@10.0.0.2:6801>;expires=600"], None, 0),
        (["<sip:alice@10.0.0.2>;expires=600"], None, 0),
        ([], "300", 0),
    ],
)  # fmt: skip
def test_the_own_contact_says_for_how_long(
    contacts: list[str], expires: str | None, seconds: int
) -> None:
    """Its parameter, else Expires; contacts of other devices do not count (RFC 3261 10.2.4)."""
    assert granted(*contacts, expires=expires) == seconds


def test_a_contact_is_known_by_its_place() -> None:
    """A registrar may write an address or the default port in another way."""
    six = "<sip:[2001:DB8:0::2]:6800>"
    assert granted("<sip:x@[2001:db8::2]:6800>;expires=9", own=six) == 9
    assert granted("<sip:a@UE.example:5060>;expires=9", own="sip:a@ue.example") == 9


@pytest.mark.parametrize("expires", ["-1", "4294967296", "9" * 5000, "1.5", "0x10", "", '"', "٣"])
def test_a_time_that_is_none_is_refused(expires: str) -> None:
    """RFC 3261 20.19: seconds below 2**32; the caller must not take it for 0 or for ever."""
    with pytest.raises(ImsError):
        granted(f"<sip:alice@10.0.0.2:6800>;expires={expires}")
    with pytest.raises(ImsError):
        granted("<sip:alice@10.0.0.2:6800>", expires=expires)


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:alice@10.0.0.2:6800>",
        "<sip:alice@10.0.0.2:6800>;expires",
        "<sip:alice@10.0.0.2:6800>;expires=1;expires=2",
        "<sip:alice@10.0.0.2:6800>;expires=1 garbage",
        "<sip:alice@10.0.0.2:6800",
    ],
)
def test_an_answer_that_does_not_tell_is_no_end(contact: str) -> None:
    """Not knowing is an error: 0 would end the registration (T24-D-1)."""
    with pytest.raises(ImsError):
        granted(contact)


def test_contacts_of_others_cannot_be_in_the_way() -> None:
    """Another device's contact that nobody can read hides only itself."""
    strange = "<sip:\u00e9@[x]>;;, <tel:+1>"

    assert granted(strange, "<sip:alice@10.0.0.2:6800>;expires=60") == 60
    with pytest.raises(ImsError):
        granted(strange)


def test_several_contacts_of_one_device_live_as_long_as_the_longest() -> None:
    """T24-P-7: the set must not end before what it carries."""
    own = "<sip:alice@10.0.0.2:6800>, <sip:alice@10.0.0.2:6900>"
    rows = ["<sip:alice@10.0.0.2:6800>;expires=60, <sip:alice@10.0.0.2:6900>;expires=90"]

    assert granted(*rows, own=own) == 90


def test_a_removal_of_everything_grants_nothing_and_a_query_does_not_tell() -> None:
    """Contact * ends, no Contact only asks (RFC 3261 10.2.2, 10.2.3)."""
    assert granted(OTHER, own="*") == 0
    with pytest.raises(ImsError):
        granted_seconds(ue_contact=[], contact_rows=[OWN], expires_row=None)


def test_identities_come_in_the_order_of_the_network() -> None:
    """The first is the default public identity (RFC 7315 4.1); repetitions go."""
    rows = ['<sip:b@x>, "A" <SIP:a@X;user=phone>;y=1', "<tel:+1-555>, <sip:b@X>"]

    assert public_identities(rows, "<sip:to@x>") == ("sip:b@x", "sip:a@x", "tel:+1555")


def test_without_a_list_the_registered_identity_is_the_one() -> None:
    """Of To, where P-Associated-URI is absent or empty."""
    assert public_identities([], '"T" <sip:to@X>;tag=1') == ("sip:to@x",)
    assert public_identities([" "], "sip:to@x") == ("sip:to@x",)


def test_an_identity_nobody_can_read_is_nobodys() -> None:
    """It is left out; where all are, To does not step in, for it may be barred."""
    assert public_identities(["<urn:x>, <sip:a@x>"], "<sip:to@x>") == ("sip:a@x",)
    for rows in (["<urn:x>"], ["<sip:a@x"], [","]):
        with pytest.raises(ImsError):
            public_identities(rows, "<sip:to@x>")


def test_a_list_of_identities_is_limited() -> None:
    """64 names are kept: the entry must fit the shared table."""
    row = ",".join(f"<sip:{n}@x>" for n in range(100))

    assert public_identities([row], "<sip:to@x>") == tuple(f"sip:{n}@x" for n in range(64))


def test_the_service_route_is_kept_in_order() -> None:
    """Values as written (RFC 3608); what no request could follow is refused."""
    assert service_route(["<sip:a@b;lr>,<sip:c;lr>", "<sip:d>"]) == (
        "<sip:a@b;lr>",
        "<sip:c;lr>",
        "<sip:d>",
    )
    assert service_route([]) == ()
    for rows in ([""], ["<sip:a"], ["<tel:1>"], ["<sip:a>," * 16 + "<sip:a>"]):
        with pytest.raises(ImsError):
            service_route(rows)


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([OTHER, "<sip:x@y>;expires=9"])))
def test_every_time_is_read_wherever_the_contact_stands(seconds: int, others: list[str]) -> None:
    """The number is the registrar's, not changed here (T24-P-7)."""
    own = f"<sip:alice@10.0.0.2:6800>;expires={seconds}"
    for rows in ([own, *others], [*others, own], [", ".join([*others, own, *others])]):
        assert granted(*rows) == seconds
