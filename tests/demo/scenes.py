"""The scenes of the demo, each with what it claims.

The counterpart of :mod:`tests.demo.story`, which speaks, and of :mod:`tests.edge.world`, which
acts.
"""

import asyncio
import socket

from tests.demo.sip_lines import SipLines
from tests.demo.story import Story
from tests.edge.world import EDGE, PORT_PS, UE, EdgeWorld, kamailio_uid, within
from tests.support import eye
from tests.support.daemon import wait_until
from tests.ue import home
from tests.ue.ue import Ue

_LINGER = 1


class Demo:
    """Scenes in order; each leaves the world to the next."""

    def __init__(self, story: Story, world: EdgeWorld) -> None:
        self.story = story
        self.world = world
        self.lines = SipLines(story)

    async def _ue(self, number: int, name: str, **settings: object) -> Ue:
        ue = await self.world.new_ue(number, on_trace=self.lines.of(name), **settings)
        self.lines.names[ue.config.address] = name
        return ue

    def _counts(self, when: str, *, sas: int) -> None:
        found, policies = self.world.states(), self.world.policies()
        self.story.check(
            found == sas, f"{when}, ip xfrm on the edge says: {found} SAs, {policies} policies"
        )

    async def before(self) -> None:
        """Nothing is agreed, so nothing passes."""
        world, story = self.world, self.story
        story.say(
            f"ue {UE[4]} -- edge {EDGE[4]}: sad, Kamailio 5.6 with its hook -- core: an S-CSCF"
        )
        status = _status_of(world)
        story.check(
            status["Uid"].split()[0] == str(kamailio_uid()) and int(status["CapBnd"], 16) == 0,
            f"Kamailio runs as uid {kamailio_uid()} without any capability",
        )
        story.show("sadctl status", world.daemon.sadctl("status"))
        with world.ue.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"REGISTER sip:edge SIP/2.0\r\n\r\n", (EDGE[4], PORT_PS))
        wait_until(
            lambda: eye.statistics(world.edge)["XfrmInPolBlock"] > 0, "the kernel counts it"
        )
        blocked = eye.statistics(world.edge)["XfrmInPolBlock"]
        story.check(blocked > 0, f"clear text to port {PORT_PS} is dropped and counted: {blocked}")
        world.access_wire.forget()

    async def first_registration(self) -> None:
        """REGISTER, 401, ESP, 200."""
        world, story = self.world, self.story
        story.chapter("REGISTER", "Alice's phone, UDP")
        self.alice = await self._ue(1, "alice")
        with self.lines.shown():
            attempt = await within(self.alice.begin())
            self._counts("the 401 has just arrived", sas=4)
            await within(self.alice.finish(attempt))
        s = self.alice.channel().sa_set
        assert s is not None
        key = s.transforms.auth[1].hex() if s.transforms.auth else ""
        story.check(
            {x.auth_key for x in eye.states(world.edge)} == {key},
            "the integrity key in the edge's kernel is the IK of Alice's card, by Annex I",
        )
        challenged = attempt.response.encode().lower()
        story.check(
            b"ck=" not in challenged and b"ik=" not in challenged,
            "the 401 that she got holds neither ck nor ik",
        )
        protected = [x.integrity_protected for x in world.scscf.registrar.seen]
        story.check(protected == ["no", "yes"], f"integrity-protected at the S-CSCF: {protected}")
        story.show("sadctl list", world.daemon.sadctl("list"))

        story.chapter("REGISTER", "Bob's phone, TCP over IPv4; Carol's, UDP over IPv6")
        self.bob = await self._ue(2, "bob", transport="TCP")
        self.carol = await self._ue(3, "carol", version=6)
        for ue in (self.bob, self.carol):
            await within(ue.register())
        self._counts("three are registered", sas=12)

    async def talk(self) -> None:
        """INVITE and MESSAGE both ways."""
        story = self.story
        story.chapter("INVITE", "Alice calls Bob")
        with self.lines.shown(methods={"INVITE", "ACK", "BYE"}):
            call = await within(self.alice.call(home.public_identity(2)))
            taken = await within(self.bob.calls.get())
            answer = await within(taken.reinvite())
            story.check(answer.status == 200, "Bob changes the session by re-INVITE")
            story.check((await within(call.bye())).status == 200, "Alice hangs up")
        story.chapter("MESSAGE", "both ways, all three transports")
        for sender, receiver in (
            (self.alice, self.carol),
            (self.carol, self.bob),
            (self.bob, self.alice),
        ):
            text = f"from {sender.config.user}"
            answer = await within(sender.message(receiver.config.public_identity, text))
            got = await within(receiver.messages.get())
            story.check(
                answer.status == 200 and got.body == text.encode(),
                f"{_who(sender)} -> {_who(receiver)}",
            )

    async def second_registration(self) -> None:
        """Old and new set side by side."""
        story = self.story
        story.chapter("Re-REGISTER", "a new set beside the old one")
        with self.lines.shown():
            await within(self.alice.register())
        self._counts("old and new set side by side", sas=16)
        states = _states(self.world, 1)
        story.check(
            sorted(states) == ["established", "inUse"],
            f"Alice's sets: {', '.join(sorted(states))}",
        )
        await within(self.alice.message(home.public_identity(2), "on the new set"))
        await within(self.bob.messages.get())
        wait_until(lambda: "retiring" in _states(self.world, 1), "the old set retires")
        story.check(
            True, "her first request on the new set retires the old one (64*T1, here 2.6 s)"
        )
        await within(self.bob.message(home.public_identity(1), "and back"))
        await within(self.alice.messages.get())
        wait_until(lambda: self.world.states() == 12, "the old set has gone")
        self._counts("after 64*T1", sas=12)

    async def daemon_away(self) -> None:
        """Calls go on, new registrations are refused at once, and served after its start."""
        world, story = self.world, self.story
        story.chapter("sad is killed", "and Kamailio goes on")
        world.daemon.kill()
        answer = await within(self.alice.message(home.public_identity(2), "still here"))
        await within(self.bob.messages.get())
        story.check(answer.status == 200, "a MESSAGE on established sets passes")
        dave = await self._ue(4, "dave")
        with self.lines.shown():
            refused = await within(dave.begin())
        story.check(refused.response.status == 503, "a new registration is refused at once: 503")
        world.daemon.start()
        await within(dave.register())
        story.check(True, "sad has started again; the same Kamailio registers Dave")
        await within(dave.deregister())
        await world.drop(dave)
        wait_until(lambda: world.states() == 12, "Dave's sets have gone")

    async def deregistration(self) -> None:
        """The 200 still leaves on the set, then the set goes."""
        world, story = self.world, self.story
        story.chapter("De-REGISTER", "the answer still leaves on the set")
        with self.lines.shown():
            await within(self.alice.deregister())
        wait_until(lambda: not _states(world, 1), "Alice's sets have gone")
        self._counts(f"after a linger of {_LINGER} s", sas=8)
        for ue in (self.bob, self.carol):
            await within(ue.deregister())
        wait_until(lambda: world.states() == 0, "all sets have gone")
        self._counts("all have left", sas=0)

    async def expiry(self, margin: int) -> None:
        """A phone without a battery: the registration's end is the association's."""
        world, story = self.world, self.story
        story.chapter("Expiry", f"Erin's registration of 3 s ends, {margin} s later her sets")
        erin = await self._ue(5, "erin")
        world.scscf.registrar.settings.granted = 3
        await within(erin.register())
        story.show("sadctl list", world.daemon.sadctl("list"))
        await world.drop(erin)
        await asyncio.to_thread(wait_until, lambda: world.states() == 0, "expiry")
        story.check(not world.daemon.associations(), "and sadctl list is empty")
        self._counts("after expiry", sas=0)

    def wire(self) -> None:
        """What the sniffer on the access wire saw."""
        world, story = self.world, self.story
        story.chapter("The wire", "what a sniffer saw between UEs and edge, from start to end")
        esp, clear = world.access_wire.esp(), world.clear()
        story.check(
            len(esp) > 100 and not clear,
            f"{len(esp)} ESP packets, {len(clear)} packets in clear on a protected port",
        )
        story.check(
            world.scscf.violations == []
            and all(u.violations == [] for u in (self.alice, self.bob, self.carol)),
            "neither the strict UEs nor the S-CSCF saw anything that the standards forbid",
        )


def _who(ue: Ue) -> str:
    return f"{ue.config.user} ({ue.config.transport}, {ue.config.address})"


def _states(world: EdgeWorld, number: int) -> list[str]:
    identity = home.private_identity(number)
    return [
        a["state"]
        for a in world.daemon.associations()
        if a["registration"]["privateIdentity"] == identity
    ]


def _status_of(world: EdgeWorld) -> dict[str, str]:
    assert world.kamailio.process is not None
    text = (world.kamailio.proc() / "status").read_text()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
