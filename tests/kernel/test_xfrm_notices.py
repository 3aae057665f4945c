"""Notices of a real kernel: nothing is lost in silence, whoever caused it."""

import socket
from collections.abc import Callable

from netlink.events import EventStream
from netlink.model import (
    AddPolicy,
    DeleteSa,
    Overrun,
    PolicyAdded,
    PolicyDeleted,
    SaAdded,
    SaDeleted,
    SadFlushed,
    SaExpired,
    SaId,
    SpdFlushed,
)
from tests.support import eye
from tests.support.contract_world import applied
from tests.support.event_sink import EventSink
from tests.support.namespaces import Namespace, connect
from tests.support.xfrm_values import add_sa, policy, security_association
from tests.support.xfrm_world import XfrmWorld


async def test_xfrm_overrun_is_an_event_and_the_stream_goes_on(xfrm: XfrmWorld) -> None:
    """More notices than the buffer holds: what was kept, one Overrun, and then the next ones."""
    sink = EventSink()
    with xfrm.namespace.enter():
        stream = EventStream(sink.take, buffer_bytes=2048)
    await applied(xfrm.kernel, *(AddPolicy(policy(port)) for port in range(1, 301)))
    await sink.wait_for(Overrun())
    assert 0 < sink.events.count(Overrun()) < 10
    assert len(sink.events) < 300

    await applied(xfrm.kernel, AddPolicy(policy(9999)))
    await sink.wait_for(PolicyAdded(policy(9999).id, xfrm.kernel.port_id))
    stream.close()
    # The listener with a buffer of the usual size missed nothing.
    await xfrm.sink.wait_for_count(301)
    assert Overrun() not in xfrm.events


async def test_xfrm_burst_of_thousands_fits_the_usual_buffer(xfrm: XfrmWorld) -> None:
    """5000 notices that nobody reads meanwhile all arrive, in order."""
    ports = range(1, 5001)
    await applied(xfrm.kernel, *(AddPolicy(policy(port)) for port in ports))
    await xfrm.sink.wait_for_count(5000, patience=60)

    port_id = xfrm.kernel.port_id
    assert xfrm.events == [PolicyAdded(policy(port).id, port_id) for port in ports]


async def test_xfrm_flushes_of_others_are_told(xfrm: XfrmWorld) -> None:
    """``ip xfrm state flush`` and ``policy flush`` say that all is gone, and not by us."""
    await applied(xfrm.kernel, add_sa(security_association()), AddPolicy(policy()))
    xfrm.ip("state flush")
    xfrm.ip("policy flush")
    await xfrm.sink.wait_for_count(4)

    assert [type(event) for event in xfrm.events[2:]] == [SadFlushed, SpdFlushed]
    flushed = [e for e in xfrm.events if isinstance(e, SadFlushed | SpdFlushed)]
    assert all(event.port_id != xfrm.kernel.port_id for event in flushed)
    assert await xfrm.kernel.dump_sas() == []


async def test_xfrm_what_one_has_done_oneself_takes_no_room(xfrm: XfrmWorld) -> None:
    """Thousands of own endings are no reason for a comparison; somebody else's hand is."""
    sink = EventSink()
    with xfrm.namespace.enter():
        stream = EventStream(sink.take, buffer_bytes=8192, ignored_port=xfrm.kernel.port_id)
    for spi in range(0x1000, 0x1040):
        await applied(xfrm.kernel, add_sa(security_association(spi)))
    other = security_association(0x200)
    await applied(xfrm.foreign, add_sa(other), DeleteSa(SaId(other.id.destination, 0x1000)))
    await sink.wait_for_count(2)
    stream.close()

    assert [(type(e), getattr(e, "port_id", None)) for e in sink.events] == [
        (SaAdded, xfrm.foreign.port_id),
        (SaDeleted, xfrm.foreign.port_id),
    ]


async def test_xfrm_deletion_by_index_names_the_policy(xfrm: XfrmWorld) -> None:
    """Somebody deletes one of our policies by its handle: the notice still says which one."""
    await applied(xfrm.kernel, AddPolicy(policy()))
    (seen,) = await xfrm.kernel.dump_policies()
    xfrm.ip(f"policy delete dir out index {seen.index}")
    await xfrm.sink.wait_for_count(2)

    (deleted,) = xfrm.events[1:]
    assert isinstance(deleted, PolicyDeleted)
    assert deleted.id == policy().id


async def test_xfrm_soft_limits_are_told_apart(xfrm: XfrmWorld) -> None:
    """A soft limit is no end: the association is still there after its notice."""
    xfrm.ip(
        "state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x77 mode transport "
        "auth hmac(sha1) 0x000102030405060708090a0b0c0d0e0f10111213 enc ecb(cipher_null) '' "
        "limit time-soft 1 limit time-hard 1000"
    )
    sa_id = SaId("192.0.2.2", 0x77)
    await xfrm.wait_for(SaExpired(sa_id, 0, hard=False))

    assert await xfrm.kernel.get_sa(sa_id) is not None


async def test_xfrm_listening_creates_no_larval_associations(
    xfrm: XfrmWorld, netns: Callable[[str], Namespace]
) -> None:
    """Nobody joins ACQUIRE: a packet without an SA is dropped and leaves nothing in the SAD."""
    connect(xfrm.namespace, netns("ue"), ("192.0.2.1/24", "192.0.2.2/24"), None)
    xfrm.namespace.run(["ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.2"])
    await applied(xfrm.kernel, AddPolicy(policy(5060)))
    with xfrm.namespace.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("192.0.2.1", 0))
        sender.sendto(b"REGISTER", ("198.51.100.2", 5060))

    assert eye.statistics(xfrm.namespace)["XfrmOutNoStates"] == 1
    assert await xfrm.kernel.dump_sas() == []


async def test_xfrm_notices_of_both_families_carry_the_owner(xfrm: XfrmWorld) -> None:
    """The tag of the selector is in every notice."""
    for version, owner in ((4, 0x11), (6, 0x22)):
        sa = security_association(version=version, owner=owner)
        await applied(xfrm.kernel, add_sa(sa))
        await xfrm.wait_for(SaAdded(sa.id, owner, xfrm.kernel.port_id))
