"""The request socket: one send for many callers, and what nobody knows is never called known."""

import asyncio
import errno
import struct
from typing import cast

import pytest

from netlink import decode, uapi
from netlink.decode import MalformedMessage, Message
from netlink.errors import KernelClosed, KernelError, OutcomeUnknown
from netlink.model import DeleteSa, ObservedSa, Operation, SaId
from netlink.reference import GetSa
from netlink.requests import CHUNK_BYTES
from netlink.schema import Head
from tests.support import kernel_messages as kernel
from tests.support.contract_world import names
from tests.support.scripted_socket import (
    PORT_ID,
    Answer,
    Script,
    ScriptedSocket,
    acknowledge,
    lossy,
    opened,
    overrun,
    refuse,
    silent,
)
from tests.support.xfrm_values import (
    AES,
    SHA1,
    add_sa,
    observed_sa,
    security_association,
)


def deletions(count: int, first: int = 1) -> list[Operation]:
    return [DeleteSa(SaId("192.0.2.1", spi)) for spi in range(first, first + count)]


# --- outcomes ------------------------------------------------------------------------------------


async def test_requests_of_success_need_one_acknowledgement() -> None:
    """Only the last message of a send asks for an answer; silence about the others is success."""
    scripted = ScriptedSocket()

    outcomes = await opened(scripted).submit(deletions(5))

    assert outcomes == (None,) * 5
    (messages,) = scripted.sent
    assert [m.flags & uapi.NLM_F_ACK for m in messages] == [0, 0, 0, 0, uapi.NLM_F_ACK]
    assert {m.port_id for m in messages} == {PORT_ID}


@pytest.mark.parametrize("position", [0, 2, 4])
async def test_requests_map_an_error_to_its_operation(position: int) -> None:
    """An error stops nothing else, wherever in the batch it is, and carries the kernel's words."""
    scripted = ScriptedSocket(refuse(position, number=errno.EEXIST, words="it is there"))

    outcomes = await opened(scripted).submit(deletions(5))

    assert names(outcomes) == ["EEXIST" if i == position else "" for i in range(5)]
    refused = outcomes[position]
    assert refused is not None
    assert refused.message == "it is there"


async def test_requests_of_one_turn_share_a_send_and_keep_their_outcomes_apart() -> None:
    """Callers of one loop turn are served by one send; each hears of its own errors."""
    scripted = ScriptedSocket(refuse(1, 3))
    requests = opened(scripted)

    outcomes = await asyncio.gather(*(requests.submit(deletions(2, 10 * i)) for i in range(3)))

    assert [names(o) for o in outcomes] == [["", "ESRCH"], ["", "ESRCH"], ["", ""]]
    assert [len(messages) for messages in scripted.sent] == [6]


async def test_requests_number_messages_from_one_and_never_reuse_a_number_in_flight() -> None:
    """Sequence numbers run on over sends, and start anew before they would overflow."""
    scripted = ScriptedSocket()
    requests = opened(scripted)
    await requests.submit(deletions(2))
    last = 0xFFFF_FFFF - CHUNK_BYTES // 16  # as many as one send can carry are left
    requests._sequence = last
    await requests.submit(deletions(2))
    await requests.submit(deletions(2))

    assert [[m.sequence for m in messages] for messages in scripted.sent] == [
        [1, 2],
        [last + 1, last + 2],
        [1, 2],
    ]


async def test_requests_of_nothing_send_nothing() -> None:
    """No operation, no outcome, no system call."""
    scripted = ScriptedSocket()

    assert await opened(scripted).submit([]) == ()
    assert scripted.sent == []


@pytest.mark.parametrize("count", [1, 1000])
async def test_requests_that_cannot_be_encoded_harm_nobody(count: int) -> None:
    """A ValueError reaches its own caller, and nothing of his is sent, be it ever so long."""
    scripted = ScriptedSocket()
    requests = opened(scripted)
    bad = [*deletions(count), DeleteSa(SaId("192.0.2.1", -1))]

    before, refused, after = await asyncio.gather(
        requests.submit(deletions(1)),
        requests.submit(bad),
        requests.submit(deletions(2)),
        return_exceptions=True,
    )

    assert (before, after) == ((None,), (None, None))
    assert isinstance(refused, ValueError)
    assert [[m.sequence for m in messages] for messages in scripted.sent] == [[1, 2, 3]]


