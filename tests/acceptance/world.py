"""What a scenario is given, and what it may claim of the wire."""

from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance import capture
from tests.acceptance.capture import Capture
from tests.acceptance.edge import Edge
from tests.acceptance.handsets import Handsets
from tests.acceptance.machines import Machine, wait_until
from tests.support.sniffer import Packet


@dataclass
class World:
    """Both machines, the phones and the wire. ``begun``: packets before this scenario.

    ``keys`` are those that scenarios made, to look for in logs.
    """

    edge: Edge
    ue: Machine
    phones: Handsets
    capture: Capture
    folder: Path
    begun: int = 0
    notes: list[str] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Write something into the scenario's log."""
        self.notes.append(text)

    def look(self, when: str) -> None:
        """Write what the edge's operator sees into the scenario's log."""
        self.note(f"=== {when}\n{self.edge.evidence()}")

    def wire(self) -> list[Packet]:
        """What passed since the scenario began."""
        return self.capture.packets()[self.begun :]

    def assert_protected(self) -> None:
        """ESP passed, nothing in clear on a protected port, and nobody saw a rule broken."""
        packets = self.wire()
        found = capture.clear(packets)
        assert found == [], f"in clear on a protected port: {found[:3]}"
        assert capture.esp(packets) or capture.encapsulated(packets), "no ESP at all"
        assert self.phones.call("violations") == {"ues": {}, "scscf": []}

    def assert_blocked(self, version: int, port: int) -> None:
        """Clear text to a protected port has no answer, and the kernel counts it."""

        def counted() -> bool:
            before = self.drops()  # a guard that is applied anew counts from nothing
            assert not self.phones.call("probe", version=version, port=port)["answered"]
            return self.drops() > before

        wait_until(counted, f"clear text to port {port} is counted")

    def drops(self) -> int:
        """Packets that the edge's guard and block policies have dropped."""
        script = (
            "nft list ruleset | sed -n 's/.*counter packets \\([0-9]*\\).*drop.*/\\1/p'; "
            "sed -n 's/^XfrmInPolBlock *//p; s/^XfrmInNoPols *//p' /proc/net/xfrm_stat"
        )
        return sum(map(int, self.edge.machine.shell(script).split()))

    def reset(self) -> None:
        """Leave the next scenario nothing."""
        self.phones.call("reset")
        self.edge.restore()
