"""The log tells the life of an association in order, each step by its MESSAGE_ID."""

import logging

import pytest

from sad.model.association import AssociationState
from sad.runtime.story import Step, step_between
from tests.support.make import CK, IK, association
from tests.support.shell import USER, Shell, grant_of, release_of

LIFE = "sad.runtime.story"


def steps(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """MESSAGE_ID's name and text of each record of a life."""
    records = [r for r in caplog.records if r.name == LIFE]
    return [(Step(vars(r)["MESSAGE_ID"]).name, r.getMessage()) for r in records]


async def test_a_life_is_told_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """Issue: ``journalctl SAD_ASSOCIATION=ID`` tells the life of one association in order."""
    caplog.set_level(logging.INFO)
    shell = Shell()
    installed = await shell.install()
    await shell.service.confirm(USER, grant_of(installed.id, 600))
    await shell.service.take_into_use(USER, installed.id)
    shell.clock.advance(100)
    await shell.service.confirm(USER, grant_of(installed.id, 600))
    await shell.service.release(USER, release_of(installed.id, 30))
    await shell.expire(31)

    name = f"association {installed.id}"
    assert steps(caplog) == [
        ("INSTALLED", f"{name} installed on access for 10.10.0.2, 240 s left"),
        ("ESTABLISHED", f"{name} established, 630 s left"),
        ("IN_USE", f"{name} in use, 630 s left"),
        ("LENGTHENED", f"{name} lengthened, 630 s left"),
        ("RETIRING", f"{name} retiring, 30 s left"),
        ("ENDED", f"{name} ended: released"),
    ]
    for record in (vars(r) for r in caplog.records if r.name == LIFE):
        assert record["SAD_ASSOCIATION"] == installed.id
        assert record["SAD_ENDPOINT"] == "access"
        assert record["SAD_IDENTITY"] == installed.private_identity
        assert record["SAD_PEER"] == "10.10.0.2"
        assert not any(k in str(record) for k in (IK.hex(), CK.hex(), repr(IK), repr(CK)))
    last = vars([r for r in caplog.records if r.name == LIFE][-1])
    assert (last["SAD_STATE"], last["SAD_REASON"]) == ("ended", "released")


@pytest.mark.parametrize("state", [s for s in AssociationState if s is not AssociationState.ENDED])
def test_every_state_that_can_be_entered_has_its_step(state: AssociationState) -> None:
    """A change into a state is told as that state; within one it is a longer life."""
    before, after = association(state=state), association(state=state, deadline_at=5000.0)
    assert step_between(before, after) is Step.LENGTHENED
    other = association(state=AssociationState.ENDED)
    told = "TAKEN_UP" if state is AssociationState.TEMPORARY else state.name
    assert step_between(other, after).name == told


def test_message_ids_are_the_documented_ones() -> None:
    """Operators have them in their filters: none ever changes, none is used twice."""
    ids = {step.value for step in Step}
    assert len(ids) == len(Step)
    assert all(len(i) == 32 and int(i, 16) for i in ids)
    assert Step.ENDED.value == "72519a16e3c44cb699efcd3f1943407e"
