"""Offer over the shell: one answer for one REGISTER, all or nothing, nobody else's set."""

import asyncio
import errno
from typing import Any

import pytest

from sad.model.association import AssociationState
from sad.model.errors import (
    BadHeader,
    BadParameter,
    Busy,
    FlowInUse,
    JournalUnavailable,
    KernelRefused,
    LimitExceeded,
    NoCommonMechanism,
    NoSuchAssociation,
    NotPermitted,
    SadError,
    UnknownFlow,
)
from sad.model.views import DaemonState
from sad.runtime.startup import restore
from tests.support.agreeing import (
    flow_of,
    re_offer,
    registered,
    screen_request,
    verify_request,
)
from tests.support.make import (
    clear_flow,
    offer_request,
    security_client,
)
from tests.support.shell import OPERATOR, STRANGER, USER, Shell, grant_of, release_of, until

State = AssociationState


# --- offer ---------------------------------------------------------------------------------------


async def test_an_offer_is_in_force_and_remembered_before_its_answer() -> None:
    """Design 3, T33-H-g: 4 SAs, 10 policies, 240 s; both lists are journalled, no keys are."""
    shell = Shell()
    request = offer_request()

    offered = await shell.service.offer(USER, request)

    a = offered.association
    assert (a.state, a.deadline_at) == (State.TEMPORARY, 340.0)
    assert [len(part) for part in shell.snapshot] == [4, 10]
    assert shell.journal.rows == {a.id: a}
    assert a.offer is not None
    assert a.offer.security_server == offered.security_server
    assert a.offer.security_client == security_client()
    assert f"spi-c={a.sa_set.spi_pc};spi-s={a.sa_set.spi_ps}" in offered.security_server
    assert request.integrity_key is not None
    assert request.integrity_key.reveal() == bytes(16)


async def test_a_repeated_offer_gets_the_first_answer() -> None:
    """Design 3: keyed by Call-ID, CSeq and branch; also in flight, and after a restart."""
    shell = Shell()
    with shell.kernel_held():
        calls = [
            asyncio.ensure_future(shell.service.offer(USER, offer_request())) for _ in range(3)
        ]
        await until(lambda: shell.kernel.waiting > 0)
    first, *others = await asyncio.gather(*calls)
    later = await shell.service.offer(USER, offer_request())
    life = Shell(journal=shell.journal, tables=shell.tables, clock=shell.clock)
    await restore(life.shared, life.reconciler, list(shell.journal.rows.values()))

    restarted = await life.service.offer(USER, offer_request())

    assert [*others, later, restarted] == [first] * 4
    assert len(shell.tables.sas) == 4


