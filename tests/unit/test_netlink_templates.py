"""The fast encoding is the reference encoding, and refuses what it cannot say."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink import layout, templates
from netlink.layout import CONSTANT, PORT_ID, SEQUENCE, LayoutError, Variable, learn
from netlink.model import AddPolicy, AddSa, DeleteSa, PolicyAction, SaId, SaKeys, ShortenSa
from netlink.reference import Request, encode_reference
from netlink.secret import Secret
from netlink.templates import LARGEST_MESSAGE, check, encode_into
from tests.support.xfrm_values import (
    ADDRESSES,
    AES,
    REQUESTS,
    SHA1,
    add_sa,
    keys_for,
    policy,
    security_association,
)

NUMBERS = st.integers(0, 0xFFFF_FFFF)


def encode(request: Request, sequence: int = 1, port_id: int = 1) -> bytes:
    """Encode in the middle of a buffer of ones, and let nothing outside be touched."""
    buffer = bytearray(b"\xff" * (LARGEST_MESSAGE + 100))
    end = encode_into(buffer, 100, request, sequence, port_id)
    assert set(buffer[:100] + buffer[end:]) == {0xFF}
    return bytes(buffer[100:end])


@given(REQUESTS, NUMBERS, NUMBERS)
def test_templates_equal_the_reference_byte_for_byte(
    request_: Request, sequence: int, port_id: int
) -> None:
    """Any request of either family is encoded as the schema encodes it."""
    assert encode(request_, sequence, port_id) == encode_reference(request_, sequence, port_id)


def test_templates_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that vary between registrations need no further form."""
    monkeypatch.setattr(templates, "_templates", {})
    for spi in (1, 2, 3):
        sa = security_association(spi, hard_add_seconds=spi)
        check((add_sa(sa), DeleteSa(sa.id), AddPolicy(policy(spi))))

    assert len(templates._templates) == 3


@pytest.mark.parametrize("wrong", [b"", b"k" * 19, b"k" * 21])
def test_templates_refuse_a_key_of_the_wrong_length(wrong: bytes) -> None:
    """Packing would pad or cut it, and the SA would carry another key. The text hides it."""
    sa = security_association()
    request = AddSa(sa=sa, keys=SaKeys(integrity=Secret(wrong), encryption=Secret(b"")))

    with pytest.raises(ValueError, match="a key's length is not that of its algorithm"):
        encode(request)


def mixed_families() -> list[Request]:
    v4, v6 = ADDRESSES[4][0], ADDRESSES[6][0]
    sa, demand = security_association(), policy()
    selector = sa.selector._replace(source=v6)
    assert demand.template is not None
    return [
        ShortenSa(dataclasses.replace(sa, source=v6)),
        ShortenSa(dataclasses.replace(sa, id=SaId(v6, 1))),
        ShortenSa(dataclasses.replace(sa, selector=selector)),
        AddPolicy(dataclasses.replace(demand, id=demand.id._replace(selector=selector))),
        AddPolicy(
            dataclasses.replace(demand, template=dataclasses.replace(demand.template, source=v6))
        ),
        AddPolicy(
            dataclasses.replace(
                policy(version=6),
                template=dataclasses.replace(demand.template, source=v4, destination=v4),
            )
        ),
    ]


@pytest.mark.parametrize("request_", mixed_families())
def test_templates_refuse_addresses_of_two_families(request_: Request) -> None:
    """The kernel would take a cut or padded address for a real one."""
    with pytest.raises(ValueError, match="two families"):
        encode(request_)


@pytest.mark.parametrize(
    "request_",
    [
        DeleteSa(SaId(ADDRESSES[4][0], 1 << 32)),
        DeleteSa(SaId(ADDRESSES[4][0], -1)),
        DeleteSa(SaId(ADDRESSES[4][0], 1, 256)),
        AddPolicy(policy(1 << 16)),
        AddPolicy(policy(priority=1 << 32)),
        ShortenSa(security_association(hard_add_seconds=-1)),
    ],
)
def test_templates_refuse_a_number_that_does_not_fit(request_: Request) -> None:
    """Out of range is a ValueError that names the kind of request, and no value."""
    kind = type(request_).__name__

    with pytest.raises(ValueError, match=rf"a number of {kind} does not fit its field"):
        encode(request_)


@pytest.mark.parametrize("window", [-1, 4097, 1 << 20])
def test_templates_refuse_a_replay_window_beyond_any_kernel(window: int) -> None:
    """A window whose bitmap the kernel does not hold is an error here, not a huge message."""
    with pytest.raises(ValueError, match="a replay window is 0 to 4096 packets"):
        encode(add_sa(security_association(replay_window=window)))


