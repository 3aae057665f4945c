"""Attach, and how associations over TLS connections end, with connections in memory."""

import asyncio
import contextlib
import errno
from typing import Any

import pytest

from netlink.errors import KernelError
from netlink.model import Overrun
from netlink.tcp import ConnectionEnded, ConnectionId
from sad.model.association import AssociationState, EndReason, Phase
from sad.model.endpoint import Profile
from sad.model.errors import (
    BadParameter,
    FlowInUse,
    KernelRefused,
    MechanismUnavailable,
    NoSuchConnection,
    UnknownFlow,
)
from sad.model.requests import (
    ConfirmRequest,
    ReleaseRequest,
    VerifyRequest,
)
from sad.model.views import WatchKind
from sad.runtime.credentials import NoCredentials
from sad.runtime.startup import restore
from tests.support.make import (
    attach_request,
    tls_flow,
)
from tests.support.shell import USER, Shell
from tests.support.tls_shell import (
    CONNECTION,
    OTHER,
    PEER_PORT,
    attach,
    confirm,
    live,
    settle,
    shell_of,
)


@pytest.fixture
def shell() -> Shell:
    return shell_of()


# --- binding -------------------------------------------------------------------------------------


async def test_attach_binds_and_journals(shell: Shell) -> None:
    """Bound to the cookie that the kernel gives, found by its flow, told once."""
    association = await attach(shell, identity="alice.example")

    assert association.tls is not None
    assert association.tls.cookie == shell.connections.name_of(CONNECTION).cookie
    assert association.phase is Phase.INSTALLED
    assert shell.journal.rows[association.id] == association
    assert shell.service.find(USER, tls_flow()).association == association
    assert await attach(shell, identity="alice.example") == association
    assert (await shell.service.attach(USER, attach_request())).closes_connection
    assert live(shell) == [association]


async def test_attach_needs_a_connection(shell: Shell) -> None:
    """Nothing remains of a refusal."""
    shell.connections.alive = set()
    with pytest.raises(NoSuchConnection):
        await attach(shell)
    assert (live(shell), shell.journal.rows) == ([], {})


async def test_attach_of_many_at_once_makes_one(shell: Shell) -> None:
    """Workers of a SIP server ask for the same connection at the same time."""
    made = await asyncio.gather(*(attach(shell) for _ in range(10)))
    assert len({a.id for a in made}) == 1
    assert len(live(shell)) == 1


async def test_attach_on_a_kernel_that_cannot_find_connections(shell: Shell) -> None:
    """It is said, with the way out."""
    shell.connections.can_look_up = False
    with pytest.raises(MechanismUnavailable) as refused:
        await attach(shell)
    assert "tcp_diag" in refused.value.hint


async def test_attach_to_a_connection_that_ends_meanwhile(shell: Shell) -> None:
    """Its notice found nobody: it is looked at again when it is bound, and ends."""
    record = shell.journal.record

    async def slow(writes: Any) -> None:
        await record(writes)
        shell.connections.alive.discard(CONNECTION)

    shell.journal.record = slow  # type: ignore[method-assign]  # for this moment
    with pytest.raises(NoSuchConnection):
        await attach(shell)
    assert live(shell) == []


async def test_attach_of_a_later_connection_between_the_same_ports(shell: Shell) -> None:
    """The notice of the first is late: it ends all the same, before the second is bound."""
    first = await attach(shell)
    shell.connections.programs_close = False
    await shell.connections.destroy([CONNECTION])
    shell.connections.alive.add(CONNECTION)
    second = await attach(shell)

    assert second.id != first.id
    assert live(shell) == [second]
    shell.connections.close_socket(OTHER)  # and the late notice ends nobody
    late = ConnectionId(CONNECTION, first.tls.cookie if first.tls and first.tls.cookie else 0)
    shell.connections.tell(ConnectionEnded(late))
    await settle(shell)
    assert live(shell) == [second]


# --- its end -------------------------------------------------------------------------------------


