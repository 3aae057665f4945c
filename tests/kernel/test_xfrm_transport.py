"""The request socket against a real kernel that loses answers, ends batches, or refuses."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from netlink.errors import KernelError, OutcomeUnknown
from netlink.kernel import KernelIpsec
from netlink.model import AddPolicy, DeletePolicy, DeleteSa
from netlink.requests import RequestSocket
from netlink.sockets import open_socket
from tests.support.contract_world import applied, names
from tests.support.namespaces import Namespace
from tests.support.xfrm_values import add_sa, policy, security_association
from tests.support.xfrm_world import XfrmWorld

NOBODY = 65534


class WrongLength(socket.socket):
    """Spoils the length of the second message of the next send."""

    spoil = True

    def send(self, *arguments: Any) -> int:
        data = bytearray(arguments[0])
        if self.spoil:
            self.spoil = False
            (first,) = struct.unpack_from("=I", data, 0)
            struct.pack_into("=I", data, first, 3)
        return super().send(data)


async def test_xfrm_lost_answers_are_noticed(xfrm: XfrmWorld) -> None:
    """Refusals that found no room make the outcome unknown; the socket serves on."""
    with xfrm.namespace.enter():
        opened = open_socket(1 << 20)
    requests = RequestSocket(opened)
    # The room is taken away behind the back of whoever counts with it.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    with pytest.raises(OutcomeUnknown):
        await requests.submit([DeleteSa(security_association(s).id) for s in range(1, 201)])

    assert await requests.submit([AddPolicy(policy())]) == (None,)
    requests.close()


async def test_xfrm_batch_that_ended_in_silence_is_noticed(xfrm: XfrmWorld) -> None:
    """The kernel drops the rest after a bad length and says nothing; the fence tells."""
    with xfrm.namespace.enter():
        requests = RequestSocket(WrongLength(fileno=open_socket(1 << 20).detach()))
    with pytest.raises(OutcomeUnknown):
        await requests.submit([AddPolicy(policy(port)) for port in (1, 2, 3)])

    assert [p.id for p in await xfrm.kernel.dump_policies()] == [policy(1).id]
    assert await requests.submit([DeletePolicy(policy(1).id)]) == (None,)
    requests.close()


@pytest.mark.parametrize("size", [4608, 16384])
async def test_xfrm_small_send_buffers_need_more_sends(xfrm: XfrmWorld, size: int) -> None:
    """Whatever SO_SNDBUF is, no send is refused as too long."""
    with xfrm.namespace.enter():
        opened = open_socket(1 << 20)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size // 2)
    requests = RequestSocket(opened)

    outcomes = await requests.submit([AddPolicy(policy(port)) for port in range(1, 501)])
    assert set(outcomes) == {None}
    assert (await xfrm.kernel.count()).policies == 500
    requests.close()


async def test_xfrm_cancelled_caller_of_a_long_commit_stops_it(xfrm: XfrmWorld) -> None:
    """A commit of many chunks ends where its caller left, and harms nobody behind it."""
    operations = [AddPolicy(policy(port)) for port in range(1, 5001)]
    leaver = xfrm.kernel.commit(operations)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    await applied(xfrm.kernel, AddPolicy(policy(9999)))

    left = (await xfrm.kernel.count()).policies
    assert 1 < left < 5001


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_xfrm_without_the_capability_everything_is_refused(xfrm: XfrmWorld) -> None:
    """Without CAP_NET_ADMIN each operation is EPERM, as are questions and dumps; opening works."""
    with xfrm.namespace.enter(), as_nobody():
        powerless = await KernelIpsec.open()
        outcomes = await powerless.commit([add_sa(security_association()), AddPolicy(policy())])
        assert names(outcomes) == ["EPERM", "EPERM"]
        for request in (
            powerless.dump_sas(),
            powerless.get_policy(policy().id),
            powerless.count(),
        ):
            with pytest.raises(KernelError) as refusal:
                await request
            assert refusal.value.errno == errno.EPERM
        powerless.close()
    assert (await xfrm.kernel.count()).policies == 0


async def test_xfrm_is_opened_in_the_namespace_of_the_thread(netns: Any) -> None:
    """Two namespaces have tables of their own; later work stays where the sockets were opened."""
    kernels = []
    namespaces: list[Namespace] = [netns("one"), netns("two")]
    for namespace in namespaces:
        with namespace.enter():
            kernels.append(await KernelIpsec.open())
    one, two = kernels
    await applied(one, AddPolicy(policy()))

    assert [len(await kernel.dump_policies()) for kernel in kernels] == [1, 0]
    assert await two.get_policy(policy().id) is None
    for kernel in kernels:
        kernel.close()
