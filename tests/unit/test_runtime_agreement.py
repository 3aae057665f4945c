"""Screen, admission, Verify and Find over the shell."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from sad.model.association import Association
from sad.model.errors import (
    BadHeader,
    BadParameter,
    Busy,
    FlowInUse,
    NoCommonMechanism,
    NotPermitted,
    SadError,
    UnknownFlow,
    VerifyMismatch,
)
from sad.model.requests import VerifyRequest
from sad.model.rules import Limits
from tests.support.agreeing import (
    flow_of,
    re_offer,
    registered,
    screen_request,
    verify_request,
)
from tests.support.make import (
    EDGE_ADDRESS,
    UE_ADDRESS,
    clear_flow,
    endpoint,
    install_request,
    offer_request,
    security_client,
)
from tests.support.shell import USER, Shell, grant_of

# --- screen and admission ------------------------------------------------------------------------


async def test_screen_decides_as_offer_would_and_changes_nothing() -> None:
    """T33-7.3.2.1: the refusal comes before the core is bothered."""
    shell = Shell()
    a = await registered(shell)
    before = shell.snapshot

    screened = shell.service.screen(
        USER, screen_request(security_client=("tls", security_client(spi_c=1000, spi_s=1001)))
    )

    assert screened.mechanism == "ipsec-3gpp"
    assert [r.mechanism for r in screened.refusals] == ["tls"]
    assert (shell.snapshot, set(shell.journal.rows)) == (before, {a.id})
    with pytest.raises(NoCommonMechanism):
        shell.service.screen(USER, screen_request(security_client=("tls",)))
    with pytest.raises(FlowInUse):
        shell.service.screen(USER, screen_request(private_identity="other@ims"))


async def test_limits_hold_for_unprotected_offers_and_not_for_those_on_a_set() -> None:
    """Design 6: Busy with a time, never eviction; who is registered stays so."""
    limits = Limits(
        max_temporary_sets_per_identity=1,
        offers_per_second=1,
        offers_per_second_per_address=1,
        burst_seconds=2,
    )
    shell = Shell(limits=limits)
    a = await registered(shell)
    await shell.service.offer(USER, offer_request(call_id="b", ue={"spi_c": 1111, "spi_s": 1112}))
    t = set(shell.journal.rows) - {a.id}

    with pytest.raises(Busy, match="too many REGISTERs") as rate:
        await shell.service.offer(USER, offer_request(call_id="c", ue={"port_c": 6999}))
    shell.clock.advance(rate.value.retry_after_milliseconds / 1000)
    with pytest.raises(Busy, match="private identity") as room:
        await shell.service.offer(
            USER,
            offer_request(call_id="d", ue={"port_c": 6999, "spi_c": 3333, "spi_s": 3334}),
        )

    assert 238_000 < room.value.retry_after_milliseconds < 240_000
    assert set(shell.journal.rows) == {a.id} | t
    for number in range(5):
        await shell.service.offer(USER, re_offer(a, number))


async def test_screen_and_offer_are_counted_apart() -> None:
    """A REGISTER costs one of each: who was let in by Screen is not stopped at its 401."""
    shell = Shell(limits=Limits(offers_per_second_per_address=1, burst_seconds=1))

    shell.service.screen(USER, screen_request())
    with pytest.raises(Busy):
        shell.service.screen(USER, screen_request())
    await shell.service.offer(USER, offer_request())


_NASTY = st.fixed_dictionaries(
    {
        "identity": st.sampled_from(["001010000000001@ims.example", "evil@ims"]),
        "address": st.sampled_from([UE_ADDRESS, "10.10.0.3"]),
        "port_c": st.sampled_from([6300, 6301, 6302, 6303]),
        "port_s": st.sampled_from([6300, 6301, 6305]),
        "spi_c": st.sampled_from([25656, 25657, 555, 556]),
        "spi_s": st.sampled_from([25656, 25657, 666, 667]),
    }
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(_NASTY, max_size=8))
def test_nobodys_unprotected_offers_touch_a_registered_phone(attempts: list[Any]) -> None:
    """Design 6: whatever REGISTERs others send in clear, in its name too, its set goes on."""

    async def story() -> None:
        shell = Shell()
        victim = await registered(shell)
        sas, policies = shell.snapshot
        for number, attempt in enumerate(attempts):
            names = ("port_c", "port_s", "spi_c", "spi_s")
            request = offer_request(
                private_identity=attempt["identity"],
                flow=clear_flow(peer_address=attempt["address"]),
                call_id=f"evil{number}",
                ue={name: attempt[name] for name in names},
            )
            try:
                await shell.service.offer(USER, request)
            except SadError:
                continue
        assert shell.shared.table.get(victim.id) == victim
        now = shell.snapshot
        assert sas <= now[0]
        assert {i: now[1].get(i) for i in policies} == policies
        for server in (False, True):
            found = shell.service.find(USER, flow_of(victim, server=server))
            assert (found.association, found.outbound) == (victim, victim)
        again = await shell.service.offer(USER, re_offer(victim))
        verified = shell.service.verify(USER, verify_request(again))
        assert verified.association == again.association

    asyncio.run(story())


# --- verify and find -----------------------------------------------------------------------------


async def test_a_register_on_a_temporary_set_must_mirror_both_lists() -> None:
    """T24-P-2, T33-7.3.2.3: what was sent and what was challenged; the list for a 494."""
    shell = Shell()
    offered = await shell.service.offer(USER, offer_request())

    verified = shell.service.verify(USER, verify_request(offered))
    assert verified.association == offered.association
    for changes in (
        {"security_verify": ()},
        {"security_verify": (offered.security_server.replace("aes-cbc", "null"),)},
        {"security_client": (security_client(port_c=6309),)},
        {"security_client": ()},
    ):
        with pytest.raises(VerifyMismatch) as refusal:
            shell.service.verify(USER, verify_request(offered, **changes))
        assert refusal.value.security_server == offered.security_server
    with pytest.raises(BadHeader) as malformed:
        shell.service.verify(USER, verify_request(offered, security_verify=("ipsec-3gpp;;",)))
    assert malformed.value.header == "Security-Verify"
    assert shell.shared.table.get(offered.association.id) == offered.association


async def test_a_register_on_a_set_in_force_brings_new_values_to_take() -> None:
    """T24-P-3: Security-Verify is not compared, Security-Client must hold something to take."""
    shell = Shell()
    offered = await shell.service.offer(USER, offer_request())
    a = await shell.service.confirm(USER, grant_of(offered.association.id, 600))
    new = (security_client(spi_c=1000, spi_s=1001, port_c=6309), "tls")

    def verify(*client: str) -> Any:
        request = VerifyRequest(
            flow=flow_of(a), security_verify=("whatever;;",), security_client=client
        )
        return shell.service.verify(USER, request)

    verified = verify(*new)
    assert verified.association == a
    assert [r.mechanism for r in verified.refusals] == ["tls"]
    with pytest.raises(NoCommonMechanism):
        verify("tls")
    with pytest.raises(BadHeader, match="missing"):
        verify()


async def test_where_sets_share_a_flow_the_list_tells_on_which_it_came() -> None:
    """T33-7.1-p4: SPIs of the challenge mean the temporary set, new ones the set in force."""
    shell = Shell()
    a = await registered(shell)
    spis = {"spi_c": 7001, "spi_s": 7002}
    twin = await shell.service.offer(USER, offer_request(call_id="b", ue=spis))

    answer = shell.service.verify(USER, verify_request(twin))
    new_values = (security_client(spi_c=8001, spi_s=8002, port_c=6309),)
    again = shell.service.verify(
        USER, verify_request(twin, security_client=new_values, security_verify=())
    )
    found = shell.service.find(USER, flow_of(a))

    assert (answer.association, again.association) == (twin.association, a)
    assert (found.association, found.outbound) == (a, a)
    with pytest.raises(VerifyMismatch):  # a bid down is one, whatever else has this flow
        shell.service.verify(USER, verify_request(twin, security_verify=("tls",)))


async def test_what_was_not_offered_here_cannot_be_verified_here() -> None:
    """T24-P-2: of a set from Install it is not known what was sent."""
    shell = Shell()
    installed = await shell.install()
    request = VerifyRequest(flow=flow_of(installed), security_verify=(), security_client=())

    with pytest.raises(BadParameter, match="Install"):
        shell.service.verify(USER, request)
    with pytest.raises(UnknownFlow):
        shell.service.verify(
            USER, structs.replace(request, flow=clear_flow(local_address=EDGE_ADDRESS))
        )


async def test_find_tells_the_set_of_a_flow_and_the_one_that_sends() -> None:
    """T24-P-9, T33-7.1-d: also by the pair of the server ports, which a hook knows from Path."""
    shell = Shell()
    a = await registered(shell)
    t = (await shell.service.offer(USER, re_offer(a))).association

    def found(association: Association, *, server: bool = False) -> tuple[str, str]:
        answer = shell.service.find(USER, flow_of(association, server=server))
        return answer.association.id, answer.outbound.id

    assert found(a) == found(a, server=True) == (a.id, a.id)
    assert found(t) == (t.id, a.id)
    await shell.service.confirm(USER, grant_of(t.id, 600))
    assert found(a, server=True) == (t.id, a.id)
    await shell.service.take_into_use(USER, t.id)
    assert found(a) == (a.id, t.id)
    assert found(a, server=True) == (t.id, t.id)


async def test_an_endpoint_without_role_edge_offers_nothing() -> None:
    """Design 5: roles are the operator's to give."""
    shell = Shell(endpoints={"access": endpoint(roles=frozenset())})

    with pytest.raises(NotPermitted):
        shell.service.screen(USER, screen_request())
    with pytest.raises(NotPermitted):
        await shell.install(install_request())