async def test_the_end_of_the_connection_ends_the_association(shell: Shell) -> None:
    """R3329-2.5: a new agreement is then needed; nobody else's ends."""
    events = shell.service.subscribe(USER)
    assert (await anext(events)).kind is WatchKind.READY
    mine, other = await attach(shell), await attach(shell, flow=tls_flow(peer_port=PEER_PORT + 1))
    shell.connections.close_socket(CONNECTION)
    await settle(shell)

    assert live(shell) == [other]
    assert shell.connections.asked == []
    ended = [e.association async for e in _until_ended(events)]
    assert ended[-1] is not None
    assert (ended[-1].id, ended[-1].end_reason) == (mine.id, EndReason.CONNECTION_CLOSED)
    assert mine.id not in shell.journal.rows


async def _until_ended(events: Any) -> Any:
    async with contextlib.aclosing(events):
        async for event in events:
            yield event
            if event.kind is WatchKind.ENDED:
                return


async def test_expiry_destroys_exactly_its_connection(shell: Shell) -> None:
    """Design 9: by the cookie; the first grant sets the lifetime, whatever was before."""
    mine = await attach(shell, lifetime_seconds=3600)
    await attach(shell, flow=tls_flow(peer_port=PEER_PORT + 1), lifetime_seconds=3600)
    name = shell.connections.name_of(CONNECTION)
    confirmed = await confirm(shell, mine, 60)
    assert confirmed.deadline_at == shell.clock.boottime() + 90
    await shell.expire(89)
    assert shell.connections.alive == {CONNECTION, OTHER}
    await shell.expire(1)

    assert shell.connections.alive == {OTHER}
    assert shell.connections.asked == [(name,)]
    assert [a.id for a in live(shell)] != [mine.id]


async def test_a_refresh_only_lengthens(shell: Shell) -> None:
    """T24-P-11, T33-O.4: a re-REGISTER uses the active session."""
    association = await confirm(shell, await attach(shell), 600)
    assert (await confirm(shell, association, 60)).deadline_at == association.deadline_at
    longer = await confirm(shell, association, 1200)
    assert longer.deadline_at == association.deadline_at + 600
    assert longer.confirmed_at == association.confirmed_at


async def test_an_incomplete_registration_loses_its_connection(shell: Shell) -> None:
    """T33-O.4: after reg-await-auth."""
    await attach(shell)
    await shell.expire(240)
    assert (live(shell), shell.connections.alive) == ([], {OTHER})


async def test_a_release_destroys_it_after_its_linger(shell: Shell) -> None:
    """T24-D-1: the 200 still passes."""
    association = await confirm(shell, await attach(shell))
    request = ReleaseRequest(association_id=association.id, linger_seconds=5)
    (released,) = await shell.service.release(USER, request)
    assert released.state is AssociationState.RETIRING
    with pytest.raises(NoSuchConnection):
        await attach(shell)
    await shell.expire(5)
    assert shell.connections.alive == {OTHER}


async def test_a_connection_that_cannot_be_destroyed_is_tried_again(shell: Shell) -> None:
    """Fail closed: nobody is told that it is gone, and the reconciler comes back to it."""
    association = await attach(shell)
    shell.connections.broken = [KernelError(errno.EPERM)]
    with pytest.raises(KernelRefused):
        await shell.service.release(USER, ReleaseRequest(association_id=association.id))
    assert live(shell) == []
    with pytest.raises(UnknownFlow):
        shell.service.find(USER, tls_flow())
    assert CONNECTION in shell.connections.alive
    await shell.reconciler.reconcile("test")
    assert CONNECTION not in shell.connections.alive
    assert not len(shell.shared.table)


async def test_a_kernel_that_cannot_destroy_leaves_it_to_the_sip_server(shell: Shell) -> None:
    """It ends, its end is told, and the answer had said who closes it."""
    shell.connections.can_destroy = False
    attached = await shell.service.attach(USER, attach_request())
    assert not attached.closes_connection
    await shell.expire(240)
    assert live(shell) == []
    assert CONNECTION in shell.connections.alive


async def test_a_confirm_of_what_has_gone_is_refused(shell: Shell) -> None:
    """The kernel's truth before the caller's: it ends as closed."""
    association = await attach(shell)
    shell.connections.alive.discard(CONNECTION)  # its notice was lost
    with pytest.raises(KernelRefused):
        await confirm(shell, association)
    assert live(shell) == []


