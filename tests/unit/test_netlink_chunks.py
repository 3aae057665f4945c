"""What goes into one send: as much as buffers hold, no set torn, no order changed."""

import asyncio

import pytest

from netlink import uapi
from netlink.errors import OutcomeUnknown
from netlink.model import AddPolicy, DeleteSa, Operation, SaId
from netlink.requests import CHUNK_BYTES
from tests.support.scripted_socket import ScriptedSocket, opened, refuse, silent
from tests.support.xfrm_values import policy


def deletions(count: int, first: int = 1) -> list[Operation]:
    return [DeleteSa(SaId("192.0.2.1", spi)) for spi in range(first, first + count)]


def policies(count: int) -> list[Operation]:
    return [AddPolicy(policy(port)) for port in range(1, count + 1)]


async def test_requests_never_exceed_a_chunk() -> None:
    """What is more than a chunk goes in several sends, each with a fence of its own."""
    scripted = ScriptedSocket()
    operations = policies(1000)

    outcomes = await opened(scripted).submit(operations)

    assert outcomes == (None,) * 1000
    assert sum(len(messages) for messages in scripted.sent) == 1000
    for messages in scripted.sent:
        assert messages[-1].end <= CHUNK_BYTES
        assert messages[-1].flags & uapi.NLM_F_ACK
        assert not any(m.flags & uapi.NLM_F_ACK for m in messages[:-1])


async def test_requests_of_one_caller_stay_in_one_chunk_where_they_fit() -> None:
    """A set is never torn over two sends because of its neighbours."""
    scripted = ScriptedSocket()
    requests = opened(scripted)
    await asyncio.gather(*(requests.submit(policies(60)) for _ in range(20)))

    assert len(scripted.sent) > 1
    assert all(len(messages) % 60 == 0 for messages in scripted.sent)


async def test_requests_are_as_many_as_the_receive_buffer_can_answer() -> None:
    """Were every message refused, every refusal would still find room."""
    scripted = ScriptedSocket(receive_buffer=64 * 1280)
    await opened(scripted).submit(deletions(1000))

    assert max(len(messages) for messages in scripted.sent) == 64


async def test_requests_are_as_large_as_the_send_buffer_takes() -> None:
    """The kernel refuses a message larger than SO_SNDBUF less its overhead."""
    size = 252  # of one policy
    scripted = ScriptedSocket(send_buffer=18 * size + 31)
    await opened(scripted).submit(policies(100))

    assert [len(messages) for messages in scripted.sent] == [17] * 5 + [15]
    assert {messages[-1].end for messages in scripted.sent} == {17 * size, 15 * size}


async def test_requests_of_a_large_submission_let_others_have_their_turn() -> None:
    """One chunk a turn: the loop runs between the sends."""
    scripted = ScriptedSocket()
    seen: list[int] = []
    task = opened(scripted).submit(policies(2000))
    while not task.done():
        await asyncio.sleep(0)
        seen.append(len(scripted.sent))

    assert await task == (None,) * 2000
    assert set(range(1, len(scripted.sent) + 1)) <= set(seen)


async def test_requests_in_many_chunks_keep_errors_in_place() -> None:
    """Positions count over the whole submission, whichever chunk an operation went in."""
    scripted = ScriptedSocket(refuse(0), refuse(), refuse(2))
    outcomes = await opened(scripted).submit(policies(1400))

    at = [position for position, outcome in enumerate(outcomes) if outcome is not None]
    sizes = [len(messages) for messages in scripted.sent]
    assert at == [0, sizes[0] + sizes[1] + 2]


async def test_requests_after_a_chunk_of_unknown_outcome_are_withheld() -> None:
    """The rest of a submission whose beginning nobody knows is not sent."""
    scripted = ScriptedSocket(silent)
    requests = opened(scripted)

    with pytest.raises(OutcomeUnknown):
        await requests.submit(policies(2000))
    assert await requests.submit(deletions(1)) == (None,)
    assert [len(messages) for messages in scripted.sent[1:]] == [1]
