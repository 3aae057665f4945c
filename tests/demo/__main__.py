"""``make demo``: negotiated parameters in, real security associations out, told as it happens.

Two network namespaces, a real daemon in each (roles edge and ue), a real kernel between them.
Every line that claims something has been checked; the exit status is 1 if one did not hold.
"""

import platform
import sys
import tempfile
from pathlib import Path
from socket import IPPROTO_ICMPV6

from sip_hooks.secagree import parse_header_line, read_ipsec_3gpp
from tests.demo.story import Story
from tests.demo.wire import Tcpdump
from tests.support import eye
from tests.support.daemon import wait_until
from tests.support.make import IK
from tests.support.pair import EDGE, EDGE_SERVER, UE, UE_SERVER, Pair, pair_of_daemons
from tests.support.sniffer import Packet, Sniffer

# The fifth mechanism of a handset's header as published (tests/vectors/security-headers.txt).
HEADER = (
    "Security-Client: ipsec-3gpp;prot=esp;mod=trans;spi-c=17775;spi-s=17776;port-c=6802;"
    "port-s=6800;alg=hmac-sha-1-96;ealg=aes-cbc"
)
LIFETIME = 12


def main() -> int:
    """Tell the story; return the exit status."""
    story = Story()
    with tempfile.TemporaryDirectory() as folder:
        story.chapter("Two nodes", f"on Linux {platform.release()}")
        with pair_of_daemons(Path(folder), settings='stop = "remove"\n') as pair:
            tell(story, pair)
            story.chapter("The daemons stop", 'with stop = "remove"')
            story.check(pair.edge_daemon.stop() == 0, "the edge daemon stops in order")
            story.check(pair.ue_daemon.stop() == 0, "the UE daemon stops in order")
            empty = not any(
                (eye.states(ns), eye.policies(ns))[what]
                for ns in (pair.edge, pair.ue)
                for what in (0, 1)
            )
            story.check(empty, "ip xfrm finds neither SA nor policy on either node")
    return story.verdict()


def tell(story: Story, pair: Pair) -> None:
    """Play everything between the start and the stop of the daemons."""
    story.say(f"edge {EDGE[4]} and ue {UE[4]}, connected by a cable, each with its own sad")
    story.show("sadctl status (edge)", pair.edge_daemon.sadctl("status"))

    story.chapter("Before", "nothing is agreed yet")
    story.check(
        not pair.udp_arrives((UE[4], 40000), (EDGE[4], EDGE_SERVER)),
        f"SIP in clear to the protected port {EDGE_SERVER} is dropped",
    )
    blocked = eye.statistics(pair.edge)["XfrmInPolBlock"]
    story.check(blocked > 0, f"and counted by the kernel: XfrmInPolBlock {blocked}")

    story.chapter("Install", "from a real handset's header")
    story.say(HEADER)
    _, (mechanism,) = parse_header_line(HEADER)
    offer = read_ipsec_3gpp(mechanism)
    edge, _ = pair.install(integrity=offer.alg, encryption=offer.ealg, lifetime=LIFETIME)
    s = edge["ipsec3gpp"]
    story.say(
        f"edge chose spi-c={s['spiPc']} spi-s={s['spiPs']} port-c={s['portPc']} "
        f"port-s={s['portPs']} for its Security-Server"
    )
    counts(story, pair, "after Install", sas=4)
    shown = eye.states(pair.edge)[0]
    story.say(f"one of them as ip xfrm sees it: {' '.join(shown.text.split()[:12])} ...")
    vector = f"{IK.hex()}00000000"
    story.check(
        all(x.auth_key == vector for x in eye.states(pair.edge)),
        "the integrity key in the kernel is the vector of TS 33.203 Annex I",
    )

    story.chapter("SIP", "UDP and TCP, both ways, seen by tcpdump on the edge")
    with pair.edge.enter():
        sniffer = Sniffer(pair.cable.a)  # counts what the kernel saw pass
    with sniffer, Tcpdump(pair.edge, pair.cable.a) as tcpdump:
        names = ("SA1", "SA2", "SA3", "SA4")
        for name, (source, destination) in zip(names, pair.port_pairs(edge), strict=True):
            arrived = pair.udp(source, destination, b"MESSAGE sip:demo SIP/2.0")
            story.check(arrived, f"UDP {_at(source)} -> {_at(destination)} ({name})")
        for name, row in (("UE", 0), ("P-CSCF", 2)):
            source, destination = pair.port_pairs(edge)[row]
            arrived = pair.tcp(source, destination, b"INVITE sip:demo SIP/2.0")
            story.check(arrived, f"TCP {_at(source)} -> {_at(destination)} (opened by the {name})")

        def passed() -> list[Packet]:
            return [p for p in sniffer.packets() if p.protocol != IPPROTO_ICMPV6]

        wait_until(lambda: len(tcpdump.lines()) == len(passed()), "tcpdump has read all")
        lines = tcpdump.lines()
    esp = [line for line in lines if " ESP(" in line]
    story.show(f"tcpdump: {len(esp)} ESP packets, the first four", "\n".join(esp[:4]))
    story.check(
        len(esp) == len(lines) >= 12,
        f"each of the {len(lines)} packets went as ESP, none in clear",
    )
    story.check(
        not pair.udp_arrives((EDGE[4], 5060), (UE[4], UE_SERVER)),
        "a message that took the wrong socket (5060) does not leave in clear",
    )
    story.show("sadctl list (edge)", pair.edge_daemon.sadctl("list"))
    story.show("sadctl show (edge)", pair.edge_daemon.sadctl("show", edge["id"]))

    story.chapter("Expiry", f"the lifetime of {LIFETIME} s ends")
    for daemon in (pair.edge_daemon, pair.ue_daemon):
        wait_until(lambda daemon=daemon: not daemon.associations(), "expiry")  # type: ignore[misc]
    counts(story, pair, "after expiry", sas=0)
    source, destination = pair.port_pairs(edge)[0]
    story.check(not pair.udp_arrives(source, destination), "and nothing passes any more")


def counts(story: Story, pair: Pair, when: str, *, sas: int) -> None:
    """Say and check what ``ip xfrm`` counts on both nodes."""
    for name, namespace in (("edge", pair.edge), ("ue", pair.ue)):
        found = len(eye.states(namespace))
        policies = len(eye.policies(namespace))
        story.check(found == sas, f"{when}, ip xfrm on {name}: {found} SAs, {policies} policies")


def _at(where: tuple[str, int]) -> str:
    return f"{where[0]}:{where[1]}"


if __name__ == "__main__":
    sys.exit(main())