async def test_an_offer_whose_callers_have_all_left_is_rolled_back() -> None:
    """Design 3: the 401 never leaves, so nothing may stay."""
    shell = Shell()
    with shell.kernel_held():
        call = asyncio.ensure_future(shell.service.offer(USER, offer_request()))
        await until(lambda: shell.kernel.waiting > 0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await shell.shared.background.drain()

    assert shell.snapshot == (set(), {})
    assert not shell.journal.rows
    assert len(shell.shared.table.pending.unprotected) == 0
    await shell.service.offer(USER, offer_request())


@pytest.mark.parametrize("leaver", [0, 1])
async def test_an_offer_that_somebody_still_waits_for_stays(leaver: int) -> None:
    """Whoever of the two leaves, the other is answered and the set stands."""
    shell = Shell()
    with shell.kernel_held():
        calls = [
            asyncio.ensure_future(shell.service.offer(USER, offer_request())) for _ in range(2)
        ]
        await until(lambda: shell.kernel.waiting > 0)
        calls.pop(leaver).cancel()
        await asyncio.sleep(0)
    offered = await calls[0]
    await shell.shared.background.drain()

    assert shell.shared.table.get(offered.association.id) == offered.association
    assert len(shell.tables.sas) == 4


async def test_a_repetition_after_all_have_left_gets_a_set_that_stays() -> None:
    """What is being rolled back is no answer for whoever comes meanwhile."""
    shell = Shell()
    with shell.kernel_held():
        call = asyncio.ensure_future(shell.service.offer(USER, offer_request()))
        await until(lambda: shell.kernel.waiting > 0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        again = asyncio.ensure_future(shell.service.offer(USER, offer_request()))
        await asyncio.sleep(0)
    offered = await again
    await shell.shared.background.drain()

    assert shell.shared.table.get(offered.association.id) == offered.association
    assert [len(part) for part in shell.snapshot] == [4, 10]


@pytest.mark.parametrize("number", range(1, 15))
async def test_each_message_that_fails_leaves_the_old_set_and_nothing_of_the_new(
    number: int,
) -> None:
    """Design 7: all or nothing; set A and its policies are as before."""
    shell = Shell()
    a = await registered(shell)
    before = shell.snapshot
    shell.kernel.fail_message(number if number < 12 else 1, errno.ENOMEM)

    with pytest.raises(KernelRefused):
        await shell.service.offer(USER, re_offer(a))

    assert shell.snapshot == before
    assert shell.journal.rows == {a.id: a}


async def test_without_a_journal_nothing_is_offered() -> None:
    """Design 8: no intent, no set; the keys are wiped all the same."""
    shell = Shell()
    shell.journal.full = True
    request = offer_request()

    with pytest.raises(JournalUnavailable):
        await shell.service.offer(USER, request)

    assert shell.snapshot == (set(), {})
    assert request.integrity_key is not None
    assert request.integrity_key.reveal() == bytes(16)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"security_client": ("tls",)}, NoCommonMechanism),
        ({"security_client": ()}, BadHeader),
        ({"ue": {"ealg": "aes-cbc"}, "cipher_key": None}, BadParameter),
        ({"flow": clear_flow(local_port=5064)}, BadParameter),
        ({"association_id": "000000000000"}, NoSuchAssociation),
        ({"private_identity": ""}, BadParameter),
    ],
)
async def test_what_cannot_be_offered_is_refused_and_ends_nobodys_set(
    changes: dict[str, Any], error: type[SadError]
) -> None:
    """Nobody loses a set for an Offer that is refused."""
    shell = Shell()
    first = await shell.service.offer(USER, offer_request())

    with pytest.raises(error):
        await shell.service.offer(USER, offer_request(call_id="b", **changes))

    assert shell.journal.rows == {first.association.id: first.association}


async def test_the_name_of_a_missing_key_is_that_of_the_call() -> None:
    """T33-I: aes-cbc needs CK; Offer has no ipsec3gpp."""
    shell = Shell()
    with pytest.raises(BadParameter) as refusal:
        await shell.service.offer(USER, offer_request(ue={"ealg": "aes-cbc"}, cipher_key=None))

    assert (refusal.value.parameter, refusal.value.rule) == ("cipherKey", "T33-I")


async def test_a_new_register_takes_the_place_of_its_own_temporary_set() -> None:
    """T33-7.3.1.4: the very same list with a new Call-ID; SPIs and ports are free for it."""
    shell = Shell()
    first = await shell.service.offer(USER, offer_request())

    second = await shell.service.offer(USER, offer_request(call_id="b"))

    assert second.association.id != first.association.id
    assert set(shell.journal.rows) == {second.association.id}
    assert [len(part) for part in shell.snapshot] == [4, 10]


async def test_a_phone_that_changed_its_server_port_too_takes_its_own_place() -> None:
    """The key is (private identity, address, port_uc): the old set is of another registration."""
    shell = Shell()
    await shell.service.offer(USER, offer_request())

    second = await shell.service.offer(USER, offer_request(call_id="b", ue={"port_s": 6999}))

    assert set(shell.journal.rows) == {second.association.id}
    assert not shell.shared.busy()


async def test_two_offers_of_one_key_at_once_leave_one_set() -> None:
    """They take turns under the registration's lock; the later one stays."""
    shell = Shell()

    await asyncio.gather(
        *(shell.service.offer(USER, offer_request(call_id=f"c{n}")) for n in range(4))
    )

    assert len(shell.shared.table) == 1
    assert [len(part) for part in shell.snapshot] == [4, 10]


