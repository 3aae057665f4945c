"""The independent eye: what ``ip xfrm`` says lies in a namespace's kernel."""

import dataclasses
import re

from tests.support.namespaces import Namespace


@dataclasses.dataclass(frozen=True, slots=True)
class SeenSa:
    """One SA as ``ip xfrm state`` prints it; keys as printed (hex without 0x).

    A combined mode algorithm is ``enc``. ``hard_packets`` is 0 for none.
    """

    source: str
    destination: str
    spi: int
    reqid: int
    mode: str
    replay_window: int
    auth: str
    auth_key: str
    enc: str
    enc_key: str
    hard_add: int
    hard_packets: int
    text: str


def states(namespace: Namespace) -> list[SeenSa]:
    """Return every SA of the namespace."""
    text = namespace.run(["ip", "-s", "xfrm", "state"]).stdout
    return [_state(block) for block in re.split(r"(?m)^(?=src )", text) if block.strip()]


def _state(block: str) -> SeenSa:
    def find(pattern: str, default: str = "") -> str:
        match = re.search(pattern, block)
        return match.group(1) if match else default

    source, destination = re.findall(r"^src (\S+) dst (\S+)", block)[0]
    return SeenSa(
        source=source,
        destination=destination,
        spi=int(find(r"spi (0x[0-9a-f]+)"), 16),
        reqid=int(find(r"reqid (\d+)")),
        mode=find(r" mode (\w+)"),
        # Windows above 32 stand in the extended context, beside a "replay-window 0".
        replay_window=max(map(int, re.findall(r"replay.window (\d+)", block)), default=0),
        auth=find(r"auth-trunc (\S+) 0x"),
        auth_key=find(r"auth-trunc \S+ 0x([0-9a-f]*)"),
        enc=find(r"(?:enc|aead) (\S+)"),
        enc_key=find(r"(?:enc|aead) \S+ (?:0x)?([0-9a-f]*)"),
        hard_add=int(find(r"expire add: soft \S+, hard (\d+)\(sec\)", "0")),
        hard_packets=int(find(r"limit: soft \S+\(packets\), hard (\d+)\(packets\)", "0")),
        text=block,
    )


def policies(namespace: Namespace) -> list[str]:
    """Return every policy of the namespace as printed, without the sockets' own."""
    text = namespace.run(["ip", "xfrm", "policy", "list", "nosock"]).stdout
    return [block for block in re.split(r"(?m)^(?=src )", text) if block.strip()]


def statistics(namespace: Namespace) -> dict[str, int]:
    """Return the kernel's counters of dropped packets."""
    text = namespace.run(["cat", "/proc/net/xfrm_stat"]).stdout
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}
