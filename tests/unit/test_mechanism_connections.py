"""The TCP connections of a set end before its SAs, and nothing about them keeps an SA alive."""

import errno
import itertools
import logging
from typing import Any

import pytest

from netlink.errors import KernelError, OutcomeUnknown
from netlink.tcp import TcpConnection
from sad.core.desired import connections_ending
from sad.model.association import Association, EndReason, Phase
from sad.model.endpoint import Role
from sad.runtime.startup import restore
from tests.support.make import (
    EDGE_ADDRESS,
    UE_ADDRESS,
    association,
    sa_set,
    second_set,
)
from tests.support.shell import (
    USER,
    Shell,
    UntimedTables,
    grant_of,
    release_of,
    second_request,
    ue_request,
)

SERVER, CLIENT, NEW_CLIENT = 5064, 5068, 5069
UE_SERVER, UE_CLIENT, UE_NEW_CLIENT = 6300, 6301, 6302


def between(*pairs: tuple[int, int]) -> set[TcpConnection]:
    """Connections of the default user agent: own port, its port."""
    return {TcpConnection(EDGE_ADDRESS, own, UE_ADDRESS, peer) for own, peer in pairs}


ALL_OF_FIRST = between(*itertools.product((SERVER, CLIENT), (UE_SERVER, UE_CLIENT)))


# --- which ---------------------------------------------------------------------------------------


def test_the_last_set_takes_its_four_port_pairs() -> None:
    """T33-7.1-b, INTEROP-1: whoever opened them, cross pairs too."""
    only = association()
    assert set(connections_ending([only], [])) == ALL_OF_FIRST


def test_an_older_set_leaves_what_the_newer_one_has() -> None:
    """T24-P-10: the pair of the two server ports is the registration's, and stays."""
    old, new = association(), second_set()

    assert set(connections_ending([old], [new])) == ALL_OF_FIRST - between((SERVER, UE_SERVER))
    assert set(connections_ending([new], [old])) == between(
        (NEW_CLIENT, UE_CLIENT + 1), (NEW_CLIENT, UE_SERVER), (SERVER, UE_NEW_CLIENT)
    )


def test_a_phone_that_came_back_keeps_its_connections_of_that_port() -> None:
    """A set with the same port_uc beside it: their common pairs go with the last."""
    old = association()
    new = second_set(sa_set=sa_set(spi_uc=1, spi_us=2, spi_pc=3, spi_ps=4, port_pc=NEW_CLIENT))

    assert set(connections_ending([old], [new])) == between(
        (CLIENT, UE_SERVER), (CLIENT, UE_CLIENT)
    )


@pytest.mark.parametrize(
    ("ue", "pcscf"), [(UE_ADDRESS, EDGE_ADDRESS), ("2001:db8:1::9", "2001:db8:1::1")]
)
def test_connections_are_named_as_this_node_sees_them(ue: str, pcscf: str) -> None:
    """In role ``ue`` the own side is the user agent's."""
    edge = association(sa_set=sa_set(ue_address=ue, pcscf_address=pcscf))
    other = association(sa_set=sa_set(ue_address=ue, pcscf_address=pcscf, role=Role.UE))

    turned = {
        TcpConnection(c.peer_address, c.peer_port, c.local_address, c.local_port)
        for c in connections_ending([edge], [])
    }
    assert set(connections_ending([other], [])) == turned
    assert {c.local_address for c in turned} == {ue}


# --- when ----------------------------------------------------------------------------------------


async def released(shell: Shell, installed: Association) -> Association:
    (ended,) = await shell.service.release(USER, release_of(installed.id))
    return ended


async def test_connections_end_while_all_sas_and_policies_stand() -> None:
    """Design 3: their RST travels in ESP."""
    shell = Shell()
    installed = await shell.install()
    shell.connections.alive = ALL_OF_FIRST | between((SERVER, 9))
    whole, seen = shell.snapshot, []
    shell.connections.looking = lambda: seen.append(shell.snapshot)

    await released(shell, installed)

    assert seen == [whole]
    assert shell.connections.alive == between((SERVER, 9))
    assert shell.snapshot == (set(), {})