def test_templates_refuse_a_key_beyond_any_algorithm() -> None:
    """The room reserved for a message holds the largest key there is, and no other."""
    integrity = dataclasses.replace(SHA1, key_bits=8 * 1000)

    with pytest.raises(ValueError, match="keys of more than 64 bytes"):
        encode(add_sa(security_association(pair=(integrity, AES))))


@pytest.mark.parametrize("wiped", ["integrity", "encryption"])
def test_templates_refuse_a_key_that_was_wiped(wiped: str) -> None:
    """A Secret wiped too early would install an SA whose key everybody knows."""
    request = add_sa(security_association(pair=(SHA1, AES)))
    getattr(request.keys, wiped).wipe()

    with pytest.raises(ValueError, match="a key of zeros"):
        encode(request)


def test_templates_check_leaves_no_key_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run wipes what it wrote, whether it found an error or not."""
    buffers: list[bytearray] = []

    def observed(buffer: bytearray, *arguments: Any) -> int:
        buffers.append(buffer)
        return encode_into(buffer, *arguments)

    monkeypatch.setattr(templates, "encode_into", observed)
    request = add_sa(security_association(pair=(SHA1, AES)))
    check([request])
    with pytest.raises(ValueError, match="does not fit"):
        check([request, DeleteSa(SaId(ADDRESSES[4][0], -1))])

    assert [any(buffer) for buffer in buffers] == [False] * 3


def test_templates_tell_forms_apart_by_everything_constant() -> None:
    """Direction, action, algorithms and window are part of the form, not of the last caller."""
    sa = security_association()
    others = [
        dataclasses.replace(sa, replay_window=32),
        dataclasses.replace(sa, encryption=AES),
        dataclasses.replace(sa, integrity=dataclasses.replace(SHA1, icv_bits=160)),
    ]
    requests: list[Request] = [AddSa(sa=o, keys=keys_for(o)) for o in (sa, *others, sa)]
    requests += [AddPolicy(policy(action=action)) for action in PolicyAction]

    for request in requests:
        assert encode(request) == encode_reference(request, 1, 1)


# --- learning ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Toy:
    a: int = 0
    b: int = 0


def toy(request: Toy, sequence: int, port_id: int) -> bytes:
    head = sequence.to_bytes(4, "little") + port_id.to_bytes(4, "little")
    return head + b"\x07" + request.a.to_bytes(2, "little") + request.b.to_bytes(1, "little") * 2


A, B = Variable(("a",), "H", 0xFFFF), Variable(("b",), "B", 0xFF)


def test_layout_learns_a_template() -> None:
    """Constants and variables come back in declared order, constants by their bytes."""
    template = learn(toy, Toy(), (SEQUENCE, PORT_ID, CONSTANT, A, Variable(("b",), "H", 0xFF)))
    buffer = bytearray(template.size)
    template.pack_into(buffer, 0, 5, 6, template.constants[0], 0x1234, 0x0909)

    assert template.constants == (b"\x07",)
    assert bytes(buffer) == toy(Toy(0x1234, 9), 5, 6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ((SEQUENCE, PORT_ID, A), "undeclared constant before 9"),
        ((SEQUENCE, PORT_ID, CONSTANT, B), "b is not one field of 1 bytes"),
        ((SEQUENCE, PORT_ID, CONSTANT, A, SEQUENCE), "declared out of wire order"),
        ((SEQUENCE, PORT_ID, CONSTANT, Variable(("a",), "H", 0x7FFF)), "not all zero and all"),
        ((SEQUENCE, PORT_ID, CONSTANT, Variable(("a",), "H", 0)), "a is not one field"),
    ],
)
def test_layout_refuses_a_declaration_that_does_not_fit(
    fields: tuple[layout.Field, ...], words: str
) -> None:
    """A wrong declaration cannot become a wrong byte on the wire."""
    with pytest.raises(LayoutError, match=words):
        learn(toy, Toy(), fields)


def test_layout_refuses_a_variable_that_changes_the_length() -> None:
    """What changes the message's shape belongs into its form."""

    def growing(request: Toy, sequence: int, port_id: int) -> bytes:
        return toy(request, sequence, port_id) + bytes(request.a & 1)

    with pytest.raises(LayoutError, match="a changes the message's length"):
        learn(growing, Toy(), (SEQUENCE, PORT_ID, CONSTANT, A))
