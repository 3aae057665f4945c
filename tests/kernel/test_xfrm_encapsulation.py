"""ESP in UDP on a real kernel: the port of a NAT is told, learnt, and followed."""

import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator

import pytest

from netlink.events import EventStream
from netlink.kernel import KernelIpsec
from netlink.model import (
    AddPolicy,
    Direction,
    Encapsulation,
    Mode,
    NatMapping,
    Policy,
    PolicyAction,
    PolicyAdded,
    PolicyId,
    SaId,
    SecurityAssociation,
    ShortenSa,
    Template,
)
from tests.support.contract_world import applied
from tests.support.encapsulated import encapsulating_socket
from tests.support.event_sink import EventSink
from tests.support.namespaces import Namespace
from tests.support.pair import EDGE, UE, two_ends
from tests.support.xfrm_values import NULL, SHA1, add_sa, full_prefix, policy, selector

#: Inside the tunnel: what the UE calls itself behind its NAT.
PRIVATE = {4: "192.168.7.2", 6: "fd00:7::2"}
EDGE_PORT, UE_PORT = 5064, 6802
IN_SPI, OUT_SPI = 0x1111, 0x2222
FIRST_PORT, LATER_PORT = 51001, 51002
ANSWER_SECONDS = 5.0


def udp(source_port: int, destination_port: int) -> Encapsulation:
    return Encapsulation(source_port=source_port, destination_port=destination_port)


def tunnel(version: int, spi: int, ports: Encapsulation) -> SecurityAssociation:
    """The SA to the edge, or with OUT_SPI that from it."""
    inner, outer = (PRIVATE[version], EDGE[version]), (UE[version], EDGE[version])
    if spi == OUT_SPI:
        inner, outer = inner[::-1], outer[::-1]
    return SecurityAssociation(
        id=SaId(outer[1], spi),
        source=outer[0],
        reqid=spi,
        selector=selector(*inner),
        integrity=SHA1,
        encryption=NULL,
        replay_window=64,
        hard_add_seconds=600,
        mode=Mode.TUNNEL,
        encapsulation=ports,
    )


def demand(sa: SecurityAssociation, direction: Direction) -> Policy:
    return Policy(
        id=PolicyId(direction, sa.selector),
        action=PolicyAction.ALLOW,
        priority=1000,
        template=Template(
            source=sa.source, destination=sa.id.destination, reqid=sa.reqid, mode=Mode.TUNNEL
        ),
    )


def bound(namespace: Namespace, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace.enter():
        opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.bind((address, port))
    opened.settimeout(ANSWER_SECONDS)
    return opened


@contextlib.asynccontextmanager
async def kernel_of(namespace: Namespace) -> AsyncIterator[KernelIpsec]:
    with namespace.enter():
        kernel = await KernelIpsec.open()
    try:
        yield kernel
    finally:
        kernel.close()


@pytest.mark.parametrize("version", [4, 6])
async def test_xfrm_mapping_is_told_and_followed(version: int) -> None:
    """T33-M-b: each packet from a port that an SA has not is told; written to it, none more is.

    Packets pass all the while, and those to the UE go where they were last said to go.
    """
    private = PRIVATE[version]
    with contextlib.ExitStack() as stack:
        ends = stack.enter_context(two_ends())
        edge, ue = ends.edge, ends.ue
        host = f"{private}/{full_prefix(private)}"
        ue.run(["ip", "address", "add", host, "dev", "lo", *(["nodad"] if version == 6 else [])])
        edge.run(["ip", "route", "add", private, "dev", ends.cable.a])
        for namespace, address, port in (
            (edge, EDGE[version], 4500),
            (ue, UE[version], FIRST_PORT),
            (ue, UE[version], LATER_PORT),
        ):
            stack.enter_context(encapsulating_socket(namespace, address, port))
        at_edge = stack.enter_context(bound(edge, EDGE[version], EDGE_PORT))
        at_ue = stack.enter_context(bound(ue, private, UE_PORT))
        sink = EventSink()
        with edge.enter():
            stack.callback(EventStream(sink.take).close)
        async with kernel_of(edge) as edge_kernel, kernel_of(ue) as ue_kernel:
            ue_out = tunnel(version, IN_SPI, udp(FIRST_PORT, 4500))
            ue_in = tunnel(version, OUT_SPI, udp(4500, FIRST_PORT))
            edge_in = tunnel(version, IN_SPI, udp(0, 4500))
            edge_out = tunnel(version, OUT_SPI, udp(4500, 0))
            for kernel, sa, direction in (
                (ue_kernel, ue_out, Direction.OUT),
                (ue_kernel, ue_in, Direction.IN),
                (edge_kernel, edge_in, Direction.IN),
                (edge_kernel, edge_out, Direction.OUT),
            ):
                await applied(kernel, add_sa(sa), AddPolicy(demand(sa, direction)))

            async def follow(port: int) -> None:
                """One packet up, what is told of it, and an answer that arrives there."""
                told = NatMapping(id=edge_in.id, address=UE[version], port=port)
                at_ue.sendto(b"up", (EDGE[version], EDGE_PORT))
                assert at_edge.recv(100) == b"up"
                await sink.wait_for(told, patience=30)
                moved_in = dataclasses.replace(edge_in, encapsulation=udp(port, 4500))
                moved_out = dataclasses.replace(edge_out, encapsulation=udp(4500, port))
                await applied(edge_kernel, ShortenSa(moved_in), ShortenSa(moved_out))
                at_edge.sendto(b"down", (private, UE_PORT))
                assert at_ue.recv(100) == b"down"
                at_ue.sendto(b"again", (EDGE[version], EDGE_PORT))
                assert at_edge.recv(100) == b"again"
                # Had it been told of, that would come before what is done after it.
                fence = policy(port)
                await applied(edge_kernel, AddPolicy(fence))
                await sink.wait_for(PolicyAdded(fence.id, edge_kernel.port_id), patience=30)
                assert sink.events.count(told) == 1

            await follow(FIRST_PORT)
            rebound = dataclasses.replace(ue_out, encapsulation=udp(LATER_PORT, 4500))
            await applied(ue_kernel, ShortenSa(rebound))
            await follow(LATER_PORT)
