"""What the journal could not take is written later: it says what the table says in the end."""

from msgspec import structs

from sad.model.association import Phase
from sad.model.journal import Put
from sad.runtime.startup import restore, stop
from tests.support.shell import USER, Shell, release_of, second_request


async def test_an_ending_is_written_when_the_disk_has_room_again() -> None:
    """Design 8: a set that was released does not come back with the next start."""
    shell = Shell()
    association = await shell.install()
    shell.journal.full = True
    await shell.service.release(USER, release_of(association.id))
    assert shell.journal.rows[association.id].phase is Phase.INSTALLED
    await shell.reconciler.reconcile("still full")
    shell.journal.full = False

    await shell.reconciler.reconcile("schedule")

    assert shell.journal.rows == {}


async def test_a_stop_is_the_last_occasion() -> None:
    """The next start finds what this life has left, and ends nothing."""
    shell = Shell()
    gone = await shell.install()
    stays = await shell.install(second_request())
    shell.journal.full = True
    await shell.service.release(USER, release_of(gone.id))
    shell.journal.full = False

    await stop(shell.shared, shell.endings)

    assert shell.journal.rows == {stays.id: stays}
    life = Shell(journal=shell.journal, tables=shell.tables, clock=shell.clock)
    report = await restore(life.shared, life.reconciler, list(shell.journal.rows.values()))
    assert (report.adopted, report.ended) == (1, 0)


async def test_who_is_changing_a_registration_writes_its_rows() -> None:
    """An intent that was just recorded is not written over with what was before it."""
    shell = Shell()
    association = await shell.install()
    intent = structs.replace(association, phase=Phase.REMOVING)
    shell.journal.full = True
    await shell.shared.record_tolerant(Put(association))
    shell.journal.full = False
    async with shell.shared.lock(association.registration):
        await shell.journal.record([Put(intent)])
        await shell.shared.record_owed()
        assert shell.journal.rows == {association.id: intent}

    await shell.shared.record_owed()

    assert shell.journal.rows == {association.id: association}