# --- comparisons ---------------------------------------------------------------------------------


async def test_lost_notices_are_made_up_for(shell: Shell) -> None:
    """An overrun has the connections compared."""
    mine, other = await attach(shell), await attach(shell, flow=tls_flow(peer_port=PEER_PORT + 1))
    shell.connections.alive.discard(CONNECTION)
    events = shell.service.subscribe(USER)
    async with shell.reconciling(), asyncio.timeout(20):
        assert (await anext(events)).kind is WatchKind.PRESENT
        shell.connections.tell(Overrun())
        ended = [event.association async for event in _until_ended(events)][-1]
    assert ended is not None
    assert ended.id == mine.id
    assert live(shell) == [other]


async def test_what_a_dump_passes_over_is_looked_up(shell: Shell) -> None:
    """A walk over a changing table may miss one: it must not end for that."""
    association = await attach(shell)

    async def dump(_ports: Any) -> list[Any]:
        return []

    shell.connections.dump = dump  # type: ignore[assignment, method-assign]  # passes over one
    report = await shell.reconciler.reconcile("test")
    assert report.ended == 0
    assert live(shell) == [association]


async def test_a_restart_takes_over_what_is_still_connected(shell: Shell) -> None:
    """By equal cookies: another connection in its place is not it."""
    kept = await confirm(shell, await attach(shell))
    gone = await attach(shell, flow=tls_flow(peer_port=PEER_PORT + 1))
    rows = list(shell.journal.rows.values())
    shell.connections.programs_close = False
    await shell.connections.destroy([OTHER])
    shell.connections.alive.add(OTHER)

    later = shell_of()
    later.connections = shell.connections
    later.shared.mechanisms["tls"]._connections = shell.connections  # type: ignore[attr-defined]
    report = await restore(later.shared, later.reconciler, rows)
    assert (report.adopted, report.ended) == (1, 1)
    assert live(later) == [kept]
    assert gone.id not in {a.id for a in live(later)}
    assert OTHER in later.connections.alive


async def test_ipsec_and_tls_are_compared_beside_each_other(shell: Shell) -> None:
    """Neither keeper takes the other's associations for lost or for strays."""
    tls = await attach(shell)
    ipsec = await shell.install()
    await shell.reconciler.reconcile("the block policies")
    report = await shell.reconciler.reconcile("test")
    assert (report.adopted, report.removed, report.repaired, report.ended) == (2, 0, 0, 0)
    assert {a.id for a in live(shell)} == {tls.id, ipsec.id}


# --- who was where before ------------------------------------------------------------------------


async def test_a_phone_that_connects_anew_has_left_its_connection(shell: Shell) -> None:
    """T33-O.4, T33-7.5-a: at the first grant over the new one; its old one is destroyed."""
    first = await confirm(shell, await attach(shell))
    second = await attach(shell, flow=tls_flow(peer_port=PEER_PORT + 1))
    assert {a.id for a in live(shell)} == {first.id, second.id}
    await confirm(shell, second)

    assert [a.id for a in live(shell)] == [second.id]
    assert shell.connections.alive == {OTHER}


@pytest.mark.parametrize(
    "changes",
    [
        {"identity_at_one_address": False},
        {"profile": Profile.RFC3329, "security_server": "tls", "ims_mechanisms": ()},
    ],
)
async def test_phones_that_share_a_user_keep_their_connections(changes: dict[str, Any]) -> None:
    """By setting, and where a user name says nothing of phones."""
    shell = shell_of(**changes)
    first = await confirm(shell, await attach(shell))
    second = await confirm(shell, await attach(shell, flow=tls_flow(peer_port=PEER_PORT + 1)))
    assert {a.id for a in live(shell)} == {first.id, second.id}


async def test_another_user_over_a_registered_connection_is_refused(shell: Shell) -> None:
    """T24-P-4: and the one who holds it is not disturbed."""
    holder = await confirm(shell, await attach(shell))
    with pytest.raises(FlowInUse):
        await attach(shell, private_identity="mallory@ims")
    assert live(shell) == [holder]


