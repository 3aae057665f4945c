"""The keeper of manual keys: what follows of files, time, operators, peers and a moody kernel."""

import dataclasses
import errno

import pytest

from netlink.model import Direction, PolicyAction
from sad.config.problems import Problem
from sad.core.agreement import Choice
from sad.core.rebuilding import LEAP, MOST_LEAPS
from sad.model.association import AssociationState, EndReason
from sad.model.errors import BadParameter, MechanismUnavailable
from sad.model.key_requests import KeyState, RotateKeyRequest
from sad.model.key_set import GivenKeys, KeySetDraft
from sad.model.sa_pair import Activation
from sad.runtime.key_collection import GIVEN
from tests.support.key_files import DAY, NOW
from tests.support.key_sets import BOOTTIME, key_set, keys, successor
from tests.support.make import LIFETIMES
from tests.support.man_shell import PEERING, RETRY, ManShell, offer_request
from tests.support.shell import USER, release_of

IN_USE, RETIRING = AssociationState.IN_USE, AssociationState.RETIRING
ESTABLISHED, TEMPORARY = AssociationState.ESTABLISHED, AssociationState.TEMPORARY
CHOICE = Choice(mechanism="ipsec-man", parameters=None, refusals=(), text="")


def outbound_reqid(shell: ManShell) -> int:
    """The reqid that what is sent is to find."""
    (policy,) = (
        p.policy
        for i, p in shell.tables.policies.items()
        if i.direction is Direction.OUT and p.policy.action is PolicyAction.ALLOW
    )
    assert policy.template is not None
    return policy.template.reqid


async def test_a_file_makes_sas_and_policies_without_a_limit() -> None:
    """R3329-2.4-man-a, IPS-2: two SAs, keys of each direction, no window; the journal has none."""
    shell = ManShell(key_set())
    await shell.read()

    (association,) = shell.live().values()
    assert (association.state, association.granted_until) == (IN_USE, None)
    assert association.deadline_at == BOOTTIME + DAY
    stored = {s.sa.id.spi: s for s in shell.tables.sas.values()}
    assert stored[4097].integrity_key == keys(1).integrity.reveal()
    assert stored[8193].integrity_key == keys(51).integrity.reveal()
    assert {s.sa.replay_window for s in stored.values()} == {0}
    assert {s.sa.hard_add_seconds for s in stored.values()} == {DAY + LIFETIMES.backstop}
    assert {p.policy.hard_add_seconds for p in shell.tables.policies.values()} == {0}
    row = repr(shell.journal.rows[association.id])
    assert keys(1).integrity.reveal().hex() not in row
    assert "key_check='" in row


async def test_a_rotation_goes_by_the_clock_alone() -> None:
    """RFC 3329 2.5: received on at once, sent on after key_switch, the old one for 64*T1 more."""
    shell = ManShell(key_set(), successor(not_before=NOW + 10))
    await shell.read()
    old = shell.live()["old"]

    await shell.pass_time(10)
    assert shell.states() == {"old": IN_USE, "new": ESTABLISHED}
    new = shell.live()["new"]
    assert (new.reqid_in, outbound_reqid(shell)) == (old.reqid_in, old.reqid_out[0])
    await shell.pass_time(59)
    assert outbound_reqid(shell) == old.reqid_out[0]
    await shell.pass_time(1)
    assert shell.states() == {"old": RETIRING, "new": IN_USE}
    assert outbound_reqid(shell) == new.reqid_out[0]
    assert len(shell.tables.sas) == 4
    await shell.pass_time(LIFETIMES.retiring)
    assert (shell.states(), shell.reasons()) == ({"new": IN_USE}, [EndReason.EXPIRED])
    assert outbound_reqid(shell) == new.reqid_out[0]
    await shell.pass_time(60)  # it stays away, valid as it is
    assert list(shell.live()) == ["new"]
    assert [(k.key_set.name, k.state) for k in shell.keys.list().keys] == [
        ("old", KeyState.VALID),
        ("new", KeyState.STANDING),
    ]


async def test_a_server_may_move_to_the_new_set_before_its_time() -> None:
    """T24-P-9: who has heard the peer on the new set knows that it has it."""
    shell = ManShell(key_set(), successor())
    await shell.read()
    assert shell.states() == {"old": IN_USE, "new": ESTABLISHED}

    await shell.service.take_into_use(USER, shell.live()["new"].id)
    await shell.pass_time(LIFETIMES.retiring)

    assert shell.states() == {"new": IN_USE}


async def test_at_not_after_nothing_is_left() -> None:
    """RFC 3329 2.5: SAs and policies go, and the event says why."""
    shell = ManShell(key_set())
    await shell.read()

    await shell.pass_time(DAY)

    assert shell.snapshot == (set(), {})
    assert (shell.live(), shell.reasons()) == ({}, [EndReason.KEY_EXPIRED])
    assert shell.keys.list().keys == ()


