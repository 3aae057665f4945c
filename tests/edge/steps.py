"""The daemon stopped, hung and restarted in each step of a registration."""

import os
import signal
from collections.abc import Callable

from tests.edge.world import EdgeWorld, within
from tests.support.daemon import wait_until
from tests.ue import home
from tests.ue.registration import RegistrationRefused
from tests.ue.sip import Request, Response
from tests.ue.ue import Ue

STEPS = ("Screen", "Offer", "Verify", "Confirm", "TakeIntoUse", "Release")


class Interference:
    """Does something to the daemon once, in the moment the core answers the n-th REGISTER."""

    def __init__(self, world: EdgeWorld, at: int, act: Callable[[], None]) -> None:
        self._registrar = world.scscf.registrar
        self._real = self._registrar.register
        self._left, self._act = at, act

    def __enter__(self) -> None:
        self._registrar.register = self._register  # type: ignore[method-assign]  # until exit

    def __exit__(self, *_: object) -> None:
        self._registrar.register = self._real  # type: ignore[method-assign]  # as it was

    def _register(self, request: Request, now: float) -> Response:
        response = self._real(request, now)
        self._left -= 1
        if self._left == 0:
            self._act()
        return response


async def message(ue: Ue) -> int:
    """Send a MESSAGE to oneself; return its status."""
    answer = await within(ue.message(ue.config.public_identity, "to myself"))
    if answer.status == 200:
        await within(ue.messages.get())
    return answer.status


async def play(world: EdgeWorld, ue: Ue, step: str, act: Callable[[], None]) -> list[int]:
    """Register, register again, talk and leave, and ``act`` in one step; return the answers."""
    answers = []
    if step in {"Screen", "Offer", "Verify", "Confirm"}:
        if step == "Screen":
            act()
        at = {"Offer": 1, "Confirm": 2}.get(step, 0)
        with Interference(world, at, act):
            attempt = await within(ue.begin())
            answers.append(attempt.response.status)
            if attempt.channel is None:
                return answers
            if step == "Verify":
                act()
            try:
                answers.append((await within(ue.finish(attempt))).status)
            except RegistrationRefused as refused:
                answers.append(refused.response.status)
        return answers
    await within(ue.register())
    if step == "TakeIntoUse":
        await within(ue.register())
        act()
        answers.append(await message(ue))
    else:
        with Interference(world, 2, act):
            answers.append((await within(ue.deregister())).status)
    return answers


EXPECTED = {
    "Screen": [503],
    "Offer": [503],
    "Verify": [401, 503],
    "Confirm": [401, 200],
    "TakeIntoUse": [200],
    "Release": [200],
}


async def settled(world: EdgeWorld, ue: Ue, step: str) -> None:
    """The daemon is back: see that nothing is lost and the UE is served."""
    if step == "Release":
        await world.gone()
        return
    if step in {"Screen", "Offer", "Verify"}:
        while (attempt := await within(ue.begin())).response.status == 503:
            pass  # for a moment after a time-out nobody waits for the daemon
        await within(ue.finish(attempt))
    assert await message(ue) == 200
    identity = home.private_identity(int(ue.config.user[-4:]))
    wait_until(
        lambda: (
            "inUse"
            in [
                a["state"]
                for a in world.daemon.associations()
                if a["registration"]["privateIdentity"] == identity
            ]
        ),
        "the newest set is in use",
    )
    assert await message(ue) == 200


async def stopped(world: EdgeWorld, number: int, step: str) -> None:
    """SIGKILL in one step: refused or carried on, and made good by the daemon's start."""
    ue = await world.new_ue(number)
    assert await play(world, ue, step, world.daemon.kill) == EXPECTED[step]
    if step in {"Confirm", "TakeIntoUse"}:
        assert await message(ue) == 200  # a call goes on
    world.daemon.start()
    await settled(world, ue, step)
    clear = world.clear()
    assert not clear, clear


async def hung(world: EdgeWorld, number: int, step: str) -> None:
    """SIGSTOP in one step: it costs a time-out, not a worker; what it was told late is done."""
    ue = await world.new_ue(number)
    try:
        answers = await play(world, ue, step, lambda: os.kill(world.daemon.pid, signal.SIGSTOP))
        assert answers == EXPECTED[step]
    finally:
        os.kill(world.daemon.pid, signal.SIGCONT)
    await settled(world, ue, step)


async def restarted(world: EdgeWorld, number: int, step: str) -> None:
    """SIGKILL and start at once: the step is served by the new daemon."""
    ue = await world.new_ue(number)

    def restart() -> None:
        world.daemon.kill()
        world.daemon.start()

    served = [401, 200] if len(EXPECTED[step]) == 2 or step in {"Screen", "Offer"} else [200]
    assert await play(world, ue, step, restart) == served
    await settled(world, ue, step)
