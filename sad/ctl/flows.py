"""Why the packets of a flow are protected or not: the lines of ``explain PEER:PORT LOCAL:PORT``.

Pure but for the call. The counterpart is :mod:`sad.core.flow_explanation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from sad.ctl.arguments import SocketAddress
from sad.ctl.session import CONTROL, Session
from sad.ctl.sheet import Sheet
from sad.ctl.words import socket_address

if TYPE_CHECKING:
    from sad.ctl.shapes import ExplainOut

#: The kernel's tables are read whole.
_PATIENCE_SECONDS: Final = 60.0

_ROLES: Final = {"protected": "good", "dropped": "bad", "clear": "bad"}
_VERDICTS: Final = {"clear": "passes in clear"}


def explain_flow(session: Session, peer: SocketAddress, local: SocketAddress) -> None:
    """Ask and show."""
    flow = {
        "peerAddress": peer.address,
        "peerPort": peer.port,
        "localAddress": local.address,
        "localPort": local.port,
    }
    reply = session.call(f"{CONTROL}.Explain", {"flow": flow}, patience=_PATIENCE_SECONDS)
    session.answer(reply, partial(flow_lines, ends=(peer, local)))


def flow_lines(reply: ExplainOut, sheet: Sheet, ends: Sequence[SocketAddress]) -> list[str]:
    """Return both directions; ``ends`` are the peer's and ours."""
    peer, local = (socket_address(*end) for end in ends)
    lines = [
        sheet.title("endpoint", reply.get("endpoint") or "none: our end is no protected port"),
        sheet.title("association", reply.get("association") or "none protects this flow"),
    ]
    for fate in reply["fates"]:
        source, destination = (peer, local) if fate["direction"] == "in" else (local, peer)
        verdict = fate["verdict"]
        lines += [
            "",
            sheet.title(fate["direction"], f"{source} -> {destination}"),
            *sheet.labelled("verdict", _VERDICTS.get(verdict, verdict), _ROLES.get(verdict, "")),
        ]
        for finding in fate["findings"]:
            lines += sheet.labelled(finding["what"], finding["text"])
        if fate["hint"]:
            lines += sheet.labelled("hint", fate["hint"], "hint")
    return lines
