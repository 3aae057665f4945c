"""Between the wire's shapes and the daemon's values."""

import traceback
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sad.api import conversion, messages
from sad.api.conversion import View, canonical_address
from sad.model.association import AssociationState, EndReason
from sad.model.endpoint import Role
from sad.model.errors import BadParameter, MechanismUnavailable
from sad.model.requests import Flow, InstallRequest, ListFilter, ReleaseRequest
from tests.support import make
from tests.support.api import install_parameters


def install_in(parameters: dict[str, Any]) -> messages.InstallIn:
    return msgspec.json.decode(msgspec.json.encode(parameters), type=messages.InstallIn)


def test_an_install_arrives_with_all_its_parameters() -> None:
    """Each field in its place, keys as secrets, what was left out as None."""
    request = conversion.install_request(install_in(install_parameters()))
    given_keys = (request.integrity_key, request.cipher_key)
    expected = make.install_request(
        spi_pc=None,
        spi_ps=None,
        port_pc=None,
        port_ps=None,
        encryption_algorithm="aes-cbc",
        integrity_key=given_keys[0],
        cipher_key=given_keys[1],
    )

    assert request == expected
    assert request.integrity_key.reveal() == make.IK
    assert request.cipher_key is not None
    assert request.cipher_key.reveal() == make.CK


def test_what_is_optional_may_be_null_or_left_out() -> None:
    """Both are the same: role edge, no lifetime, SPIs and ports to be chosen."""
    said = install_parameters(spiPc=None, portPc=None, portPs=None, spiPs=None)
    said |= {"role": None, "lifetimeSeconds": None}

    with_null = conversion.install_request(install_in(said))
    without = conversion.install_request(install_in(install_parameters()))

    # secrets do not compare: put those of the one into the other
    without = msgspec.structs.replace(
        without, integrity_key=with_null.integrity_key, cipher_key=with_null.cipher_key
    )
    assert with_null == without
    assert with_null.role is Role.EDGE


@pytest.mark.parametrize("parameter", ["integrityKey", "cipherKey"])
@pytest.mark.parametrize(
    "digits",
    [
        "f769bcd75104460412767",
        "g" * 32,
        "f7 69bcd751044604127672711c6d344",
        "é" * 32,
        "0x" + "0" * 30,
    ],
)
def test_a_bad_key_is_named_and_not_shown(parameter: str, digits: str) -> None:
    """T33-I: no text, cause or context of the refusal holds a digit of the key."""
    message = install_in(install_parameters(**{parameter: digits}))

    with pytest.raises(BadParameter) as caught:
        conversion.install_request(message)

    assert (caught.value.parameter, caught.value.rule) == (f"ipsec3gpp.{parameter}", "T33-I")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert digits not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def test_no_value_on_the_way_prints_a_key() -> None:
    """Neither the message nor the request made of it."""
    message = install_in(install_parameters())
    printed = f"{message!r} {message} {conversion.install_request(message)!r}"

    for key in (make.IK, make.CK):
        assert key.hex() not in printed
        assert repr(key) not in printed


def test_an_empty_cipher_key_is_not_a_missing_one() -> None:
    """Absent stays None; an empty text is a key of the wrong length for the decision to refuse."""
    absent = conversion.install_request(install_in(install_parameters(cipherKey=None)))
    empty = conversion.install_request(install_in(install_parameters(cipherKey="")))

    assert absent.cipher_key is None
    assert empty.cipher_key is not None
    assert len(empty.cipher_key) == 0


def test_an_install_without_its_set_says_what_is_missing() -> None:
    """The parameters of ipsec-3gpp, or a mechanism that Install knows."""
    known = {**install_parameters(), "ipsec3gpp": None}
    unknown = {**known, "mechanism": "tls"}

    with pytest.raises(BadParameter) as missing:
        conversion.install_request(install_in(known))
    with pytest.raises(MechanismUnavailable) as unavailable:
        conversion.install_request(install_in(unknown))

    assert missing.value.parameter == "ipsec3gpp"
    assert unavailable.value.mechanism == "tls"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:0DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("::1", "::1"),
    ],
)
def test_addresses_become_canonical(text: str, canonical: str) -> None:
    """One address has one text, so that equal flows are found equal."""
    assert canonical_address(text, "x") == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "edge.example",
        "192.0.2.01",
        "192.0.2.1/32",
        "192.0.2.1:5060",
        "[2001:db8::1]",
        "fe80::1%eth0",
        " 192.0.2.1",
        "٣.0.2.1",
    ],
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    """No zone, no prefix, no port, no brackets, no names; the text is not repeated."""
    with pytest.raises(BadParameter) as caught:
        canonical_address(text, "flow.peerAddress")

    assert caught.value.parameter == "flow.peerAddress"
    assert not text or text not in caught.value.reason
    assert caught.value.__context__ is None


