"""``make demo``: one registration through a real Kamailio, told as it happens.

Three network namespaces: a strict UE, the edge with the real daemon and an unprivileged Kamailio
that carries the hook, and a small S-CSCF. Every line that claims something has been checked; the
exit status is 1 if one did not hold.
"""

import asyncio
import platform
import sys

from tests.demo.scenes import Demo
from tests.demo.story import Story
from tests.edge.crowd import blocked
from tests.edge.world import edge_world
from tests.ue.registrar import RegistrarSettings
from tests.ue.transaction import Timers

_MARGIN = 2


async def play(story: Story) -> None:
    """Play all scenes."""
    story.chapter("Three nodes", f"on Linux {platform.release()}")
    async with edge_world(
        faulty=True,  # it has no fault, and says how long each entry took
        timers=Timers(t1=1.0),
        registrar=RegistrarSettings(require_protection=True),
        lifetimes=(
            f"registration_margin_seconds = {_MARGIN}\nt1_milliseconds = 40\n"
            "reg_await_auth_seconds = 4\n"  # a set never lives shorter than it would have
        ),
    ) as world:
        demo = Demo(story, world)
        await demo.before()
        await demo.first_registration()
        await demo.talk()
        await demo.second_registration()
        await demo.daemon_away()
        await demo.deregistration()
        await demo.expiry(_MARGIN)
        demo.wire()
        story.say(blocked(world))
    story.say('everything is stopped; the edge\'s sad had stop = "remove"')


def main() -> int:
    """Tell the story; return the exit status."""
    story = Story()
    asyncio.run(play(story))
    return story.verdict()


if __name__ == "__main__":
    sys.exit(main())