async def test_a_grant_counts_for_whom_it_was_given(shell: Shell) -> None:
    """T24-P-4, T33-O-b: another identity that was named before the 200 gets nothing of it.

    Neither the connection, nor the end of what its owner has elsewhere.
    """
    owner = await confirm(shell, await attach(shell, private_identity="victim@ims"))
    mine = await attach(
        shell, private_identity="mallory@ims", flow=tls_flow(peer_port=PEER_PORT + 1)
    )
    named = await attach(
        shell, private_identity="victim@ims", flow=tls_flow(peer_port=PEER_PORT + 1)
    )
    assert (named.id, named.private_identity) == (mine.id, "victim@ims")

    granted = await shell.service.confirm(
        USER,
        ConfirmRequest(
            association_id=mine.id, expires_seconds=600, private_identity="mallory@ims"
        ),
    )

    assert (granted.private_identity, granted.registered) == ("mallory@ims", True)
    assert shell.journal.rows[mine.id].private_identity == "mallory@ims"
    assert {a.id for a in live(shell)} == {owner.id, mine.id}
    with pytest.raises(FlowInUse):
        await attach(shell, private_identity="victim@ims", flow=tls_flow(peer_port=PEER_PORT + 1))


async def test_a_grant_to_somebody_else_confirms_nothing(shell: Shell) -> None:
    """T24-P-4: once it is registered its identity is fixed."""
    before = await confirm(shell, await attach(shell))
    with pytest.raises(BadParameter, match="privateIdentity"):
        await shell.service.confirm(
            USER,
            ConfirmRequest(
                association_id=before.id, expires_seconds=900, private_identity="mallory@ims"
            ),
        )
    assert live(shell) == [before]


async def test_verify_is_not_for_tls_connections(shell: Shell) -> None:
    """Attach compares what came over TLS."""
    await attach(shell)
    request = VerifyRequest(flow=tls_flow(), security_verify=("tls",), security_client=("tls",))
    with pytest.raises(UnknownFlow):
        shell.service.verify(USER, request)


async def test_a_revoked_credential_ends_what_was_agreed_with_it(shell: Shell) -> None:
    """Its connections are destroyed: whoever connects again sees another certificate."""
    mine = await attach(shell, credential="first")
    later = await attach(shell, flow=tls_flow(peer_port=PEER_PORT + 1), credential="second")
    shell.service.credential_revoked("elsewhere", "first")
    await settle(shell)
    assert len(live(shell)) == 2
    events = shell.service.subscribe(USER)
    assert (await anext(events)).kind is WatchKind.PRESENT
    shell.service.credential_revoked("access", "first")
    await settle(shell)

    assert live(shell) == [later]
    assert shell.connections.alive == {OTHER}
    ended = [event.association async for event in _until_ended(events)][-1]
    assert ended is not None
    assert (ended.id, ended.end_reason) == (mine.id, EndReason.CREDENTIAL_REVOKED)


async def test_a_connection_of_an_unknown_credential_ends_with_any(shell: Shell) -> None:
    """Fail closed: nobody has said which key it was."""
    await attach(shell)
    shell.service.credential_revoked("access", "first")
    await settle(shell)
    assert live(shell) == []


class Revoked(NoCredentials):
    """Keeps a set that was revoked; a SIP server goes on with it until it has another."""

    def is_revoked(self, endpoint: str, generation: str | None) -> bool:
        return endpoint == "access" and generation in (None, "first")


@pytest.mark.parametrize("credential", [None, "first"])
async def test_nothing_is_bound_to_what_a_revoked_key_protects(
    shell: Shell, credential: str | None
) -> None:
    """Its connection ends: whoever has the key may sit in the middle of it."""
    shell.shared.credentials = Revoked()

    with pytest.raises(MechanismUnavailable, match="revoked"):
        await attach(shell, credential=credential)

    assert (live(shell), shell.connections.alive) == ([], {OTHER})
    await attach(shell, flow=tls_flow(peer_port=PEER_PORT + 1), credential="second")


async def test_the_daemon_says_whether_it_can_end_connections(shell: Shell) -> None:
    """Sadctl status."""
    assert shell.service.status().ends_connections
