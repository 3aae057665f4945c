"""What the stateful test found, as single stories: calls that meet, policies that are shared."""

import asyncio

import pytest

from sad.model.errors import JournalUnavailable, NoSuchAssociation
from sad.model.requests import ReleaseRequest
from tests.support.agreeing import re_offer, registered
from tests.support.make import LIFETIMES
from tests.support.shell import USER, Shell, grant_of, release_of, until


async def test_a_whole_release_takes_the_set_that_was_being_offered() -> None:
    """T24-D-1: nothing of the registration stays behind, whatever was on its way."""
    shell = Shell()
    a = await registered(shell)
    with shell.kernel_held():
        offer = asyncio.ensure_future(shell.service.offer(USER, re_offer(a)))
        await until(lambda: shell.kernel.waiting > 0)
        release = asyncio.ensure_future(
            shell.service.release(
                USER, ReleaseRequest(association_id=a.id, whole_registration=True)
            )
        )
        await asyncio.sleep(0)
    offered = await offer

    released = await release

    assert [r.id for r in released] == [a.id, offered.association.id]
    assert not len(shell.shared.table)


async def test_an_offer_on_a_set_that_ends_meanwhile_is_refused() -> None:
    """T24-P-6: a REGISTER on a set that is no more is none on a set."""
    shell = Shell()
    a = await registered(shell)
    with shell.kernel_held():
        release = asyncio.ensure_future(shell.service.release(USER, release_of(a.id)))
        await until(lambda: shell.kernel.waiting > 0)
        offer = asyncio.ensure_future(shell.service.offer(USER, re_offer(a)))
        await asyncio.sleep(0)
    await release

    with pytest.raises(NoSuchAssociation):
        await offer
    assert not len(shell.shared.table)


async def test_policies_outlast_the_longest_registration() -> None:
    """Design 6: the margin after the registration counts too."""
    shell = Shell()
    a = await registered(shell)
    await shell.service.confirm(USER, grant_of(a.id, int(LIFETIMES.longest_registration)))

    ours = [p for p in shell.tables.policies.values() if p.policy.hard_add_seconds]
    assert ours
    assert min(p.limit for p in ours) >= max(shell.ends_at(a))


async def test_what_new_and_old_sets_share_is_renewed_in_time() -> None:
    """Design 7: sets share policies; the new set's end counts, not when they were written."""
    shell = Shell()
    longest = int(LIFETIMES.longest_registration)
    a = await registered(shell)
    await shell.service.confirm(USER, grant_of(a.id, longest))
    shell.clock.advance(longest)

    t = (await shell.service.offer(USER, re_offer(a))).association
    await shell.service.confirm(USER, grant_of(t.id, 3600))

    ours = [p for p in shell.tables.policies.values() if p.policy.hard_add_seconds]
    assert min(p.limit for p in ours) >= max(shell.ends_at(t))


async def test_a_whole_release_that_is_refused_leaves_the_journal_as_the_sets_are() -> None:
    """Design 8: the journal says what stands."""
    shell = Shell()
    a = await registered(shell)
    shell.journal.failing = {shell.journal.calls + 2}

    with pytest.raises(JournalUnavailable):
        await shell.service.release(
            USER,
            ReleaseRequest(association_id=a.id, whole_registration=True, linger_seconds=64),
        )

    assert shell.journal.rows == {a.id: shell.shared.table.get(a.id)}
