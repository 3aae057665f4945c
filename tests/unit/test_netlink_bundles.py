"""A bundle is its operations: byte for byte, outcome for outcome, and it leaves no key behind."""

import asyncio
import dataclasses
import errno
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink.bundles import Bundle, BundleForm, WireValue, learn_form
from netlink.layout import LayoutError
from netlink.model import AddSa, DeleteSa, Operation, SaId, SaKeys
from netlink.reference import encode_reference
from netlink.secret import Secret
from tests.support.contract_world import names
from tests.support.scripted_socket import PORT_ID, ScriptedSocket, opened, refuse
from tests.support.xfrm_values import AES, SHA1, security_association

CODES = ("4s", "I", "20s", "16s")
KEYS = (b"i" * 20, b"e" * 16)
NUMBERS = st.integers(0, 0xFFFF_FFFF)


def operations_of(values: Sequence[WireValue]) -> Sequence[Operation]:
    """An SA by SPI, lifetime and keys, and the end of its SPI at another address."""
    spi, seconds, integrity, encryption = values
    assert isinstance(spi, bytes)
    assert isinstance(seconds, int)
    assert isinstance(integrity, bytes)
    assert isinstance(encryption, bytes)
    number = int.from_bytes(spi, "big")
    sa = security_association(number, pair=(SHA1, AES), hard_add_seconds=seconds)
    sa = dataclasses.replace(sa, reqid=9)
    keys = SaKeys(integrity=Secret(integrity), encryption=Secret(encryption))
    return (AddSa(sa=sa, keys=keys), DeleteSa(SaId("192.0.2.9", number)))


FORM = learn_form(CODES, operations_of)


def bundle(
    spi: int = 1, seconds: int = 60, keys: tuple[bytes, bytes] = KEYS, form: BundleForm = FORM
) -> Bundle:
    values: tuple[WireValue, ...] = (spi.to_bytes(4, "big"), seconds)
    secrets = tuple(Secret(key) for key in keys)
    return Bundle(form, values, secrets, lambda: operations_of((*values, *keys)))


@given(NUMBERS, NUMBERS, NUMBERS, st.integers(0, 0xFFFF_FFF0))
def test_bundles_equal_the_reference_byte_for_byte(
    spi: int, seconds: int, port_id: int, sequence: int
) -> None:
    """Whatever its values, a bundle is encoded as the schema encodes its operations."""
    one = bundle(spi, seconds)
    buffer = bytearray(b"\xff" * (one.form.size + 100))

    end = one.encode_into(buffer, 50, sequence, port_id)

    expected = b"".join(encode_reference(o, sequence + n, port_id) for n, o in enumerate(one))
    assert bytes(buffer[50:end]) == expected
    assert set(buffer[:50] + buffer[end:]) == {0xFF}


def test_bundles_are_sequences_of_their_operations() -> None:
    """Whoever takes back or names an error sees operations; nobody sees a key."""
    one = bundle(7)

    assert len(one) == 2
    assert [type(o) for o in one] == [AddSa, DeleteSa]
    assert one[1] == DeleteSa(SaId("192.0.2.9", 7))
    assert one[1:] == (one[1],)
    assert repr(one) == "Bundle(2 operations)"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((b"i" * 19, KEYS[1]), "length"),
        ((KEYS[0], b""), "length"),
        ((bytes(20), KEYS[1]), "zeros"),
        ((KEYS[0], bytes(16)), "zeros"),
    ],
)
def test_bundles_refuse_keys_that_are_none(keys: tuple[bytes, bytes], words: str) -> None:
    """Packing would pad or cut them, or install a key that was wiped."""
    with pytest.raises(ValueError, match=words):
        bundle(keys=keys).encode_into(bytearray(4096), 0, 1, 1)


def test_bundles_refuse_a_number_that_does_not_fit() -> None:
    """Its text holds no value."""
    with pytest.raises(ValueError, match=r"^a number of a bundle does not fit its field$"):
        bundle(seconds=1 << 32).encode_into(bytearray(4096), 0, 1, 1)


def one_more(values: Sequence[WireValue]) -> Sequence[Operation]:
    spi, seconds, *keys = values
    assert isinstance(seconds, int)
    return operations_of((spi, seconds + 1, *keys))


def twice_as_many(values: Sequence[WireValue]) -> Sequence[Operation]:
    made = operations_of(values)
    return made if values[1] == 0x0807_0605 else (*made, *made)


@pytest.mark.parametrize(
    ("codes", "expand", "words"),
    [
        ((*CODES, "I"), lambda values: operations_of(values[:4]), "lies nowhere"),
        (CODES, one_more, "is not itself"),
        (CODES, twice_as_many, "changes the length"),
    ],
)
def test_bundles_are_not_learnt_where_places_are_doubtful(
    codes: tuple[str, ...],
    expand: Callable[[Sequence[WireValue]], Sequence[Operation]],
    words: str,
) -> None:
    """A value without a place of its own is a defect found when compiled."""
    with pytest.raises(LayoutError, match=words):
        learn_form(codes, expand)


async def test_bundles_travel_whole_and_each_caller_hears_of_his_own_errors() -> None:
    """Bundles and plain operations share a send; positions are those of the operations."""
    scripted = ScriptedSocket(refuse(1, 2, number=errno.EEXIST, words="it is there"))
    requests = opened(scripted)

    outcomes = await asyncio.gather(
        requests.submit(bundle(1)),
        requests.submit([DeleteSa(SaId("192.0.2.1", 5))]),
        requests.submit(bundle(2)),
    )

    assert [names(o) for o in outcomes] == [["", "EEXIST"], ["EEXIST"], ["", ""]]
    (messages,) = scripted.sent
    assert [m.sequence for m in messages] == [1, 2, 3, 4, 5]
    assert [bool(m.flags & 4) for m in messages] == [False] * 4 + [True]  # the fence
    assert {m.port_id for m in messages} == {PORT_ID}


async def test_bundles_are_never_torn_over_two_sends() -> None:
    """What does not fit any more goes with the next send."""
    scripted = ScriptedSocket(send_buffer=3 * FORM.size)
    requests = opened(scripted)

    await asyncio.gather(*(requests.submit(bundle(spi)) for spi in range(1, 6)))

    assert [len(messages) for messages in scripted.sent] == [4, 4, 2]


async def test_bundles_that_no_send_can_take_go_as_operations() -> None:
    """A small send buffer is no reason to fail."""
    scripted = ScriptedSocket(send_buffer=FORM.size)

    assert await opened(scripted).submit(bundle()) == (None, None)
    assert [len(messages) for messages in scripted.sent] == [1, 1]


async def test_bundles_with_a_bad_key_harm_nobody_and_leave_no_key_behind() -> None:
    """A ValueError reaches its own caller; what was encoded is wiped."""
    scripted = ScriptedSocket()
    requests = opened(scripted)

    before, refused, after = await asyncio.gather(
        requests.submit(bundle(1)),
        requests.submit(bundle(2, keys=(b"i" * 20, bytes(16)))),
        requests.submit(bundle(3, seconds=1 << 32)),
        return_exceptions=True,
    )

    assert before == (None, None)
    assert isinstance(refused, ValueError)
    assert isinstance(after, ValueError)
    assert not any(requests._out.data)