async def test_requests_of_no_known_kind_harm_nobody() -> None:
    """Any exception of the encoder is its caller's, and the next in line is served."""
    requests = opened(ScriptedSocket())
    nonsense = cast("Operation", object())

    refused, after = await asyncio.gather(
        requests.submit([nonsense]), requests.submit(deletions(1)), return_exceptions=True
    )

    assert isinstance(refused, KeyError)
    assert after == (None,)


# --- what is not known ---------------------------------------------------------------------------


@pytest.mark.parametrize("script", [silent, lossy])
async def test_requests_without_every_answer_are_unknown(script: Script) -> None:
    """A missing fence or a lost answer makes every outcome of the send unknown, not good."""
    scripted = ScriptedSocket(script)
    requests = opened(scripted)

    outcomes = await asyncio.gather(
        requests.submit(deletions(2)), requests.submit(deletions(1)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, OutcomeUnknown]
    assert await requests.submit(deletions(1)) == (None,)


async def test_requests_after_an_overrun_start_clean() -> None:
    """Answers left over from a lost batch are read away and reach no later caller."""

    def many(messages: list[Message], sent: bytes) -> list[Answer]:
        fence = kernel.error(messages[-1].sequence)
        return [overrun(), fence, *(kernel.error(s, errno.EPERM) for s in range(90, 99))]

    scripted = ScriptedSocket(many)
    requests = opened(scripted)
    with pytest.raises(OutcomeUnknown):
        await requests.submit(deletions(3))

    assert scripted.unread == 0


async def test_requests_ignore_answers_to_nobody() -> None:
    """A stray answer with a number that is not in this send changes nothing."""

    def stray(messages: list[Message], sent: bytes) -> list[Answer]:
        return [kernel.error(12345, errno.EPERM), *acknowledge(messages, sent)]

    assert await opened(ScriptedSocket(stray)).submit(deletions(2)) == (None, None)


async def test_requests_with_a_malformed_answer_are_unknown() -> None:
    """An answer that cannot be read may have been the one that mattered."""

    def garbled(messages: list[Message], sent: bytes) -> list[Answer]:
        return [b"\x01\x02\x03", *acknowledge(messages, sent)]

    with pytest.raises(OutcomeUnknown):
        await opened(ScriptedSocket(garbled)).submit(deletions(2))


# --- sends that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EMSGSIZE, errno.ENOBUFS, errno.ECONNREFUSED])
async def test_requests_of_a_refused_send_are_known_not_to_be_done(number: int) -> None:
    """The kernel refuses a send before it reads a message: each operation has that errno."""

    def refused(_messages: list[Message], _sent: bytes) -> list[Answer]:
        raise OSError(number, "refused")

    scripted = ScriptedSocket(refused)
    requests = opened(scripted)

    first, second = await asyncio.gather(
        requests.submit(deletions(2)), requests.submit(deletions(1))
    )

    assert names(first) + names(second) == [errno.errorcode[number]] * 3
    assert await requests.submit(deletions(1)) == (None,)


# --- questions -----------------------------------------------------------------------------------


def tell(sa: ObservedSa) -> Script:
    """Answer a question with an SA, then the acknowledgement."""

    def script(messages: list[Message], sent: bytes) -> list[Answer]:
        (question,) = messages
        head = Head(uapi.XFRM_MSG_NEWSA, sequence=question.sequence)
        return [kernel.sa_message(sa, head), *acknowledge(messages, sent)]

    return script


async def test_requests_give_the_reply_to_a_question() -> None:
    """GETSA by identity returns what the kernel says, and leaves no key in the buffer."""
    sa = observed_sa(7)
    requests = opened(ScriptedSocket(tell(sa)))

    assert await requests.ask(GetSa(sa.id), decode.sa) == sa
    assert kernel.KEY not in requests._in.data
    assert not any(requests._in.data)


async def test_requests_raise_the_refusal_of_a_question() -> None:
    """A question that the kernel refuses raises its error."""
    requests = opened(ScriptedSocket(refuse(0)))

    with pytest.raises(KernelError) as refusal:
        await requests.ask(GetSa(SaId("192.0.2.1", 7)), decode.sa)
    assert refusal.value.name == "ESRCH"


async def test_requests_raise_for_a_reply_that_cannot_be_read() -> None:
    """A reply cut short is neither an object nor its absence."""

    def cut(messages: list[Message], sent: bytes) -> list[Answer]:
        header = struct.pack("=IHHII", 20, 16, 0, messages[0].sequence, 0)
        return [header + bytes(4), *acknowledge(messages, sent)]

    with pytest.raises(MalformedMessage):
        await opened(ScriptedSocket(cut)).ask(GetSa(SaId("192.0.2.1", 7)), decode.sa)


async def test_requests_raise_when_a_question_is_acknowledged_without_a_reply() -> None:
    """An acknowledgement is not an answer to a question."""
    with pytest.raises(OutcomeUnknown):
        await opened(ScriptedSocket()).ask(GetSa(SaId("192.0.2.1", 7)), decode.sa)


# --- callers that leave, sockets that close ------------------------------------------------------


async def test_requests_of_a_cancelled_caller_are_withdrawn_before_the_send() -> None:
    """Who leaves in the turn of his request sends nothing; the others are served."""
    scripted = ScriptedSocket()
    requests = opened(scripted)
    leaver = requests.submit(deletions(2))
    stayer = requests.submit(deletions(1, first=9))
    assert scripted.sent == []
    leaver.cancel()

    assert await stayer == (None,)
    assert [len(messages) for messages in scripted.sent] == [1]
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_requests_wait_for_nobody_after_close() -> None:
    """What waits gets KernelClosed, as does who comes later; closing twice is harmless."""
    scripted = ScriptedSocket()
    requests = opened(scripted)
    waiting = requests.submit(deletions(2))
    requests.close()
    requests.close()

    with pytest.raises(KernelClosed):
        await waiting
    with pytest.raises(KernelClosed):
        await requests.submit(deletions(1))
    with pytest.raises(KernelClosed):
        await requests.ask(GetSa(SaId("192.0.2.1", 7)), decode.sa)
    assert scripted.closed
    assert scripted.sent == []


def take_down(_messages: list[Message], _sent: bytes) -> list[Answer]:
    raise OSError(errno.ENOBUFS, "refused")


@pytest.mark.parametrize("script", [acknowledge, silent, lossy, refuse(0, 1), take_down])
async def test_requests_leave_no_key_behind(script: Script) -> None:
    """What was sent is wiped, whatever came of it."""
    requests = opened(ScriptedSocket(script))
    sa = security_association(pair=(SHA1, AES))
    await asyncio.gather(requests.submit([add_sa(sa), add_sa(sa)]), return_exceptions=True)

    assert not any(requests._out.data)


async def test_requests_leave_no_key_behind_of_what_found_no_room() -> None:
    """Of a set that has to wait for the next send nothing stays in the buffer meanwhile."""
    sent: list[bytes] = []

    def look(messages: list[Message], data: bytes) -> list[Answer]:
        sent.append(bytes(requests._out.data[len(data) :]))
        return acknowledge(messages, data)

    scripted = ScriptedSocket(look, look, look, send_buffer=4608)
    requests = opened(scripted)
    sa = security_association(pair=(SHA1, AES))
    await asyncio.gather(*(requests.submit([add_sa(sa)] * 6) for _ in range(3)))

    assert [len(messages) for messages in scripted.sent] == [6, 6, 6]
    assert not any(map(any, sent))


async def test_requests_fail_loudly_and_not_for_ever_on_a_defect() -> None:
    """An unexpected exception reaches the loop's handler, and the caller does not hang."""

    def defect(_messages: list[Message], _sent: bytes) -> list[Answer]:
        raise ZeroDivisionError

    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(repr(context["exception"])))

    with pytest.raises(OutcomeUnknown):
        await opened(ScriptedSocket(defect)).submit(deletions(1))
    assert told == ["ZeroDivisionError()"]
