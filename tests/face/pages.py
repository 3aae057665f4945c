"""The page ``sad/docs/commands.md``: what each command prints on a live edge.

``make commands`` writes it anew; a test on a real kernel compares its shape with what the commands
print there, numbers, ids and ages left out of account.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sad.ctl.__main__ import main
from tests.face.watching import monitored, topped
from tests.support.pair import EDGE, UE, Pair

PAGE: Final = Path(__file__).resolve().parents[2] / "sad/docs/commands.md"
#: Lines of a long answer that are shown.
_SHOWN: Final = 14
_HEADER: Final = (
    "Security-Client: tls;q=0.5, ipsec-3gpp;alg=hmac-md5-96;spi-c=300;spi-s=301;"
    "port-c=6000;port-s=6001"
)
_DIGEST: Final = "digest;q=0.2;d-alg=MD5;d-qop=auth, ipsec-ike;q=0.1"
_DIGEST_LIST: Final = "tls;q=0.3, digest;q=0.2;d-alg=MD5;d-qop=auth"


class Command(NamedTuple):
    """One command, why one gives it, and what it printed."""

    title: str
    words: tuple[str, ...]
    said: str
    status: int


def commands(pair: Pair) -> Iterator[Command]:
    """Run every command that the page shows."""
    daemon = pair.edge_daemon
    everybody = daemon.associations()
    sets = [a for a in everybody if a["mechanism"] == "ipsec-3gpp"]
    by_peer = [a for a in sets if a["ipsec3gpp"]["ueAddress"] == UE[4]]
    good, bad = sorted(by_peer, key=lambda a: a["state"] != "inUse")[:2]
    released = next(a for a in sets if a["state"] == "retiring")
    keyed, connected, by_ike = (
        next(a for a in everybody if a["mechanism"] == name)
        for name in ("ipsec-man", "tls", "ipsec-ike")
    )
    flow = _flow(good)
    ending = next(a["id"] for a in reversed(sets) if a["state"] == "temporary")
    for title, words in (
        ("How is the daemon?", ("status",)),
        ("Who is there?", ("list",)),
        ("Who ends soon?", ("list", "--expires-within", "5min")),
        ("Everything of one association", ("show", good["id"][:6])),
        ("The keys differ", ("show", bad["id"][:6])),
        ("Only those of a mechanism", ("list", "--mechanism", "ipsec-man")),
        ("Keyed by hand", ("show", keyed["id"][:6])),
        ("A TLS connection", ("show", connected["id"][:6])),
        ("Through strongSwan", ("show", by_ike["id"][:6])),
        ("Key sets of ipsec-man", ("key", "list")),
        ("The TLS credentials", ("tls",)),
        ("One of them whole", ("tls", "show", "peering")),
        ("Which association protects a flow?", ("find", *flow)),
        ("Why is this packet protected?", ("explain", *flow)),
        ("Why does this packet not arrive?", ("explain", f"{UE[4]}:5060", f"{EDGE[4]}:5064")),
        (
            "What would be taken of this header, and why not the rest?",
            (
                "explain",
                _HEADER,
            ),
        ),
        (
            "What would profile rfc3329 take of it, digest among it?",
            ("explain", f"Security-Client: {_DIGEST}", "--list", _DIGEST_LIST),
        ),
        ("What would reconciling change?", ("reconcile", "--dry-run")),
        ("Compare and mend", ("reconcile",)),
        (
            "End an association, with time for its last transactions",
            ("release", good["id"][:6], "--linger", "30"),
        ),
        (
            "End everything of a private identity",
            ("release", "--impi", released["registration"]["privateIdentity"]),
        ),
        ("Is the node fit?", ("check",)),
        ("For programs", ("reconcile", "--json")),
        ("No such association", ("show", "nobody")),
        ("A wrong word", ("list", "--state", "gone")),
    ):
        yield _run(pair, title, words)
    yield Command("All of it, live, in a terminal", ("top",), *topped(daemon))
    yield Command("Changes as they happen, until Ctrl-C", ("monitor",), *monitored(daemon, ending))
    yield _run(pair, "No daemon", ("status", "--socket", "/run/nobody.sock"))


def _flow(association: dict[str, object]) -> tuple[str, str]:
    s = association["ipsec3gpp"]
    assert isinstance(s, dict)
    return f"{s['ueAddress']}:{s['portUc']}", f"{s['pcscfAddress']}:{s['portPs']}"


def _run(pair: Pair, title: str, words: tuple[str, ...]) -> Command:
    socket = [] if "--socket" in words else ["--socket", str(pair.edge_daemon.socket)]
    said = io.StringIO()
    os.environ["COLUMNS"] = "80"
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = main([*words, *socket])
        except SystemExit as left:
            status = int(left.code or 0)
    return Command(title, words, said.getvalue(), status)


def page(found: list[Command]) -> str:
    """Return the page."""
    lines = [
        "# What the commands print",
        "",
        "On a live edge with 50 associations of four mechanisms in all states. `digest`, a fifth,",
        "has none: nothing of it outlives a challenge, so it shows in lists alone. Made by",
        "`make commands`; a test compares its shape with what they print on a real kernel.",
    ]
    for command in found:
        shown = command.said.rstrip("\n").split("\n")
        if len(shown) > _SHOWN and command.words[0] == "list":
            shown = [*shown[:_SHOWN], f"... {len(shown) - _SHOWN} more"]
        lines += [
            "",
            f"## {command.title}",
            "",
            "```console",
            f"$ sadctl {' '.join(_quoted(word) for word in command.words)}",
            *(line.rstrip() for line in shown),
            "```",
        ]
        if command.status:
            lines += ["", f"Exit status {command.status}."]
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    return f"'{word}'" if re.search(r"[ ;]", word) else word


#: What is another every time: ids, SPIs, numbers, ages and the plural that goes with them.
_CHANGING: Final = (
    (r"0x[0-9a-f]{8}", "SPI"),
    (r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{6,40}\b", "ID"),
    (r"\d+(\.\d+)?", "N"),
    (r"(N (day|hour|minute|second)s?(, )?)+ ago|\bnow\b|\bnever\b", "AGO"),
    (r"(N (d|h|min|s)\b ?)+", "SPAN "),
    (r"\b(N [a-z]+?)s?\b", r"\1"),
    (r"N (B|KiB|MiB)", "N BYTES"),
    (r"[ \t]+", " "),
    # strongSwan comes when it is ready: that occasion is before or after another one.
    (r"last reconcile: .*", "last reconcile: WHY"),
)


#: Lines that say something of the machine and its kernel, not of the associations.
_OF_THE_MACHINE: Final = re.compile(
    r"\s*(Xfrm|policy|reqids|last problem|connections:"
    r"|(ok|warning|failed) (clock|guard|strongSwan)"
    r"|hint: (start an NTP|systemctl enable|use a kernel built))"
)


def shape(text: str) -> list[str]:
    """Return the lines of a page without what changes from run to run."""
    lines = []
    for line in text.splitlines():
        masked = line
        for pattern, word in _CHANGING:
            masked = re.sub(pattern, word, masked)
        if not _OF_THE_MACHINE.match(masked):
            lines.append(masked.strip())
    return lines
