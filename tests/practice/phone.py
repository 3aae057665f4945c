"""A phone that registers through the node, and the core that knows it, in the practice network.

The counterpart of :mod:`tests.demo`, whose world is all its own: here Kamailio, ``sad`` and the
kernel are this machine's, as they were installed.
"""

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.demo.sip_lines import SipLines
from tests.demo.story import Story
from tests.practice.network import CORE, EDGE, NAMESPACE, PHONE, SERVER_PORT, SIP_PORT
from tests.ue import home
from tests.ue.flow import HostPort
from tests.ue.registrar import RegistrarSettings
from tests.ue.registration import Attempt, RegistrationRefused
from tests.ue.scscf import Scscf
from tests.ue.transaction import TransactionTimeout
from tests.ue.transport import bound_socket
from tests.ue.ue import Ue
from tests.ue.xfrm import IpXfrm

#: As phones do that are told to come again.
_TRIES: Final = 5
_PAUSE_SECONDS: Final = 2.0
#: How long an answer in clear may take; the phone waits for none that the node drops.
_ANSWER_SECONDS: Final = 32.0
_SILENCE_SECONDS: Final = 2.0
_PROBE: Final = (
    "OPTIONS sip:{at} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{port}\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:probe@{me}>;tag=1\r\nTo: <sip:{at}>\r\n"
    "Call-ID: {port}@{me}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


class Unregistered(Exception):
    """The phone did not get in; the text says where to look."""


async def play(story: Story) -> None:
    """Register, talk, and leave when standard input ends."""
    lines = SipLines(story)
    core = Scscf(
        home.DOMAIN,
        HostPort(CORE, SIP_PORT),
        settings=RegistrarSettings(require_protection=True),
        namespace=NAMESPACE,
    )
    core.add(home.subscriber(1))
    xfrm = IpXfrm(NAMESPACE)
    config = home.ue_config(
        1,
        address=PHONE[4],
        pcscf=HostPort(EDGE[4], SIP_PORT),
        port=0,
        namespace=NAMESPACE,
    )
    phone = Ue(config, xfrm, on_trace=lines.of("phone"))
    lines.names[PHONE[4]] = "phone"
    await core.start()
    try:
        await phone.start()
        story.chapter("REGISTER", "a phone, through this node, to a core")
        with lines.shown():
            await _register(story, phone)
        await _look(story, phone)
        await _talk(story, phone)
        story.check(
            core.violations == [] and phone.violations == [],
            "neither phone nor core saw anything that the standards forbid",
        )
    finally:
        await phone.close()
        await core.close()
        await xfrm.close()


async def _register(story: Story, phone: Ue) -> None:
    for left in reversed(range(_TRIES)):
        try:
            attempt = await phone.begin()
            if attempt.response.status == 401:
                # The set is there before the 401 is (T33-7.2): look before anything is sent on it.
                there = _spis_of(attempt) <= _spis()
                response = await phone.finish(attempt)
                story.check(there, "when the 401 arrived its 4 SAs lay in the node's kernel")
                story.check(response.status == 200, "200 to the REGISTER inside ESP")
                return
            said = f"REGISTER got {attempt.response.status} {attempt.response.reason}"
        except RegistrationRefused as refused:
            said = f"REGISTER got {refused.response.status} {refused.response.reason}"
        except TransactionTimeout:
            raise _unregistered("REGISTER got no answer") from None
        story.say(said)
        await phone.forget()
        if left:
            await asyncio.sleep(_PAUSE_SECONDS)
    raise _unregistered(said)


def _unregistered(said: str) -> Unregistered:
    return Unregistered(
        f"{said}. Look at: sadctl status; sadctl check; journalctl -u kamailio -u sad"
    )


async def _look(story: Story, phone: Ue) -> None:
    """What the node's operator sees, and what clear text comes to."""
    program = Path(sys.executable).with_name("sadctl")
    listed = await asyncio.to_thread(_out, str(program), "list")
    story.show("sadctl list", listed)
    story.check(home.private_identity(1) in listed, "sadctl lists the phone")
    answered = await asyncio.to_thread(_answers, SIP_PORT, _ANSWER_SECONDS)
    story.check(answered, f"in clear port {SIP_PORT} answers")
    answered = await asyncio.to_thread(_answers, SERVER_PORT, _SILENCE_SECONDS)
    story.check(not answered, f"in clear the protected port {SERVER_PORT} does not")


async def _talk(story: Story, phone: Ue) -> None:
    """Send a message to itself for each line of standard input; then leave."""
    story.chapter("MESSAGE", "inside ESP, to itself; Enter: another one; Ctrl-D: the phone leaves")
    while True:
        before = _packets()
        answer = await phone.message(phone.config.public_identity, "hello")
        received = answer.status == 200 and (await phone.messages.get()).body == b"hello"
        passed = _packets() - before
        story.check(received and passed >= 4, f"it has arrived, in {passed} packets of ESP")
        if not await asyncio.to_thread(sys.stdin.readline):
            break
    story.chapter("REGISTER", "Expires: 0")
    story.check((await phone.deregister()).status == 200, "the phone has left")


def _answers(port: int, seconds: float) -> bool:
    """Whether SIP in clear from the phone's address to a port of the node is answered."""
    with bound_socket(socket.SOCK_DGRAM, HostPort(PHONE[4], 0), NAMESPACE) as probe:
        probe.settimeout(seconds)
        me = "{}:{}".format(*probe.getsockname())
        text = _PROBE.format(at=f"{EDGE[4]}:{port}", me=me, port=port)
        try:
            probe.sendto(text.encode(), (EDGE[4], port))
            return bool(probe.recv(4096))
        except OSError:
            return False


def _spis_of(attempt: Attempt) -> set[int]:
    """The SPIs of the four SAs that a challenge has agreed on."""
    assert attempt.channel is not None
    s = attempt.channel.sa_set
    assert s is not None
    return {s.spi_uc, s.spi_us, s.spi_pc, s.spi_ps}


def _spis() -> set[int]:
    """The SPIs of ESP in the node's kernel."""
    text = _out("ip", "xfrm", "state", "list", "nokeys")
    return {int(spi, 16) for spi in re.findall(r"proto esp spi (0x[0-9a-f]+)", text)}


def _packets() -> int:
    """Packets that the node's SAs have carried."""
    text = _out("ip", "-s", "xfrm", "state", "list", "nokeys")
    return sum(map(int, re.findall(r"\(bytes\), (\d+)\(packets\)", text)))


def _out(*command: str) -> str:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
