"""What operators ask of a whole daemon over a kernel in memory, and the history of a life."""

import errno
from pathlib import Path

import pytest

from netlink.errors import KernelError
from sad.core.pools import pools
from sad.model.association import AssociationState, EndReason
from sad.model.inspection import Fitness, PoolUse, Verdict
from sad.model.requests import Flow
from sad.model.rules import Limits
from sad.runtime.history import LONGEST, History
from sad.runtime.node import Node, holds_net_admin, sockets_of
from tests.support import make
from tests.support.make import LAYOUT
from tests.support.shell import USER, Shell, grant_of, release_of


async def test_a_released_association_that_lingers_ends_as_released() -> None:
    """T24-D-1: not as expired, and its journal row knows it from the release on."""
    shell = Shell()
    installed = await shell.install()
    await shell.service.confirm(USER, grant_of(installed.id, 600))
    (lingering,) = await shell.service.release(USER, release_of(installed.id, 30))
    assert (lingering.state, lingering.end_reason) == (
        AssociationState.RETIRING,
        EndReason.RELEASED,
    )

    events = shell.service.subscribe(USER)
    assert (await anext(events)).association == lingering
    await anext(events)
    await shell.expire(31)
    ended = (await anext(events)).association

    assert ended is not None
    assert (ended.state, ended.end_reason) == (AssociationState.ENDED, EndReason.RELEASED)


async def test_an_association_is_inspected_whole() -> None:
    """Its policies as they lie in the kernel, and its steps."""
    shell = Shell()
    installed = await shell.install()
    await shell.service.confirm(USER, grant_of(installed.id, 600))
    policies, history = await shell.service.operator.inspect(installed)

    assert len(policies) == 10
    assert all(p.ours for p in policies)
    assert [s.step for s in history] == ["installed", "established"]


async def test_a_flow_is_explained_by_the_kernels_tables() -> None:
    """Protected while the SAs are there, dropped when somebody deleted them."""
    shell = Shell()
    installed = await shell.install()
    s = installed.sa_set
    flow = Flow(
        peer_address=s.ue_address,
        peer_port=s.port_uc,
        local_address=s.pcscf_address,
        local_port=s.port_ps,
    )

    explained = await shell.service.operator.explain(flow)
    assert (explained.association_id, explained.endpoint) == (installed.id, "access")
    assert [f.verdict for f in explained.fates] == [Verdict.PROTECTED, Verdict.PROTECTED]
    shell.tables.flush_sas(1)
    explained = await shell.service.operator.explain(flow)
    assert [f.verdict for f in explained.fates] == [Verdict.DROPPED, Verdict.DROPPED]


async def test_a_dry_run_finds_and_changes_nothing() -> None:
    """What a real run then does is what it said."""
    shell = Shell()
    await shell.reconciler.reconcile("start")
    installed = await shell.install()
    shell.tables.flush_sas(1)

    report, findings = await shell.service.operator.dry_run("asked")

    assert report.ended == 1
    assert [f.what for f in findings] == ["end"]
    assert installed.id in findings[0].text
    assert shell.shared.table.get(installed.id) is not None
    assert shell.reconciler.last is not None
    assert shell.reconciler.last.reason == "start"
    assert (await shell.reconciler.reconcile("now")).ended == 1


async def test_check_looks_at_kernel_ports_and_hooks() -> None:
    """Each thing has its line; a kernel that refuses is a failure with its way out."""
    shell = Shell()
    found = {r.what: r for r in await shell.service.operator.check()}

    assert found["ESP"].fitness is Fitness.OK
    assert found["hook of access"].fitness is Fitness.OK
    assert found["ports of access"].fitness is Fitness.WARNING
    assert "5064" in found["ports of access"].text
    assert found["strongSwan"].fitness is Fitness.OK
    shell.kernel.broken = [KernelError(errno.EPROTONOSUPPORT)]
    found = {r.what: r for r in await shell.service.operator.check()}
    assert found["ESP"].fitness is Fitness.FAILED
    assert "modprobe esp4" in found["ESP"].hint


