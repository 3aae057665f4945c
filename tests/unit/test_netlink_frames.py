"""Bundles that are sent together: byte for byte what each is alone, and no key left behind."""

import asyncio
import dataclasses
import errno
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink import frames
from netlink.bundles import Bundle, WireValue, learn_form
from netlink.errors import OutcomeUnknown
from netlink.frames import frame_of
from netlink.model import AddSa, DeleteSa, Operation, SaId, SaKeys
from netlink.secret import Secret
from tests.bench.sets import Sets
from tests.support.contract_world import names
from tests.support.scripted_socket import (
    PORT_ID,
    Script,
    ScriptedSocket,
    lossy,
    opened,
    refuse,
    silent,
)
from tests.support.xfrm_values import AES, SHA1, security_association

CODES = ("4s", "2s", "I", "20s", "16s")
KEYS = (b"i" * 20, b"e" * 16)
ROOM = 5000
SIZE = 6232
NUMBERS = st.integers(0, 0xFFFF_FFFF)


def operations_of(values: Sequence[WireValue]) -> Sequence[Operation]:
    """An SA by SPI, ports, lifetime and keys, and the end of its SPI at another address."""
    spi, port, seconds, integrity, encryption = values
    assert isinstance(spi, bytes)
    assert isinstance(port, bytes)
    assert isinstance(seconds, int)
    assert isinstance(integrity, bytes)
    assert isinstance(encryption, bytes)
    number = int.from_bytes(spi, "big")
    sa = security_association(number, pair=(SHA1, AES), hard_add_seconds=seconds)
    selector = sa.selector._replace(source_port=int.from_bytes(port, "big"))
    sa = dataclasses.replace(sa, reqid=9, selector=selector)
    keys = SaKeys(integrity=Secret(integrity), encryption=Secret(encryption))
    return (AddSa(sa=sa, keys=keys), DeleteSa(SaId("192.0.2.9", number)))


FORM = learn_form(CODES, operations_of)


def bundle(
    spi: int = 1, port: int = 5060, seconds: int = 60, keys: tuple[bytes, bytes] = KEYS
) -> Bundle:
    values: tuple[WireValue, ...] = (spi.to_bytes(4, "big"), port.to_bytes(2, "big"), seconds)
    secrets = tuple(Secret(key) for key in keys)
    return Bundle(FORM, values, secrets, lambda: operations_of((*values, *keys)))


@pytest.fixture(autouse=True)
def _no_frame_of_others() -> Iterator[None]:
    frames._free.clear()
    yield
    frames._free.clear()


def each_alone(bundles: Sequence[Bundle], first: int, port_id: int = PORT_ID) -> bytes:
    size = bundles[0].form.size
    buffer = bytearray(size * len(bundles))
    for index, one in enumerate(bundles):
        one.encode_into(buffer, index * size, first + index * len(one), port_id)
    return bytes(buffer)


def together(bundles: Sequence[Bundle], first: int, room: int = ROOM, size: int = SIZE) -> bytes:
    """Encode them in a frame, give it back, and return what was in it."""
    frame = frame_of(bundles, PORT_ID, room, size)
    frame.fill(bundles, first)
    written = bytes(frame.data[: len(bundles) * bundles[0].form.size])
    frame.wipe(0, size)
    frame.release()
    return written


# --- bytes ---------------------------------------------------------------------------------------


@given(
    st.lists(
        st.lists(
            st.tuples(
                NUMBERS,
                st.integers(0, 0xFFFF),
                NUMBERS,
                st.binary(min_size=20, max_size=20).filter(any),
            ),
            min_size=1,
            max_size=ROOM // FORM.size,
        ),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 0xFFFF_FF00),
)
def test_frames_hold_what_each_bundle_is_alone(
    sends: list[list[tuple[int, int, int, bytes]]], first: int
) -> None:
    """Whatever the values, how many, and what the frame held before."""
    for send in sends:
        bundles = [bundle(spi, port, end, (key, KEYS[1])) for spi, port, end, key in send]
        assert together(bundles, first) == each_alone(bundles, first)


@pytest.mark.parametrize("cipher", ["null", "cbc"])
def test_frames_hold_sets_as_the_daemon_plans_them(cipher: str) -> None:
    """Of a form with a hundred places, the own address among them."""
    bundles = [o for o in Sets.of(20, cipher).installs if isinstance(o, Bundle)]

    assert together(bundles[:15], 7, 65536, 66768) == each_alone(bundles[:15], 7)
    assert together(bundles[15:], 1, 65536, 66768) == each_alone(bundles[15:], 1)


