"""Key sets that are read anew while SAs are made of them: no SA has keys that were wiped."""

from collections.abc import Callable

import pytest

from sad.core.agreement import Choice
from sad.model.errors import Busy
from sad.model.sa_pair import Activation
from tests.support.key_files import DAY, NOW
from tests.support.key_sets import BOOTTIME, key_set, successor
from tests.support.man_shell import PEERING, ManShell, Uses, offer_request
from tests.support.shell import USER

CHOICE = Choice(mechanism="ipsec-man", parameters=None, refusals=(), text="")


class ReloadOnce(Uses):
    """The files are read again while the first set is on its way into the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.reload: Callable[[], None] | None = None

    def take(self, name: str, *, at_least: int = 0) -> int:
        reload, self.reload = self.reload, None
        if reload is not None:
            reload()
        return super().take(name, at_least=at_least)


@pytest.mark.parametrize("by", ["plan", "offer"])
async def test_no_sa_has_the_wiped_keys_of_a_set_that_was_read_anew(by: str) -> None:
    """A key of zeros is known to everybody: what was planned before a reload is planned again."""
    activation = Activation.ALWAYS if by == "plan" else Activation.AGREEMENT
    sets = key_set(activation=activation), successor(activation=activation)
    uses = ReloadOnce()
    shell = ManShell(*sets, uses=uses)
    shell.keys.read()
    uses.reload = shell.keys.read

    if by == "plan":
        await shell.keeper.act()
    else:
        with pytest.raises(Busy):
            await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)
        await shell.keys.offer(USER, offer_request(), CHOICE, PEERING)

    stored = {s.sa.id.spi: s for s in shell.tables.sas.values()}
    assert len(stored) == 4
    for given in sets:
        assert stored[given.spi_in].integrity_key == given.keys_in.integrity.reveal()
        assert stored[given.spi_out].integrity_key == given.keys_out.integrity.reveal()


async def test_other_keys_do_not_lengthen_what_a_restart_left_under_their_name() -> None:
    """RFC 3329 2.5: the keys of a set that was given die with the daemon, its SAs live on.

    Whoever gives a set of this name then means new SAs, and not a longer life of the old ones.
    """
    shell = ManShell(key_set(lasting=False))
    await shell.read()
    (left,) = shell.live().values()
    shell.keeper.collection.wipe()
    shell.files = [key_set("old", 2, not_after=NOW + 3 * DAY)]

    await shell.read()

    (association,) = shell.live().values()
    assert association.id != left.id
    assert association.deadline_at == BOOTTIME + 3 * DAY
    assert {i.spi for i in shell.tables.sas} == {4098, 8194}
