"""Offers of tls in profile ims, and the Attach that answers them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sad.core import attaching
from sad.model.association import Association, AssociationState
from sad.model.errors import (
    BadParameter,
    NoCommonMechanism,
    UnknownFlow,
    VerifyMismatch,
)
from sad.model.requests import (
    ConfirmRequest,
    ReleaseRequest,
    ScreenRequest,
)
from tests.support.make import (
    attach_request,
    clear_flow,
    offer_request,
    security_client,
)
from tests.support.shell import USER, Shell
from tests.support.tls_shell import CONNECTION, LISTS, OTHER, attach, confirm, live, shell_of


@pytest.fixture
def shell() -> Shell:
    return shell_of()


# --- what was offered ----------------------------------------------------------------------------


async def test_offer_gives_tls_and_attach_binds_it(shell: Shell) -> None:
    """T33-O-a variant 1: SIP digest has no keys, so it is tls; then the usual way."""
    request = offer_request(security_client=("tls",), integrity_key=None, cipher_key=None)
    offered = await shell.service.offer(USER, request)
    assert offered.security_server == "tls"
    assert offered.association.state is AssociationState.TEMPORARY
    again = await shell.service.offer(USER, request)
    assert again.association == offered.association
    with pytest.raises(BadParameter):
        await confirm(shell, offered.association)

    association = await attach(shell, **LISTS)
    assert association.id == offered.association.id
    assert association.state is AssociationState.ESTABLISHED
    confirmed = await confirm(shell, association)
    assert (confirmed.state, confirmed.offer) == (AssociationState.IN_USE, None)
    assert shell.journal.rows == {confirmed.id: confirmed}


async def test_offer_without_a_connection_expires(shell: Shell) -> None:
    """T33-O.4, GAP-9: reg-await-auth."""
    request = offer_request(security_client=("tls",), integrity_key=None, cipher_key=None)
    await shell.service.offer(USER, request)
    await shell.expire(240)
    assert live(shell) == []
    with pytest.raises(UnknownFlow):
        await attach(shell, **LISTS)


@pytest.mark.parametrize(
    ("mechanisms", "offers", "with_keys", "mechanism"),
    [
        (("ipsec-3gpp", "tls"), ("tls", security_client()), True, "ipsec-3gpp"),
        (("tls", "ipsec-3gpp"), ("tls", security_client()), True, "tls"),
        (("ipsec-3gpp", "tls"), ("tls", security_client()), False, "tls"),
        (("ipsec-3gpp", "tls"), ("TLS", "ipsec-ike"), True, "tls"),
        (("ipsec-3gpp", "tls"), (security_client(),), True, "ipsec-3gpp"),
        (("tls",), (security_client(), "tls"), True, "tls"),
    ],
)
async def test_offer_chooses_by_what_is_offered_and_listed(
    mechanisms: tuple[str, ...], offers: tuple[str, ...], with_keys: bool, mechanism: str
) -> None:
    """T33-S.3-a: the settings' order decides, and whether the 401 has keys."""
    shell = shell_of(ims_mechanisms=mechanisms)
    keys = {} if with_keys else {"integrity_key": None, "cipher_key": None}
    offered = await shell.service.offer(USER, offer_request(security_client=offers, **keys))
    assert offered.association.mechanism == mechanism
    taken = next(i for i, o in enumerate(offers) if o.lower().startswith(mechanism))
    assert {r.offer_index for r in offered.refusals} == set(range(len(offers))) - {taken}
    assert all(r.text and r.rule for r in offered.refusals)


@pytest.mark.parametrize(
    ("mechanisms", "offers"),
    [(("tls",), security_client()), (("ipsec-3gpp",), "tls"), (("ipsec-3gpp", "tls"), "digest")],
)
async def test_offer_takes_nothing_that_is_not_listed(
    mechanisms: tuple[str, ...], offers: str
) -> None:
    """T33-7.3.2.1: with the reason for each."""
    shell = shell_of(ims_mechanisms=mechanisms)
    with pytest.raises(NoCommonMechanism) as refused:
        await shell.service.offer(USER, offer_request(security_client=(offers,)))
    assert len(refused.value.refusals) == 1
    with pytest.raises(NoCommonMechanism):
        shell.service.screen(USER, _screen(offers))


