"""NATs that move are followed: the kernel, the journal, and what is told."""

import errno
from typing import Any

import pytest

from netlink.model import NatMapping, SaId
from sad.model.association import Association
from sad.model.encapsulation import UdpEncapsulation
from sad.model.requests import ListFilter
from sad.model.views import WatchKind
from sad.runtime.mappings import NatMappings
from tests.support.make import EDGE_ADDRESS, endpoint
from tests.support.shell import Shell, second_request, take

NAT, PRIVATE = "203.0.113.7", "192.168.1.10"
BEHIND = endpoint(nat_port=4500, nat_networks=("192.168.0.0/16",))
UDP = UdpEncapsulation(peer_address=NAT, peer_port=0)
VALUES: dict[str, Any] = {"ue_address": PRIVATE, "encapsulation": UDP}


def told(association: Association, port: int, address: str = NAT) -> NatMapping:
    spi = association.sa_set.spi_ps
    return NatMapping(id=SaId(EDGE_ADDRESS, spi), address=address, port=port)


def ports_of(shell: Shell, association: Association) -> list[tuple[int, int]]:
    """Source and destination port of each SA in the kernel, inbound ones first."""
    s = association.sa_set
    ids = [SaId(EDGE_ADDRESS, i) for i in s.local_spis] + [SaId(NAT, i) for i in s.peer_spis]
    found = [shell.tables.sas[i].sa.encapsulation for i in ids]
    return [(e.source_port, e.destination_port) for e in found if e is not None]


def known_port(shell: Shell, association: Association) -> int:
    now = shell.shared.table.get(association.id)
    assert now is not None
    assert now.sa_set.encapsulation is not None
    assert shell.journal.rows[association.id] == now
    return now.sa_set.encapsulation.peer_port


async def behind_nat(**changes: Any) -> tuple[Shell, NatMappings, Association]:
    shell = Shell(endpoints={"access": BEHIND})
    association = await shell.install(**(VALUES | changes))
    return shell, NatMappings(shell.shared), association


async def test_mapping_is_learnt_and_followed() -> None:
    """T33-M-b: in the kernel both ways, in the journal, and told; the limits stay."""
    shell, mappings, association = await behind_nat(lifetime_seconds=600)
    assert ports_of(shell, association) == [(0, 4500)] * 2 + [(4500, 4500)] * 2
    await shell.reconciler.reconcile("the endpoint's block policies")
    limits = shell.ends_at(association)
    events = shell.shared.watch.subscribe(lambda: shell.shared.table.matching(ListFilter()))
    await take(events, 2)

    for port in (61234, 61235):
        shell.clock.advance(10)
        mappings.notice(told(association, port))
        await shell.shared.background.drain()
        assert ports_of(shell, association) == [(port, 4500)] * 2 + [(4500, port)] * 2
        assert known_port(shell, association) == port
        assert shell.ends_at(association) == limits
        (event,) = await take(events, 1)
        assert event.kind is WatchKind.CHANGED
    report = await shell.reconciler.reconcile("test")
    assert (report.adopted, report.repaired, report.ended) == (1, 0, 0)


async def test_mapping_of_many_packets_is_followed_once() -> None:
    """The kernel tells of each packet: one change for all, and the last port counts."""
    shell, mappings, association = await behind_nat()
    before = sum(shell.tables.messages.values())
    for port in (61234, 61234, 61235, 61235):
        mappings.notice(told(association, port))
    await shell.shared.background.drain()
    after = sum(shell.tables.messages.values())
    mappings.notice(told(association, 61235))
    await shell.shared.background.drain()

    assert known_port(shell, association) == 61235
    assert after - before == 8  # an origin and an update for each SA
    assert sum(shell.tables.messages.values()) == after


async def test_mapping_moves_every_set_of_the_user_agent() -> None:
    """They share one socket and so one port of the NAT."""
    shell, mappings, association = await behind_nat(lifetime_seconds=600)
    newer = await shell.install(second_request(lifetime_seconds=600, **VALUES))
    mappings.notice(told(newer, 61234))
    await shell.shared.background.drain()

    assert known_port(shell, association) == known_port(shell, newer) == 61234


async def test_mapping_of_another_address_is_not_followed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """T33-7.1-c: a set stays with the address of its REGISTER; it is said once."""
    shell, mappings, association = await behind_nat()
    with caplog.at_level("WARNING"):
        for _ in range(3):
            mappings.notice(told(association, 61234, "198.51.100.9"))
        await shell.shared.background.drain()

    assert known_port(shell, association) == 0
    assert len([r for r in caplog.records if "198.51.100.9" in r.message]) == 1


async def test_mapping_of_somebody_else_changes_nothing() -> None:
    """An SA that is not ours, and one of ours without a NAT."""
    shell, mappings, association = await behind_nat(encapsulation=None)
    before = shell.snapshot
    mappings.notice(told(association, 61234))
    mappings.notice(NatMapping(id=SaId(EDGE_ADDRESS, 4711), address=NAT, port=1))
    await shell.shared.background.drain()

    assert shell.snapshot == before


async def test_mapping_that_the_kernel_refuses_is_mended() -> None:
    """What the journal knows is brought about by the next comparison."""
    shell, mappings, association = await behind_nat(lifetime_seconds=600)
    shell.kernel.fail_message(2, errno.ENOMEM)
    mappings.notice(told(association, 61234))
    await shell.shared.background.drain()
    assert known_port(shell, association) == 61234
    assert shell.shared.problem is not None

    await shell.reconciler.reconcile("test")
    assert ports_of(shell, association) == [(61234, 4500)] * 2 + [(4500, 61234)] * 2
