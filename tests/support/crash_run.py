"""Plays the scenario of the crash tests, kills at chosen points, and judges what is left."""

import asyncio
import collections
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from netlink.kernel import KernelIpsec
from netlink.model import DeletePolicy
from sip_hooks.client import CallError, ClientError
from tests.support.crash_check import (
    Kernel,
    Row,
    Standing,
    differences,
    kernel_differences,
    learnt,
    set_of,
)
from tests.support.crash_daemon import CrashDaemon, name_of
from tests.support.crash_model import SETTINGS, Call, World, after, outcomes
from tests.support.crash_scenario import CLIENT_PORTS, EDGE, SERVER_PORT, Step
from tests.support.daemon import ASSOCIATIONS, CONTROL, endpoint_settings
from tests.support.namespaces import Namespace
from tests.support.xfrm_values import add_sa, security_association

#: kind and number, from 1
Point: TypeAlias = tuple[int, int]

_KEYS: Final = "auth-trunc hmac(sha1) 0x000102030405060708090a0b0c0d0e0f10111213 96"
_FOREIGN: Final = (
    # Between the very addresses, and between strangers; on the very ports, and for all.
    (
        f"state add src {EDGE[4]} dst 10.20.0.2 proto esp spi 77 reqid 7 mode transport {_KEYS} "
        "enc ecb(cipher_null) "
    ),
    (
        f"state add src 2001:db8:9::1 dst {EDGE[6]} proto esp spi 78 mode tunnel {_KEYS} "
        "enc ecb(cipher_null) "
    ),
    (
        f"policy add src 10.20.0.2/32 dst {EDGE[4]}/32 proto udp sport 6300 dport {SERVER_PORT} "
        "dir in priority 9 tmpl proto esp mode transport level use"
    ),
    (
        "policy add src 2001:db8:9::/64 dst ::/0 dir out priority 9 "
        f"tmpl src {EDGE[6]} dst 2001:db8:9::1 proto esp mode tunnel"
    ),
)


class Run:
    """One node with a daemon, objects of others in its kernel, and the model of what must be.

    ``problems`` collects what was not as it must be, each with the point and the step; ``passed``
    are the points of the last step; ``crashes`` counts by method; ``hits`` says what had just been
    done in a step when it was cut off.
    """

    def __init__(self, namespace: Namespace, daemon: CrashDaemon, standing: Standing) -> None:
        self.namespace = namespace
        self.daemon = daemon
        self.standing = standing
        self.world: World = ()
        self.problems: list[str] = []
        self.crashes: collections.Counter[str] = collections.Counter()
        self.passed: list[tuple[int, str]] = []
        self.hits: dict[str, str] = {}
        self._where = ""

    # --- one step --------------------------------------------------------------------------------

    def play(self, step: Step, point: Point | None = None, second: Point | None = None) -> bool:
        """Play a step, killed at ``point``, and its restart at ``second``; say if it was killed.

        A step that was killed is repeated, as a SIP server does.
        """
        self._where = step.name
        if step.restart:
            self.daemon.kill()
        if step.call is None:
            return self._restart(point, second, damage=step.damage)
        call = step.call(self.world)
        self.daemon.begin_step()
        if point is not None:
            self.daemon.board.arm(*point)
        if step.damage:  # which the daemon may notice before it is asked
            self._damage()
        begun = time.time()
        answer = self._call(call)
        died = self.daemon.died()
        self.daemon.board.disarm()
        self.passed = self.daemon.points()
        span = (begun, time.time())
        if answer is not None:
            self.world = learnt(after(self.world, call, span), _associations(answer))
        elif not died:
            self.problems.append(f"{self._where}: refused: no answer, and nobody died")
        if died:
            self.crashes[call.method] += 1
            self._note(point)
            if second is not None and self._start(second):
                self._where += f", then in the start at {name_of(*second)}"
            self._come_back()
            possible = [self.world] if answer is not None else [*outcomes(self.world, call, span)]
            self._judge(possible)
            if answer is None:
                self._repeat(call)
        elif step.damage:
            self._judge([self.world])
        return died

    def _restart(self, point: Point | None, second: Point | None, *, damage: bool) -> bool:
        if damage:
            self._damage()
        self.daemon.begin_step()
        died = point is not None and self._start(point)
        if died:
            self._note(point)
            if second is not None and self._start(second):
                self._where += f", then at {name_of(*second)}"
        self._come_back()
        self.passed = self.daemon.points()
        self._judge([self.world])
        return died

    def _start(self, point: Point) -> bool:
        """Start a daemon that is to die on the way; say whether it did."""
        self.daemon.board.arm(*point)
        if self.daemon.try_start():
            self.daemon.kill()
            return False
        self.crashes["start"] += 1
        return True

    def _come_back(self) -> None:
        self.daemon.board.disarm()
        assert self.daemon.try_start()

    def _note(self, point: Point | None) -> None:
        assert point is not None
        _, done = self.daemon.points()[-1]
        self.hits[self._where] = done
        self._where += f" at {name_of(*point)} ({done})"

    def _call(self, call: Call) -> dict[str, Any] | None:
        try:
            return self._ask(call)
        except CallError as error:
            self.problems.append(f"{self._where}: refused: {error}")
        except ClientError:
            pass
        return None

    def _ask(self, call: Call) -> dict[str, Any]:
        interface = CONTROL if call.method == "Reconcile" else ASSOCIATIONS
        return self.daemon.client.call(f"{interface}.{call.method}", call.parameters)

    def _repeat(self, call: Call) -> None:
        """Ask again what got no answer."""
        begun = time.time()
        try:
            self._ask(call)
        except CallError as error:
            if call.method == "Install" and error.short_name == "FlowInUse":
                self._take_place(error.parameters["id"])
                self._repeat(call)
                return
            if (call.method, error.short_name) != ("Release", "NoSuchAssociation"):
                self.problems.append(f"{self._where}: refused: the repetition, {error}")
                return
        self.world = after(self.world, call, (begun, time.time()))
        self._compare(self.daemon.associations())

    def _take_place(self, identifier: str) -> None:
        """Install has no transaction to tell a repetition by: its refusal says what to release."""
        self.daemon.call("Release", id=identifier)
        self.world = tuple(s for s in self.world if s.identifier != identifier)

    # --- judging ---------------------------------------------------------------------------------

    def _judge(self, possible: Sequence[World]) -> None:
        """Compare list and kernel with the best of the worlds that may be."""
        rows = self.daemon.associations()
        self.world = min(possible, key=lambda world: len(differences(world, rows)))
        self._compare(rows)
        found = kernel_differences(self.world, Kernel.look(self.namespace), self.standing)
        self.problems += [f"{self._where}: {text}" for text in found]

    def _compare(self, rows: Sequence[Row]) -> None:
        found = differences(self.world, rows)
        self.problems += [f"{self._where}: {text}" for text in found]
        # What was found once is not told again at every step after it.
        live, known = {set_of(row) for row in rows}, {s.name for s in self.world}
        self.world = learnt(tuple(s for s in self.world if s.name in live), rows)
        for row in rows:
            if set_of(row) not in known:
                self.daemon.call("Release", id=row["id"])

    def live_through_a_service_start(self) -> None:
        """Have what lives adopted by ``python -m sad`` itself, with nothing wrapped around it."""
        self._where = "after python -m sad"
        self.daemon.kill()
        self.daemon.start()
        self._judge([self.world])
        self.daemon.kill()
        self._come_back()

    def end(self) -> None:
        """Release everything; the kernel holds nothing of ours but the endpoint's blocks."""
        self._where = "at the end"
        self._judge([self.world])
        for row in self.daemon.associations():
            self.daemon.call("Release", id=row["id"])
        self.world = ()
        self._judge([()])

    # --- another program's hand ------------------------------------------------------------------

    def _damage(self) -> None:
        self.namespace.call(lambda: asyncio.run(_damage()))


