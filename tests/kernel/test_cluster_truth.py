"""The log of kernel truth sees what it is there to see: a set in two kernels, and nothing else."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Final

import pytest

from netlink.kernel import KernelIpsec
from netlink.model import AddSa, DeleteSa, ShortenSa
from tests.cluster.truth import KernelTruth
from tests.support.contract_world import applied
from tests.support.daemon import wait_until
from tests.support.make import OWNER
from tests.support.namespaces import Namespace
from tests.support.xfrm_values import add_sa, keys_for, security_association

SA: Final = security_association(7, owner=OWNER, hard_add_seconds=600)


@dataclasses.dataclass
class Nodes:
    """Two kernels' tables and the log of both."""

    one: KernelIpsec
    two: KernelIpsec
    truth: KernelTruth
    namespaces: dict[str, Namespace]


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    with contextlib.ExitStack() as stack:
        namespaces = {n: stack.enter_context(Namespace(n)) for n in ("one", "two", "third")}
        watched = {n: namespaces[n] for n in ("one", "two")}
        truth = stack.enter_context(KernelTruth(watched))
        kernels = {}
        for name in watched:
            with namespaces[name].enter():
                kernels[name] = await KernelIpsec.open()  # gives the loop no turn
            stack.callback(kernels[name].close)
        yield Nodes(kernels["one"], kernels["two"], truth, namespaces)


def added() -> AddSa:
    return add_sa(SA)


async def test_a_set_that_moves_is_in_one_kernel_at_a_time(nodes: Nodes) -> None:
    """Out here, in there, many times in a row, as fast as it goes; updates change nothing."""
    for _ in range(200):
        await applied(nodes.one, added(), ShortenSa(SA), DeleteSa(SA.id))
        await applied(nodes.two, added(), DeleteSa(SA.id))
    nodes.truth.close()

    nodes.truth.assert_never_two()
    assert [(e.node, e.came) for e in nodes.truth.log] == [
        ("one", True),
        ("one", False),
        ("two", True),
        ("two", False),
    ] * 200


async def test_a_set_in_two_kernels_is_seen_however_short_it_was(nodes: Nodes) -> None:
    """The injected error that the log is for: the one let go a moment too late."""
    await applied(nodes.one, added())
    await applied(nodes.two, added())
    await applied(nodes.one, DeleteSa(SA.id))
    nodes.truth.close()

    (violation,) = nodes.truth.violations
    assert (violation.sa, violation.nodes) == (SA.id, frozenset(("one", "two")))
    with pytest.raises(AssertionError, match="DoubleOwner"):
        nodes.truth.assert_never_two()


async def test_what_ends_by_itself_or_by_a_flush_is_gone(nodes: Nodes) -> None:
    """An expired SA is nobody's, and so is a flushed one."""
    short = dataclasses.replace(SA, hard_add_seconds=1)
    await applied(nodes.one, AddSa(sa=short, keys=keys_for(short)))
    await asyncio.to_thread(
        wait_until, lambda: len(nodes.truth.log) == 2, "the kernel ends it, and says so"
    )
    await applied(nodes.two, added())
    nodes.namespaces["two"].run(["ip", "xfrm", "state", "flush"])
    await applied(nodes.one, added())
    nodes.truth.close()

    nodes.truth.assert_never_two()
    assert nodes.truth.held_by("one") == 1


async def test_what_is_not_ours_and_other_machines_do_not_matter(nodes: Nodes) -> None:
    """A phone holds the same SAs as its edge, and other programs have SAs of their own."""
    foreign = dataclasses.replace(SA, selector=SA.selector._replace(owner=OWNER + 1))
    with nodes.namespaces["third"].enter():
        third = await KernelIpsec.open()
    await applied(nodes.one, added())
    await applied(third, added())
    third.close()
    await applied(nodes.two, AddSa(sa=foreign, keys=keys_for(foreign)))
    nodes.truth.close()

    nodes.truth.assert_never_two()


async def test_a_log_without_entries_proves_nothing(nodes: Nodes) -> None:
    """Nor does one that has lost some."""
    with pytest.raises(AssertionError, match="nothing happened"):
        nodes.truth.assert_never_two()
    await applied(nodes.one, added())
    nodes.truth.lost = True
    with pytest.raises(AssertionError, match="lost"):
        nodes.truth.assert_never_two()
