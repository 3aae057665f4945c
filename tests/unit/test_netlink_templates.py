"""The fast encoding is the reference encoding, and refuses what it cannot say."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink import layout, templates
from netlink.layout import CONSTANT, PORT_ID, SEQUENCE, LayoutError, Variable, learn
from netlink.model import AddPolicy, AddSa, DeleteSa, PolicyAction, SaId, SaKeys, ShortenSa
from netlink.reference import Request, encode_reference
from netlink.secret import Secret
from netlink.templates import encode, wipe
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


@given(REQUESTS, NUMBERS, NUMBERS)
def test_templates_equal_the_reference_byte_for_byte(
    request_: Request, sequence: int, port_id: int
) -> None:
    """Any request of either family is encoded as the schema encodes it."""
    assert bytes(encode((request_,), sequence, port_id)[0]) == encode_reference(
        request_, sequence, port_id
    )


@given(st.lists(REQUESTS, max_size=5), st.integers(0, 0xFFFF_FFF0))
def test_templates_encode_a_batch_as_consecutive_messages(
    requests: list[Request], first: int
) -> None:
    """A batch is its messages one after the other, numbered consecutively, starts told."""
    buffer, starts = encode(requests, first, 77)

    assert bytes(buffer) == b"".join(
        encode_reference(request, first + i, 77) for i, request in enumerate(requests)
    )
    ends = [*starts[1:], len(buffer)]
    lengths = [int.from_bytes(buffer[start : start + 4], "little") for start in starts]
    assert lengths == [end - start for start, end in zip(starts, ends, strict=False)]


def test_templates_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that vary between registrations need no further form."""
    monkeypatch.setattr(templates, "_templates", {})
    for spi in (1, 2, 3):
        sa = security_association(spi, hard_add_seconds=spi)
        encode((add_sa(sa), DeleteSa(sa.id), AddPolicy(policy(spi))), spi, spi)

    assert len(templates._templates) == 3


@pytest.mark.parametrize("wrong", [b"", b"k" * 19, b"k" * 21])
def test_templates_refuse_a_key_of_the_wrong_length(wrong: bytes) -> None:
    """Packing would pad or cut it, and the SA would carry another key. The text hides it."""
    sa = security_association()
    request = AddSa(sa=sa, keys=SaKeys(integrity=Secret(wrong), encryption=Secret(b"")))

    with pytest.raises(ValueError, match="a key's length is not that of its algorithm"):
        encode((request,), 1, 1)


def mixed_families() -> list[Request]:
    v4, v6 = ADDRESSES[4][0], ADDRESSES[6][0]
    sa, demand = security_association(), policy()
    selector = dataclasses.replace(sa.selector, source=v6)
    assert demand.template is not None
    return [
        ShortenSa(dataclasses.replace(sa, source=v6)),
        ShortenSa(dataclasses.replace(sa, id=SaId(v6, 1))),
        ShortenSa(dataclasses.replace(sa, selector=selector)),
        AddPolicy(
            dataclasses.replace(demand, id=dataclasses.replace(demand.id, selector=selector))
        ),
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
        encode((request_,), 1, 1)


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
    """Out of range is a ValueError that names the request's place in the batch, and no value."""
    good = DeleteSa(SaId(ADDRESSES[4][0], 1))
    kind = type(request_).__name__

    with pytest.raises(ValueError, match=rf"a number of {kind} 1 does not fit its field"):
        encode((good, request_), 1, 1)


@pytest.mark.parametrize("window", [-1, 4097, 1 << 20])
def test_templates_refuse_a_replay_window_beyond_any_kernel(window: int) -> None:
    """A window whose bitmap the kernel does not hold is an error here, not a huge message."""
    with pytest.raises(ValueError, match="a replay window is 0 to 4096 packets"):
        encode((add_sa(security_association(replay_window=window)),), 1, 1)


def test_templates_refuse_a_key_beyond_any_algorithm() -> None:
    """The room reserved for a message holds the largest key there is, and no other."""
    integrity = dataclasses.replace(SHA1, key_bits=8 * 1000)

    with pytest.raises(ValueError, match="keys of more than 64 bytes"):
        encode((add_sa(security_association(pair=(integrity, AES))),), 1, 1)


def test_templates_leave_no_key_behind_when_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that cannot be encoded wipes what it had written."""
    wiped: list[bytearray] = []

    def observed_wipe(buffer: bytearray) -> None:
        wipe(buffer)
        wiped.append(buffer)

    monkeypatch.setattr(templates, "wipe", observed_wipe)
    sa = security_association(pair=(SHA1, AES))
    for bad in (DeleteSa(SaId(sa.id.destination, -1)), mixed_families()[0]):
        with pytest.raises(ValueError):
            encode((add_sa(sa), bad), 1, 1)

    assert [any(buffer) for buffer in wiped] == [False, False]


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
        assert bytes(encode((request,), 1, 1)[0]) == encode_reference(request, 1, 1)


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