async def test_the_shared_connection_ends_with_the_last_set() -> None:
    """Design 7: a re-registration does not cut the connection on which it came."""
    shell = Shell()
    first, second = await shell.install(), await shell.install(second_request())
    shell.connections.alive = between((SERVER, UE_SERVER), (CLIENT, UE_SERVER))

    await released(shell, first)
    assert shell.connections.alive == between((SERVER, UE_SERVER))
    await released(shell, second)
    assert shell.connections.alive == set()


async def test_connections_of_an_expired_and_of_a_lost_set_end() -> None:
    """Every end: expiry, and what the kernel lost."""
    shell = Shell()
    for lose in (False, True):
        installed = await shell.install()
        shell.connections.alive = set(ALL_OF_FIRST)
        if lose:
            del shell.tables.sas[next(iter(shell.tables.sas))]
            with pytest.raises(Exception, match="no longer holds"):
                await shell.service.confirm(USER, grant_of(installed.id, 600))
        else:
            await shell.expire(240)
        assert shell.connections.alive == set()
        assert shell.snapshot == (set(), {})


async def test_connections_of_many_sets_are_asked_for_together() -> None:
    """A mass expiry: their calls are made together, so that they can share what is sent."""
    shell = Shell(tables=UntimedTables(lambda: 1_700_000_000.0))
    for number in range(300):
        await shell.install(ue_request(number))
    before = len(shell.tables.sas)
    seen = []
    shell.connections.looking = lambda: seen.append(len(shell.tables.sas))

    await shell.expire(240)

    assert len(shell.connections.asked) == 300
    assert seen.count(before) > 1  # who ask before the first SA goes


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "gone"},
        {"phase": Phase.REMOVING, "end_reason": EndReason.EXPIRED},
        {"phase": Phase.INSTALLING},
    ],
    ids=["endpoint gone", "removing", "installing"],
)
async def test_connections_of_what_a_start_does_not_adopt_end(changes: dict[str, Any]) -> None:
    """Design 8: the reconciler removes its SAs, so its connections end before that."""
    shell = Shell()
    await shell.install(ue_request(1))
    seen = []
    shell.connections.looking = lambda: seen.append(len(shell.tables.sas))
    shell.connections.alive = set(ALL_OF_FIRST)
    dropped = association(**changes)
    shell.journal.rows[dropped.id] = dropped

    await restore(shell.shared, shell.reconciler, [dropped])

    assert shell.connections.alive == set()
    assert seen == [4]
    assert dropped.id not in shell.journal.rows


async def test_a_start_leaves_the_connections_of_what_it_adopts() -> None:
    """Of a registration whose older set was being removed the newer one lives on."""
    shell = Shell()
    stays = await shell.install()
    shell.connections.alive = between((SERVER, UE_SERVER), (NEW_CLIENT, UE_SERVER))
    rows = [stays, second_set(phase=Phase.REMOVING)]

    await restore(shell.shared, shell.reconciler, rows)

    assert shell.connections.alive == between((SERVER, UE_SERVER))


# --- when it fails -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [KernelError(errno.ENOMEM, "no luck"), OutcomeUnknown("answers were lost"), ValueError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_a_failure_keeps_no_sa_alive(
    broken: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Fail closed: the set goes all the same, and it is said once however many there are."""
    shell = Shell()
    installed = [await shell.install(ue_request(number)) for number in range(3)]
    shell.connections.broken = [broken] * 3
    with caplog.at_level(logging.WARNING):
        for one in installed:
            assert (await released(shell, one)).end_reason is EndReason.RELEASED

    assert shell.snapshot == (set(), {})
    assert not len(shell.shared.table)
    (told,) = [r for r in caplog.records if r.name == "sad.mechanisms.xfrm"]
    assert str(broken) in told.message
    assert installed[0].id in told.message


async def test_a_removal_that_is_repeated_ends_them_again() -> None:
    """Between two attempts the SIP server may have connected anew."""
    shell = Shell()
    installed = await shell.install()
    shell.kernel.fail_message(1, errno.ENOMEM)
    with pytest.raises(Exception, match="ENOMEM"):
        await released(shell, installed)
    shell.connections.alive = set(ALL_OF_FIRST)

    await shell.reconciler.reconcile("test")

    assert shell.connections.alive == set()
    assert not shell.tables.sas
    assert not len(shell.shared.table)