def test_frames_take_other_values_than_the_usual_ones() -> None:
    """What the first bundles had in common is no more than a guess of what others have."""
    together([bundle(spi, 5060) for spi in range(4)], 1)
    others = [bundle(1, 5060), bundle(2, 5062), bundle(3, 5060)]

    assert together(others, 1) == each_alone(others, 1)


@pytest.mark.parametrize(
    ("keys", "seconds", "words"),
    [
        ((b"i" * 19, KEYS[1]), 60, "length"),
        ((b"i" * 21, KEYS[1]), 60, "length"),
        ((KEYS[0], b""), 60, "length"),
        ((bytes(20), KEYS[1]), 60, "zeros"),
        (KEYS, 1 << 32, "unsigned int"),
        (KEYS, -1, "unsigned int"),
    ],
)
def test_frames_refuse_what_a_bundle_refuses(
    keys: tuple[bytes, bytes], seconds: int, words: str
) -> None:
    """One of them is enough, wherever it stands, and no key stays in what it is copied from."""
    bundles = [
        bundle(1),
        bundle(2, seconds=seconds, keys=keys),
        bundle(3, keys=(b"j" * 20, KEYS[1])),
    ]
    frame = frame_of(bundles, PORT_ID, ROOM, SIZE)

    with pytest.raises((ValueError, OverflowError), match=words):
        frame.fill(bundles, 1)
    assert not any(any(column.source) for column in frame._columns[3:])


def test_frames_refuse_lengths_that_are_right_together_only() -> None:
    """Of two keys one too short and one too long would take each other's bytes."""
    bundles = [bundle(1, keys=(b"i" * 19, KEYS[1])), bundle(2, keys=(b"j" * 21, KEYS[1]))]

    with pytest.raises(ValueError, match="length"):
        frame_of(bundles, PORT_ID, ROOM, SIZE).fill(bundles, 1)


def test_frames_serve_one_send_at_a_time() -> None:
    """Who has one has it alone, be it for another socket; released it serves the next."""
    bundles = [bundle()]
    first = frame_of(bundles, PORT_ID, ROOM, SIZE)
    second = frame_of(bundles, PORT_ID, ROOM, SIZE)
    first.release()

    assert second is not first
    assert frame_of(bundles, PORT_ID, ROOM, SIZE) is first
    assert frame_of(bundles, PORT_ID + 1, ROOM, SIZE) is not first


def answered(*scripts: Script, **options: int) -> ScriptedSocket:
    """A socket whose sends are so small that a few bundles are worth a frame."""
    return ScriptedSocket(*scripts, **{"send_buffer": 16 * FORM.size} | options)


# --- sends ---------------------------------------------------------------------------------------


async def test_requests_of_many_bundles_give_each_caller_his_own_errors() -> None:
    """Positions are those of the operations, and what waits behind them shares the send."""
    scripted = answered(refuse(0, 3, 9, 10, number=errno.EEXIST, words="it is there"))
    requests = opened(scripted)

    outcomes = await asyncio.gather(
        *(requests.submit(bundle(spi)) for spi in range(1, 6)),
        requests.submit([DeleteSa(SaId("192.0.2.1", 5))]),
        requests.submit(bundle(7)),
    )

    assert [names(o) for o in outcomes] == [
        ["EEXIST", ""],
        ["", "EEXIST"],
        ["", ""],
        ["", ""],
        ["", "EEXIST"],
        ["EEXIST"],
        ["", ""],
    ]
    refused = outcomes[0][0]
    assert refused is not None
    assert refused.message == "it is there"
    (messages,) = scripted.sent
    assert [m.sequence for m in messages] == list(range(1, 14))
    assert [bool(m.flags & 4) for m in messages] == [False] * 12 + [True]  # the fence
    assert {m.port_id for m in messages} == {PORT_ID}


