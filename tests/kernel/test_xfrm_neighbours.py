"""Objects of other programs in the same tables: seen or passed over, never harmed."""

import asyncio
import socket
import struct

from netlink.interface import Counts
from netlink.model import (
    AddPolicy,
    DeletePolicy,
    DeleteSa,
    Direction,
    Mode,
    PolicyAction,
    SaId,
)
from tests.support.contract_world import applied, names
from tests.support.xfrm_values import OWNER, add_sa, policy, security_association
from tests.support.xfrm_world import XfrmWorld

KEYS = "auth hmac(sha1) 0x000102030405060708090a0b0c0d0e0f10111213 enc ecb(cipher_null) ''"
IP_XFRM_POLICY = 17


def bypass_for_socket(opened: socket.socket, direction: Direction) -> None:
    """Give a socket a policy of its own, as IKE daemons do for their port 500."""
    body = bytearray(168)
    struct.pack_into("=H", body, 40, socket.AF_INET)
    body[56 : 56 + 32] = b"\xff" * 32
    body[160] = direction
    opened.setsockopt(socket.IPPROTO_IP, IP_XFRM_POLICY, bytes(body))


async def test_xfrm_dump_tells_tunnel_and_transport_mode_apart(xfrm: XfrmWorld) -> None:
    """An SA in tunnel mode is seen as one, whatever family its selector leaves open."""
    xfrm.ip(f"state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode tunnel {KEYS}")
    xfrm.ip(
        f"state add src 2001:db8::1 dst 2001:db8::2 proto esp spi 2 mode tunnel "
        f"flag af-unspec {KEYS}"
    )
    seen = {sa.id: sa for sa in await xfrm.kernel.dump_sas()}

    assert set(seen) == {SaId("192.0.2.2", 1), SaId("2001:db8::2", 2)}
    assert {sa.mode for sa in seen.values()} == {Mode.TUNNEL}
    assert seen[SaId("2001:db8::2", 2)].selector.source == "::"


async def test_xfrm_dump_passes_over_what_has_no_word(xfrm: XfrmWorld) -> None:
    """A BEET association and the policies of sockets are left out and stop nothing."""
    xfrm.ip(f"state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode beet {KEYS}")
    await applied(xfrm.kernel, add_sa(security_association(2)), AddPolicy(policy()))
    with xfrm.namespace.enter():
        ike = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with ike:
        for direction in (Direction.IN, Direction.OUT):
            bypass_for_socket(ike, direction)
        assert len(xfrm.ip("policy list").split("socket ")) == 3

        assert [sa.id.spi for sa in await xfrm.kernel.dump_sas()] == [2]
        assert [p.id for p in await xfrm.kernel.dump_policies()] == [policy().id]
        assert await xfrm.kernel.count() == Counts(sas=2, policies=1)


async def test_xfrm_policies_of_others_look_like_themselves(xfrm: XfrmWorld) -> None:
    """Prefixes, port masks, protocols, several templates: read as the kernel has them."""
    xfrm.ip(
        "policy add src 10.0.0.0/8 dst 192.0.2.0/24 proto tcp sport 80 dir fwd priority 7 "
        "tmpl src 1.1.1.1 dst 2.2.2.2 proto esp reqid 5 mode tunnel "
        "tmpl src 3.3.3.3 dst 4.4.4.4 proto ah reqid 6 mode transport"
    )
    xfrm.ip("policy add src ::/0 dst 2001:db8::/32 dir in action block")
    tunnel, block = sorted(await xfrm.kernel.dump_policies(), key=lambda p: p.id.direction)[::-1]

    selector = tunnel.id.selector
    assert (selector.source, selector.source_prefix) == ("10.0.0.0", 8)
    assert (selector.destination, selector.destination_prefix) == ("192.0.2.0", 24)
    assert (selector.protocol, selector.source_port, selector.source_port_mask) == (6, 80, 0xFFFF)
    assert (tunnel.id.direction, tunnel.priority) == (Direction.FORWARD, 7)
    assert tunnel.template is not None
    assert (tunnel.template.source, tunnel.template.reqid) == ("1.1.1.1", 5)
    assert tunnel.template.mode is Mode.TUNNEL
    assert (block.action, block.template) == (PolicyAction.BLOCK, None)
    assert block.id.selector.source == "::"


async def test_xfrm_work_of_ours_leaves_the_others_alone(xfrm: XfrmWorld) -> None:
    """Failing and succeeding requests beside foreign objects change none of them."""
    xfrm.ip(f"state add src 192.0.2.1 dst 198.51.100.2 proto esp spi 0x10 mode transport {KEYS}")
    xfrm.ip("policy add src 192.0.2.1/32 dst 198.51.100.2/32 dport 5060 proto udp dir out")
    before = xfrm.ip("state"), xfrm.ip("policy")
    ours = [add_sa(security_association(spi)) for spi in (0x10, 0x11)]
    outcomes = await xfrm.kernel.commit([*ours, AddPolicy(policy(5060))])
    assert names(outcomes) == ["EEXIST", "", ""]
    mine = [sa for sa in await xfrm.kernel.dump_sas() if sa.selector.owner == OWNER]
    await applied(xfrm.kernel, *(DeleteSa(sa.id) for sa in mine), DeletePolicy(policy(5060).id))

    assert (xfrm.ip("state"), xfrm.ip("policy")) == before


async def test_xfrm_dump_under_change_misses_nothing_that_stays(xfrm: XfrmWorld) -> None:
    """While others come and go, every SA that stays is in each dump, once."""
    stay = range(1, 1001)
    assert set(await xfrm.kernel.commit([add_sa(security_association(s)) for s in stay])) == {None}
    stopped = False

    async def come_and_go() -> int:
        rounds = 0
        while not stopped:
            passing = [security_association(0x10000 + i) for i in range(20)]
            await xfrm.foreign.commit([add_sa(sa) for sa in passing])
            await xfrm.foreign.commit([DeleteSa(sa.id) for sa in passing])
            rounds += 1
        return rounds

    others = asyncio.create_task(come_and_go())
    for _ in range(5):
        spis = [sa.id.spi for sa in await xfrm.kernel.dump_sas() if sa.id.spi < 0x10000]
        assert sorted(spis) == list(stay)
    stopped = True
    assert await others > 0
