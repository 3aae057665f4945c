"""Comparisons in the thinnest slices: others change everything between any two of them."""

import asyncio

import pytest

from sad.mechanisms import examination
from sad.runtime.startup import restore
from tests.support.shell import USER, Shell, grant_of, release_of, second_request, ue_request

pytestmark = pytest.mark.usefixtures("thinnest_slices")


@pytest.fixture
def thinnest_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give everybody a turn after each piece of a comparison."""
    monkeypatch.setattr(examination, "SLICE_SECONDS", -1.0)


async def started() -> Shell:
    shell = Shell()
    await restore(shell.shared, shell.reconciler, [])
    return shell


async def test_what_changes_between_two_slices_is_left_alone() -> None:
    """A slice is true in its own turn: nothing is missed, turned back or taken for stray."""
    shell = await started()
    standing = shell.snapshot
    stay = [await shell.install(ue_request(100 + n, lifetime_seconds=600)) for n in range(20)]
    before = shell.snapshot

    async def live(number: int) -> None:
        for _ in range(4):
            installed = await shell.install(ue_request(number))
            await shell.service.confirm(USER, grant_of(installed.id, 60))
            await shell.service.release(USER, release_of(installed.id))

    async def compare() -> None:
        for _ in range(8):
            report = await shell.reconciler.reconcile("a test")
            assert (report.ended, report.removed) == (0, 0)

    await asyncio.gather(compare(), *(live(n) for n in range(12)))

    assert shell.snapshot == before
    assert set(shell.shared.table) == set(stay)
    for association in stay:
        await shell.service.release(USER, release_of(association.id))
    assert shell.snapshot == standing


async def test_two_sets_of_one_registration_are_judged_together() -> None:
    """What they share belongs to both, in whichever slice they come."""
    shell = await started()
    first = await shell.install(lifetime_seconds=600)
    second = await shell.install(second_request(lifetime_seconds=600))
    before = shell.snapshot

    report = await shell.reconciler.reconcile("a test")

    assert (report.adopted, report.repaired, report.removed) == (2, 0, 0)
    assert shell.snapshot == before
    assert set(shell.shared.table) == {first, second}