async def test_a_step_of_the_clock_moves_deadlines_and_ends_what_is_over() -> None:
    """Validity is real time: back, and SAs stand longer; beyond the end, and they go at once."""
    shell = ManShell(key_set())
    await shell.read()

    shell.clock.step(-3600)
    await shell.keeper.act()
    (association,) = shell.live().values()
    assert association.deadline_at == BOOTTIME + DAY + 3600
    assert {round(s.limit) for s in shell.tables.sas.values()} == {NOW + DAY + LIFETIMES.backstop}
    shell.clock.step(3600 + DAY)
    await shell.keeper.act()
    assert (shell.live(), shell.reasons()) == ({}, [EndReason.KEY_EXPIRED])


async def test_what_the_kernel_refuses_is_told_once_and_tried_again() -> None:
    """Nothing remains of it, and sequence numbers are not used twice."""
    shell = ManShell(key_set())
    shell.kernel.fail_message(1, errno.ENOMEM)
    await shell.read()
    assert (shell.live(), shell.snapshot) == ({}, (set(), {}))
    assert shell.shared.problem is not None
    assert "key set old" in shell.shared.problem[0]
    told = shell.shared.problem = ("told", "", 0.0)
    shell.kernel.fail_message(1, errno.ENOMEM)
    await shell.pass_time(RETRY)
    assert shell.live() == {}

    assert shell.shared.problem is told
    await shell.pass_time(RETRY)
    assert shell.states() == {"old": IN_USE}
    assert shell.sent_from(8193) == 2 * LEAP


async def test_used_up_sequence_numbers_want_new_keys() -> None:
    """RFC 4303 3.3.3: none twice under one key; and a disk that is full makes no SAs either."""
    shell = ManShell(key_set())
    shell.uses.counts["old"] = MOST_LEAPS + 1
    await shell.read()
    assert shell.live() == {}
    assert shell.shared.problem is not None
    assert "sequence numbers of key set old" in shell.shared.problem[0]

    shell.uses.counts["old"] = 0
    shell.uses.full = True
    await shell.pass_time(RETRY)
    assert "how often a key was used" in shell.shared.problem[0]
    shell.uses.full = False
    await shell.pass_time(RETRY)
    assert shell.states() == {"old": IN_USE}


async def test_lost_sas_are_made_again_of_the_key_set() -> None:
    """Design 8: whatever on_kernel_loss says, their keys are here; numbers leap."""
    shell = ManShell(key_set())
    await shell.read()
    (before,) = shell.live().values()
    shell.tables.sas.clear()
    shell.tables.policies.clear()

    await shell.reconciler.reconcile("test")

    assert shell.live() == {"old": before}
    assert len(shell.tables.sas) == 2
    assert shell.sent_from(8193) == LEAP
    stored = {s.sa.id.spi: s for s in shell.tables.sas.values()}
    assert stored[8193].integrity_key == keys(51).integrity.reveal()

    # Its keys are gone: then it ends as every set does without records.
    shell.keeper.collection.sets.clear()
    shell.tables.sas.clear()
    await shell.reconciler.reconcile("test")
    assert shell.reasons() == [EndReason.KERNEL_LOST]


async def test_a_file_with_a_mistake_leaves_what_stood() -> None:
    """A bad file disturbs nobody: neither what it gave before nor the others."""
    shell = ManShell(key_set())
    await shell.read()
    before = shell.live()

    shell.files = [successor(origin="/etc/sad/keys.d/b.toml:1", spi_in=5000, spi_out=5001)]
    shell.problems = [Problem("/etc/sad/keys.d/a.toml:3", "old.spi_in", "is wrong", "mend it")]
    await shell.read()
    assert shell.live()["old"] == before["old"]
    assert set(shell.live()) == {"old", "new"}
    assert shell.keys.list().problems[0].key == "old.spi_in"

    shell.problems = []
    await shell.read()
    assert set(shell.live()) == {"new"}
    assert shell.reasons() == [EndReason.RELEASED]


async def test_other_keys_under_one_name_are_another_set() -> None:
    """The old SAs end before those of the same SPIs are made; a longer life changes nothing."""
    shell = ManShell(key_set())
    await shell.read()
    before = shell.live()["old"]

    shell.files = [key_set(not_after=NOW + 2 * DAY)]
    await shell.read()
    assert shell.live()["old"].id == before.id
    assert shell.live()["old"].deadline_at == BOOTTIME + 2 * DAY

    shell.files = [key_set(keys_in=keys(9))]
    await shell.read()
    assert shell.live()["old"].id != before.id
    stored = {s.sa.id.spi: s for s in shell.tables.sas.values()}
    assert stored[4097].integrity_key == keys(9).integrity.reveal()