def _screen(*offers: str) -> ScreenRequest:
    return ScreenRequest(
        endpoint="access",
        private_identity="001010000000001@ims.example",
        public_identities=(),
        flow=clear_flow(),
        security_client=offers,
    )


async def test_screen_finds_tls_to_take(shell: Shell) -> None:
    """Before the core is bothered; nothing is made."""
    assert shell.service.screen(USER, _screen("tls")).mechanism == "tls"
    assert live(shell) == []


async def test_a_new_offer_takes_the_place_of_one_without_a_connection(shell: Shell) -> None:
    """Matrix row 8: of the same identity at the same address; nobody else's."""

    async def offer(call_id: str, **changes: Any) -> Association:
        request = offer_request(
            security_client=("tls",),
            integrity_key=None,
            cipher_key=None,
            call_id=call_id,
            **changes,
        )
        return (await shell.service.offer(USER, request)).association

    await offer("first")
    other = await offer("other", private_identity="bob@ims")
    second = await offer("second")
    assert {a.id for a in live(shell)} == {other.id, second.id}


async def test_lists_that_were_changed_bind_nothing(shell: Shell) -> None:
    """R3329-5-c: and the connection gets no association of its own instead."""
    request = offer_request(
        security_client=("tls", "ipsec-3gpp"), integrity_key=None, cipher_key=None
    )
    await shell.service.offer(USER, request)
    for lists in (LISTS, {}, {"security_verify": ("tls",)}):
        with pytest.raises(VerifyMismatch):
            await attach(shell, **lists)
    assert [a.state for a in live(shell)] == [AssociationState.TEMPORARY]


# --- who comes while a connection is bound -------------------------------------------------------

Work = Callable[[Shell, str], Awaitable[object]]


async def _expire(shell: Shell, _id: str) -> None:
    shell.clock.advance(240)
    shell.endings.expire_due()


async def _confirm(shell: Shell, association_id: str) -> None:
    request = ConfirmRequest(association_id=association_id, expires_seconds=600)
    await shell.service.confirm(USER, request)


def _release(**how: Any) -> Work:
    async def release(shell: Shell, association_id: str) -> None:
        await shell.service.release(USER, ReleaseRequest(association_id=association_id, **how))

    return release


@pytest.mark.parametrize(
    ("work", "state"),
    [
        pytest.param(_expire, None, id="expiry"),
        pytest.param(_confirm, AssociationState.IN_USE, id="confirm"),
        pytest.param(_release(), None, id="release"),
        pytest.param(_release(linger_seconds=5), AssociationState.RETIRING, id="linger"),
        pytest.param(_release(whole_registration=True), None, id="whole"),
    ],
)
async def test_who_waits_for_the_binding_changes_what_was_bound(
    shell: Shell, work: Work, state: AssociationState | None
) -> None:
    """T33-O.4: it is another registration by then, and it is that one's lock that is held."""
    request = offer_request(security_client=("tls",), integrity_key=None, cipher_key=None)
    offered = (await shell.service.offer(USER, request)).association
    record, waiting, locked = shell.journal.record, list[asyncio.Future[object]](), list[bool]()

    async def come_meanwhile(writes: Any) -> None:
        shell.journal.record = record_its_change  # type: ignore[method-assign]  # as below
        waiting.append(asyncio.ensure_future(work(shell, offered.id)))
        for _ in range(5):
            await asyncio.sleep(0)
        await record(writes)

    async def record_its_change(writes: Any) -> None:
        locked.append(attaching.registration_of(attach_request()) in shell.shared.busy())
        await record(writes)

    shell.journal.record = come_meanwhile  # type: ignore[method-assign]  # for this moment
    await attach(shell, **LISTS)
    await waiting[0]
    await shell.shared.background.drain()
    assert locked
    assert all(locked)
    assert [a.state for a in live(shell)] == ([] if state is None else [state])
    assert shell.connections.alive == ({OTHER} if state is None else {OTHER, CONNECTION})
    assert shell.journal.rows == {a.id: a for a in live(shell)}