def test_a_history_is_short_and_counts_repetitions() -> None:
    """A registration that is refreshed for weeks has one line of it."""
    history = History()
    for at in range(100):
        history.note("a", "lengthened", float(at))
    history.note("a", "retiring", 100.0)

    assert [(s.step, s.times, s.at) for s in history.of("a")] == [
        ("lengthened", 100, 99.0),
        ("retiring", 1, 100.0),
    ]
    for at in range(100):
        history.note("b", f"step {at}", 0.0)
    assert len(history.of("b")) == LONGEST
    history.forget("a")
    assert (history.of("a"), len(history)) == ((), 1)


async def test_no_history_outlives_its_association() -> None:
    """A daemon that runs for a year keeps those of the living only."""
    shell = Shell()
    installed = await shell.install()
    assert len(shell.shared.history) == 1
    await shell.service.release(USER, release_of(installed.id, 0))

    assert len(shell.shared.history) == 0


def test_pools_are_counted() -> None:
    """K9: associations, temporary sets, reqids, and the SPIs of each endpoint by mechanism."""
    counted = {
        ("access", "ipsec-3gpp", AssociationState.TEMPORARY): 1,
        ("access", "ipsec-3gpp", AssociationState.IN_USE): 2,
        ("access", "ipsec-man", AssociationState.IN_USE): 1,
        ("access", "tls", AssociationState.IN_USE): 1,
    }
    endpoint = make.endpoint(spi_range=(1000, 1009))
    limits = Limits(max_associations=10, max_temporary_sets=5)

    used = {(p.name, p.endpoint): p for p in pools(counted, 9, [endpoint], limits, LAYOUT)}

    assert used["associations", ""] == PoolUse(name="associations", endpoint="", used=5, size=10)
    assert used["temporary sets", ""].used == 1
    assert used["reqids", ""].used == 9
    assert used["SPIs", "access"] == PoolUse(name="SPIs", endpoint="access", used=7, size=10)


async def test_pools_follow_the_table() -> None:
    """What ends gives back what it had."""
    shell = Shell()

    def used() -> dict[str, int]:
        return {p.name: p.used for p in shell.service.status().pools}

    installed = await shell.install()
    assert used() == {"associations": 1, "temporary sets": 1, "reqids": 3, "SPIs": 2}
    await shell.service.release(USER, release_of(installed.id, 0))
    assert used() == {"associations": 0, "temporary sets": 0, "reqids": 0, "SPIs": 0}


TABLE = """\
  sl  local_address                         rem_address   st
   0: 010200C0:13C8 00000000:0000 0A 0
   1: B80D0120000000000000000001000000:13C9 00000000000000000000000000000000:0000 0A 0
   2: 0100007F:0016 00000000:0000 01 0
"""


def test_listeners_are_read_from_proc(tmp_path: Path) -> None:
    """Both families; what only is connected is no listener."""
    assert list(sockets_of(TABLE, "0A")) == [("192.0.2.1", 5064), ("2001:db8::1", 5065)]
    (tmp_path / "self/net").mkdir(parents=True)
    (tmp_path / "self/net/tcp").write_text(TABLE)
    (tmp_path / "self/status").write_text("Name:\tsad\nCapEff:\t0000000000001000\n")

    node = Node(tmp_path)

    assert node.listeners() == (
        frozenset(),
        frozenset({("192.0.2.1", 5064), ("2001:db8::1", 5065)}),
    )
    assert node.may_administer()
    assert node.strongswan_socket([str(tmp_path / "none")]) is None


@pytest.mark.parametrize(
    ("status", "held"),
    [("CapEff:\t0000000000000000\n", False), ("CapEff:\t000001ffffffffff\n", True), ("", False)],
)
def test_the_capability_is_read_from_proc(status: str, *, held: bool) -> None:
    """Bit 12 (capabilities(7))."""
    assert holds_net_admin(status) is held