async def test_a_restart_keeps_what_is_the_same_and_ends_what_is_not() -> None:
    """Design 8: adopted by the journal; a file that went or changed meanwhile is followed."""
    first = ManShell(key_set(), key_set("other", 3, peer_address="10.10.0.3"))
    await first.read()
    await first.keys.add(draft("given", 5, "10.10.0.5"))
    rows = dict(first.journal.rows)

    again = ManShell(key_set(), tables=first.tables, clock=first.clock, uses=first.uses)
    for association in rows.values():
        again.shared.table.put(association)
    again.keys.read()
    again.keeper.drop_unknown()
    await again.keeper.act()

    assert set(again.live()) == {"old", "given"}
    assert again.live()["old"].id in rows
    assert [k.key_set.name for k in again.keys.list().keys] == ["old"]


# --- operators -----------------------------------------------------------------------------------


def draft(name: str, number: int, peer: str = "10.10.0.2") -> KeySetDraft:
    """What AddKey gives."""
    one = key_set(name, number)
    return KeySetDraft(
        origin=GIVEN,
        name=name,
        endpoint="peering",
        role=one.role,
        identity=None,
        local_address=None,
        peer_address=peer,
        spi_in=one.spi_in,
        spi_out=one.spi_out,
        local_ports=one.local_ports,
        peer_ports=one.peer_ports,
        integrity_algorithm=one.integrity_algorithm,
        encryption_algorithm=one.encryption_algorithm,
        keys=GivenKeys(
            integrity_key=keys(number).integrity, encryption_key=keys(number).encryption
        ),
        not_before=NOW,
        not_after=NOW + DAY,
        activation=Activation.ALWAYS,
        lasting=False,
    )


def rotation(name: str, new_name: str, number: int) -> RotateKeyRequest:
    """What RotateKey gives."""
    return RotateKeyRequest(
        name=name,
        new_name=new_name,
        spi_in=4096 + number,
        spi_out=8192 + number,
        keys=GivenKeys(
            integrity_key=keys(number).integrity, encryption_key=keys(number).encryption
        ),
        not_before=None,
        not_after=NOW + 2 * DAY,
    )


async def test_an_operator_adds_rotates_and_removes() -> None:
    """What is given is used at once, and its keys are wiped where they came from."""
    shell = ManShell()
    given = draft("old", 1)

    held = await shell.keys.add(given)

    assert (held.state, held.association_id) == (KeyState.STANDING, shell.live()["old"].id)
    assert given.keys.integrity_key is not None
    assert not any(given.keys.integrity_key.reveal())
    shell.clock.advance(1)
    rotated = await shell.keys.rotate(rotation("old", "new", 2))
    assert rotated.key_set.path == held.key_set.path
    assert shell.states() == {"old": IN_USE, "new": ESTABLISHED}

    await shell.read()  # of files, of which there are none: what was given stays
    assert set(shell.live()) == {"old", "new"}
    await shell.keys.remove("old")
    await shell.keys.remove("new")
    assert (shell.live(), shell.snapshot) == ({}, (set(), {}))


async def test_what_an_operator_cannot_do_is_refused_by_its_parameter() -> None:
    """The field by its name on the wire and the way out; nothing has changed."""
    shell = ManShell(key_set())
    await shell.read()

    for call, parameter in (
        (lambda: shell.keys.add(draft("old", 7, "10.10.0.7")), "name"),
        (lambda: shell.keys.add(draft("third", 1, "10.10.0.8")), "spiIn"),
        (lambda: shell.keys.add(draft("third", 9, "127.0.0.1")), "peerAddress"),
        (lambda: shell.keys.add(dataclasses.replace(draft("z", 9), not_after=1e12)), "notAfter"),
        (lambda: shell.keys.rotate(rotation("unknown", "new", 2)), "name"),
        (lambda: shell.keys.rotate(rotation("old", "new", 1)), "spiIn"),
        (lambda: shell.keys.remove("unknown"), "name"),
        (lambda: shell.keys.remove("old"), "name"),
    ):
        with pytest.raises(BadParameter) as refused:
            await call()
        assert refused.value.parameter == parameter
        assert refused.value.hint
    assert list(shell.live()) == ["old"]


async def test_a_new_set_under_the_name_of_a_released_one_stands() -> None:
    """An operator's word was on the old one, which is gone."""
    shell = ManShell()
    await shell.keys.add(draft("old", 1))
    await shell.service.release(USER, release_of(shell.live()["old"].id))
    await shell.pass_time(1)
    await shell.keys.remove("old")

    held = await shell.keys.add(draft("old", 2))

    assert held.state is KeyState.STANDING


async def test_what_was_released_stays_away_until_the_files_are_read_again() -> None:
    """An operator's word holds against the file, until the next one."""
    shell = ManShell(key_set())
    await shell.read()

    await shell.service.release(USER, release_of(shell.live()["old"].id))
    await shell.pass_time(60)
    assert [k.state for k in shell.keys.list().keys] == [KeyState.RELEASED]
    with pytest.raises(MechanismUnavailable, match="released"):  # a peer, or who says so in clear
        await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)
    assert shell.live() == {}
    await shell.read()
    assert shell.states() == {"old": IN_USE}
