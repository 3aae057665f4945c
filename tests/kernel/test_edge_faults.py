"""Defects and a daemon that is away, at a real edge: no keys leave, no worker is lost."""

import asyncio
import contextlib

import pytest

from sip_hooks.client import CallError
from tests.edge.world import EdgeWorld, within
from tests.ue import home
from tests.ue.agent import Trace
from tests.ue.registration import RegistrationRefused
from tests.ue.sip import Request, Response
from tests.ue.ue import Ue

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Received:
    """Everything that a UE received, whole."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def __call__(self, trace: Trace) -> None:
        if trace.kind == "received":
            self.messages.append(trace.raw)

    def keys(self) -> list[bytes]:
        """What holds ck or ik, of any message."""
        return [m for m in self.messages if b"ck=" in m.lower() or b"ik=" in m.lower()]


def faulted(world: EdgeWorld) -> list[str]:
    """What the injected defects have done."""
    return (world.hook_folder / "faulted").read_text().splitlines()


@pytest.mark.parametrize("method", ["request", "challenge"])
async def test_edge_faults_at_every_line(world: EdgeWorld, method: str) -> None:
    """T33-7.2-d: an exception at each line of the hook in turn; never a 401 with ck or ik.

    Each first REGISTER gets a 503 or a clean challenge with Security-Server; after the last line
    the same Kamailio serves a whole registration.
    """
    fault = world.hook_folder / "fault"
    received = Received()
    ue = await world.new_ue(21, on_trace=received)
    line, answers = 0, set()
    try:
        while f"{method} done" not in faulted(world):
            line += 1
            fault.write_text(f"{method} {line}")
            attempt = await within(ue.begin())
            answers.add(attempt.response.status)
            if attempt.response.status == 401:
                assert attempt.response.rows("Security-Server")
            else:
                assert attempt.response.status == 503
            if attempt.channel is not None:
                await ue.remove(attempt.channel)
            with contextlib.suppress(CallError):  # a set that was made before the defect
                world.daemon.call("Release", privateIdentity=home.private_identity(21))
            assert line < 2000
    finally:
        fault.unlink(missing_ok=True)
    assert line > 20
    assert received.keys() == []
    assert 503 in answers
    await world.end_all()
    await within(ue.register())
    await within(ue.deregister())
    await world.end_all()
    print(f"{method}: a defect at each of {line - 1} lines; answers {sorted(answers)}")


async def test_edge_faults_after_the_registration(world: EdgeWorld) -> None:
    """A defect while the 200 is handled: it reaches the UE; the set ends at reg-await-auth."""
    fault = world.hook_folder / "fault"
    ue = await world.new_ue(22)
    fault.write_text("registered 1")
    try:
        assert (await within(ue.register())).status == 200
    finally:
        fault.unlink()
    (association,) = world.daemon.associations()
    assert association["state"] == "temporary"
    await world.end_all()


async def _message(ue: Ue) -> int:
    answer = await within(ue.message(ue.config.public_identity, "to myself"))
    if answer.status == 200:
        await within(ue.messages.get())
    return answer.status


async def test_edge_faults_daemon_killed(world: EdgeWorld) -> None:
    """Design section 3: without the daemon calls go on and registrations are 503 at once.

    Killed between 401 and answer: the answer is refused, the next attempt works. Killed between
    200 and Confirm: Confirm is tried again until it succeeds. Kamailio is never restarted.
    """
    known, new = await world.new_ue(23), await world.new_ue(24)
    await within(known.register())
    attempt = await within(new.begin())
    world.daemon.kill()
    with pytest.raises(RegistrationRefused) as refused:
        await within(new.finish(attempt))
    assert refused.value.response.status == 503
    assert await _message(known) == 200
    begun = asyncio.get_running_loop().time()
    assert (await within(new.begin())).response.status == 503
    assert asyncio.get_running_loop().time() - begun < 2  # at once: nobody waits for a time-out
    world.daemon.start()
    assert len(world.daemon.associations()) == 2  # the established one, and the temporary one
    await within(new.register())
    assert await _message(new) == 200
    assert await _message(known) == 200
    await within(new.deregister())
    await within(known.deregister())
    await world.end_all()


async def test_edge_faults_kamailio_restarts(world: EdgeWorld) -> None:
    """A new Kamailio knows nobody: Find tells it, and the registered UE is called and calls."""
    ue = await world.new_ue(27)
    await within(ue.register())
    await asyncio.to_thread(world.kamailio.stop)
    await asyncio.to_thread(world.kamailio.start)
    assert await _message(ue) == 200
    await within(ue.deregister())
    await world.end_all()
    assert ue.violations == []


async def test_edge_faults_late_challenge(world: EdgeWorld) -> None:
    """T33-7.2-d: a 401 that comes after its transaction has ended never leaves with keys."""
    received = Received()
    ue = await world.new_ue(28, on_trace=received)
    late: list[bytes] = []

    def keep(kind: str, _flow: object, data: bytes) -> None:
        if kind == "sent" and data.startswith(b"SIP/2.0 401"):
            late.append(data)

    world.scscf.on_trace = keep
    attempt = await within(ue.begin())
    world.scscf.on_trace = lambda *_: None
    if attempt.channel is not None:
        await ue.remove(attempt.channel)
    (challenge,) = late
    assert b"ck=" in challenge
    received.messages.clear()
    changed = challenge.replace(b"branch=z9hG4bK", b"branch=z9hG4bKx", 1)
    edge = world.edge_core()
    world.scscf.datagrams(world.scscf.local, edge).send(changed)
    await world.end_all()
    assert received.messages == []


async def test_edge_faults_unprotected_grant(world: EdgeWorld) -> None:
    """T33-7.1-p5: a 200 of the core to a REGISTER that came in clear never reaches the UE."""
    real = world.scscf.registrar.register

    def grant(request: Request, now: float) -> Response:
        subscriber = home.subscriber(29)
        return world.scscf.registrar._grant(request, subscriber, world.scscf.now())

    ue = await world.new_ue(29)
    world.scscf.registrar.register = grant  # type: ignore[method-assign]  # put back below
    try:
        with pytest.raises(TimeoutError):
            await within(ue.begin(), 3)
    finally:
        world.scscf.registrar.register = real  # type: ignore[method-assign]  # as above
    world.scscf.registrar.remove(home.private_identity(29))
    assert world.states() == 0