async def test_requests_send_many_bundles_as_each_would_be_sent() -> None:
    """Send after send, whatever lay behind the bundles before."""
    sent: list[bytes] = []

    class Listening(ScriptedSocket):
        def send(self, view: bytes | memoryview) -> int:
            sent.append(bytes(view))
            return super().send(view)

    requests = opened(Listening(send_buffer=16 * FORM.size))
    deletion = [DeleteSa(SaId("192.0.2.1", 5))]
    sends = (
        [bundle(spi) for spi in range(4)],
        [bundle(spi, port=5062 + spi) for spi in range(6)],
        [bundle(spi) for spi in range(9)],
    )
    for bundles in sends:
        await asyncio.gather(*map(requests.submit, (*bundles, deletion)))

    first = 1
    for bundles, data in zip(sends, sent, strict=True):
        assert data[: len(bundles) * FORM.size] == each_alone(bundles, first)
        first += 2 * len(bundles) + 1


async def test_requests_of_many_bundles_are_as_many_as_the_receive_buffer_can_answer() -> None:
    """Were every message refused, every refusal would still find room."""
    scripted = answered(receive_buffer=2 * 5 * 1280)
    requests = opened(scripted)

    await asyncio.gather(*(requests.submit(bundle(spi)) for spi in range(12)))

    assert [len(messages) for messages in scripted.sent] == [10, 10, 4]


async def test_requests_of_many_bundles_leave_out_who_has_left() -> None:
    """Nothing of a cancelled caller is sent, and the others' outcomes are theirs."""
    scripted = answered(refuse(2))
    requests = opened(scripted)
    futures = [requests.submit(bundle(spi)) for spi in range(6)]
    futures[1].cancel()

    outcomes = await asyncio.gather(*futures, return_exceptions=True)

    assert isinstance(outcomes[1], asyncio.CancelledError)
    told = [names(o) for o in outcomes if not isinstance(o, BaseException)]
    assert told == [["", ""], ["ESRCH", ""], ["", ""], ["", ""], ["", ""]]
    assert [len(messages) for messages in scripted.sent] == [10]


async def test_requests_of_many_bundles_with_a_bad_one_harm_nobody_else() -> None:
    """The ValueError reaches its own caller."""
    requests = opened(answered())
    bad = bundle(3, keys=(KEYS[0], bytes(16)))
    bundles = [bundle(1), bundle(2), bad, bundle(4), bundle(5)]

    outcomes = await asyncio.gather(*map(requests.submit, bundles), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [tuple, tuple, ValueError, tuple, tuple]
    assert not any(requests._out.data)
    (frame,) = frames._free.values()
    assert bytes(frame.data) == bytes(frame._blank)


def take_down(*_: object) -> list[bytes]:
    raise OSError(errno.ENOBUFS, "refused")


async def test_requests_of_many_bundles_in_a_refused_send_are_not_done() -> None:
    """Each operation of each caller has that errno."""
    requests = opened(answered(take_down))
    outcomes = await asyncio.gather(*(requests.submit(bundle(spi)) for spi in range(5)))

    assert [names(o) for o in outcomes] == [["ENOBUFS"] * 2] * 5


@pytest.mark.parametrize("script", [silent, lossy])
async def test_requests_of_many_bundles_without_every_answer_are_unknown(script: Script) -> None:
    """A missing fence or a lost answer makes every outcome of the send unknown, not good."""
    requests = opened(answered(script))
    submitted = [requests.submit(bundle(spi)) for spi in range(5)]

    outcomes = await asyncio.gather(*submitted, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 5


@pytest.mark.parametrize("script", [refuse(), refuse(1), silent, lossy, take_down])
async def test_requests_of_many_bundles_leave_no_key_behind(script: Script) -> None:
    """What was sent is wiped, whatever came of it."""
    requests = opened(answered(script))
    submitted = [requests.submit(bundle(spi)) for spi in range(5)]
    await asyncio.gather(*submitted, return_exceptions=True)

    (frame,) = frames._free.values()
    held = bytes(frame.data) + b"".join(bytes(column.source) for column in frame._columns)
    assert not any(key in held for key in KEYS)
    assert bytes(frame.data) == bytes(frame._blank)
    assert not any(key in bytes(frame._blank) for key in KEYS)


async def test_requests_of_few_bundles_take_no_frame() -> None:
    """They are quicker alone: a frame is written for as many as a send holds."""
    requests = opened(ScriptedSocket(send_buffer=40 * FORM.size))

    assert await asyncio.gather(*(requests.submit(bundle(spi)) for spi in range(8)))
    assert not frames._free