async def test_a_released_set_that_was_never_confirmed_is_no_obstacle() -> None:
    """A wrong answer to the challenge: the hook lets it linger, the phone begins anew."""
    shell = Shell()
    first = await shell.service.offer(USER, offer_request())
    await shell.service.release(USER, release_of(first.association.id, 32))

    with pytest.raises(UnknownFlow):  # T24-P-5: it protects nobody's requests any more
        shell.service.find(USER, flow_of(first.association))
    with pytest.raises(UnknownFlow):
        shell.service.verify(USER, verify_request(first))
    second = await shell.service.offer(USER, offer_request(call_id="b"))

    assert set(shell.journal.rows) == {second.association.id}


async def test_a_rebooted_phone_is_let_in_and_replaces_its_old_set_with_the_confirm() -> None:
    """Design 6, T24-P-8: same ports, new SPIs."""
    shell = Shell()
    old = await registered(shell)

    new = await shell.service.offer(
        USER, offer_request(call_id="b", ue={"spi_c": 7001, "spi_s": 7002})
    )
    beside = shell.snapshot
    confirmed = await shell.service.confirm(USER, grant_of(new.association.id, 600))

    assert [len(part) for part in beside] == [8, 14]
    assert old.state is confirmed.state is State.IN_USE
    assert set(shell.journal.rows) == {new.association.id}
    assert [len(part) for part in shell.snapshot] == [4, 10]
    with pytest.raises(FlowInUse):  # its SPIs must be free
        await shell.service.offer(
            USER, offer_request(call_id="c", ue={"spi_c": 7001, "spi_s": 7003})
        )


async def test_on_a_set_the_client_port_must_be_new() -> None:
    """T33-7.1-p3, T33-7.1-g: who has not lost its state takes a new one."""
    shell = Shell()
    a = await registered(shell)

    with pytest.raises(FlowInUse, match="port 6301"):
        await shell.service.offer(USER, re_offer(a, ue={"port_c": 6301}))


async def test_three_sets_are_the_most_and_temporary_ones_make_room() -> None:
    """T33-7.1-p3, matrix row 9: old, current, temporary."""
    shell = Shell()
    a = await registered(shell)
    t = await shell.service.offer(USER, re_offer(a, 1))
    b = await shell.service.confirm(USER, grant_of(t.association.id, 600))
    await shell.service.take_into_use(USER, b.id)
    first = await shell.service.offer(USER, re_offer(b, 2))

    second = await shell.service.offer(USER, re_offer(b, 3))

    assert set(shell.journal.rows) == {a.id, b.id, second.association.id}
    assert first.association.id not in shell.journal.rows
    with pytest.raises(LimitExceeded):
        new = {"port_c": 6999, "spi_c": 4001, "spi_s": 4002}
        await shell.service.offer(USER, offer_request(call_id="z", ue=new))


async def test_who_may_not_use_the_endpoint_may_not_offer() -> None:
    """Design 5: as Install; not even operators."""
    shell = Shell()
    offered = await shell.service.offer(USER, offer_request())
    for caller in (STRANGER, OPERATOR):
        with pytest.raises(NotPermitted):
            await shell.service.offer(caller, offer_request())
        with pytest.raises(NotPermitted):
            shell.service.screen(caller, screen_request())
        with pytest.raises(NotPermitted):
            shell.service.verify(caller, verify_request(offered))
        with pytest.raises(NotPermitted):
            await shell.service.take_into_use(caller, offered.association.id)


async def test_a_stopping_daemon_offers_nothing() -> None:
    """Nothing new is begun that would have to be waited for."""
    shell = Shell()
    shell.shared.daemon_state = DaemonState.STOPPING

    with pytest.raises(Busy, match="stopping"):
        await shell.service.offer(USER, offer_request())


@pytest.mark.parametrize("turns", range(8))
async def test_nobody_is_answered_with_a_set_that_is_being_taken_back(turns: int) -> None:
    """Design 3: whenever the first caller leaves, a retransmission's answer stays in force."""
    shell = Shell()
    first = asyncio.ensure_future(shell.service.offer(USER, offer_request()))
    for _ in range(turns):
        await asyncio.sleep(0)
    first.cancel()

    answered = await shell.service.offer(USER, offer_request())

    await asyncio.gather(first, return_exceptions=True)
    await shell.shared.background.drain()
    assert shell.shared.table.get(answered.association.id) == answered.association
    assert len(shell.tables.sas) == 4