async def _damage() -> None:
    """Delete a policy of the daemon's, and leave an SA of its that no set has."""
    kernel = await KernelIpsec.open()
    try:
        # Those of sets end some day, those of the endpoint never do.
        ours = [p.id for p in await kernel.dump_policies() if p.id.selector.owner]
        allowed = [i for i in ours if i.selector.source_port and i.selector.destination_port]
        (owner,) = {i.selector.owner for i in ours}
        stale = security_association(0xBAD, owner=owner)
        deleted = [DeletePolicy(allowed[0])] if allowed else []
        assert set(await kernel.commit([*deleted, add_sa(stale)])) <= {None}
    finally:
        kernel.close()


def _associations(answer: Mapping[str, Any]) -> list[Row]:
    return [answer["association"]] if "association" in answer else []


@contextlib.contextmanager
def crash_run(folder: Path) -> Iterator[Run]:
    """Give a node with strangers' objects and a started daemon."""
    with Namespace("edge") as namespace:
        namespace.run(["ip", "addr", "add", f"{EDGE[4]}/24", "dev", "lo"])
        namespace.run(["ip", "addr", "add", f"{EDGE[6]}/64", "dev", "lo", "nodad"])
        for words in _FOREIGN:
            # An empty key is an argument of its own.
            namespace.run(["ip", "xfrm", *words.split(" ")])
        before = Kernel.look(namespace)
        endpoint = endpoint_settings("access", tuple(EDGE.values()), SERVER_PORT, CLIENT_PORTS)
        daemon = CrashDaemon(namespace, folder, SETTINGS + endpoint)
        try:
            assert daemon.try_start()
            standing = Standing.of(Kernel.look(namespace))
            assert set(before.policies) < set(standing.policies)
            assert {s.text for s in before.states} == standing.foreign
            assert all("action block" in p for p in set(standing.policies) - set(before.policies))
            yield Run(namespace, daemon, standing)
        finally:
            daemon.stop()


def count_points(run: Run, steps: Iterable[Step]) -> dict[str, list[Point]]:
    """Play without a kill and return the points of each step."""
    found: dict[str, list[Point]] = {}
    for step in steps:
        run.play(step)
        numbers: collections.Counter[int] = collections.Counter()
        points = found.setdefault(step.name, [])
        for kind, _ in run.passed:
            numbers[kind] += 1
            points.append((kind, numbers[kind]))
    run.end()
    return found