@given(st.ip_addresses())
def test_every_address_is_its_own_canonical_text(address: Any) -> None:
    """What comes out goes in again unchanged."""
    text = canonical_address(address.exploded, "x")

    assert canonical_address(text, "x") == text == address.compressed


def test_smaller_requests_arrive_whole() -> None:
    """Release, Find and List: each field in its place, addresses canonical."""
    assert conversion.release_request(
        messages.ReleaseIn(peer_address="2001:DB8::1", linger_seconds=5)
    ) == ReleaseRequest(peer_address="2001:db8::1", linger_seconds=5)
    assert conversion.release_request(messages.ReleaseIn(id="a")) == ReleaseRequest(
        association_id="a", linger_seconds=0
    )
    assert conversion.flow(
        messages.Flow(peer_address="2001:DB8::1", peer_port=1, local_address="::2", local_port=2)
    ) == Flow(peer_address="2001:db8::1", peer_port=1, local_address="::2", local_port=2)
    assert conversion.list_filter(
        messages.ListIn(
            endpoint="e",
            private_identity="i",
            mechanism="tls",
            state=AssociationState.IN_USE,
            expires_within_seconds=60,
        ),
        now=100.0,
    ) == ListFilter(
        endpoint="e",
        private_identity="i",
        mechanism="tls",
        state=AssociationState.IN_USE,
        deadline_until=160.0,
    )


def test_an_association_is_shown_with_instants_and_seconds_left() -> None:
    """Instants in real-time microseconds, the span in whole seconds, rounded down."""
    view = View(now=900.25, realtime=1_700_000_000.5)
    association = make.association(deadline_at=1000.0, created_at=1.5, confirmed_at=0.0)

    shown = view.association(association)

    assert (shown.created_at, shown.confirmed_at) == (1_500_000, 0)
    assert shown.expires_at == 1_700_000_100_250_000
    assert shown.seconds_left == 99
    assert (shown.id, shown.role, shown.end_reason) == ("000000000001", Role.EDGE, None)
    assert shown.ipsec3gpp is not None
    sa_set = msgspec.structs.asdict(association.sa_set)
    del sa_set["role"]
    sa_set["udp_encapsulation"] = sa_set.pop("encapsulation")
    assert msgspec.structs.asdict(shown.ipsec3gpp) == sa_set


@pytest.mark.parametrize("now", [1000.0, 2000.0])
def test_what_is_over_has_no_seconds_left(now: float) -> None:
    """Past the deadline, and ended before it."""
    late = View(now=now, realtime=0.0).association(make.association(deadline_at=1000.0))
    ended = View(now=0.0, realtime=0.0).association(
        make.association(state=AssociationState.ENDED, end_reason=EndReason.RELEASED)
    )

    assert (late.seconds_left, ended.seconds_left) == (0, 0)
    assert ended.end_reason is EndReason.RELEASED


def test_what_is_shown_has_no_place_for_keys() -> None:
    """No field of an output is named after a key, but for which descriptor it comes with."""
    names = {
        field.name
        for struct in vars(messages).values()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct)
        if struct not in {messages.Ipsec3gppRequest, messages.OfferIn, messages.KeyMaterial}
        for field in msgspec.structs.fields(struct)
    }

    # A name, a descriptor's place, a key set without its keys, many of them, keys of an input.
    known = {"key_set", "key_index", "key", "keys"}
    assert {name for name in names if "key" in name} == known
    assert not any("Material" in str(f.type) for f in msgspec.structs.fields(messages.Key))
    assert {"integrity_key", "cipher_key"} < set(InstallRequest.__struct_fields__)
