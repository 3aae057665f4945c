"""More than one node, as lines for people, and the verbs that are about it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from sad.ctl.session import CONTROL, Session
from sad.ctl.sheet import Cell, Sheet, state_role
from sad.ctl.words import ago, counted, listing, span, state_text

if TYPE_CHECKING:
    from argparse import Namespace

    from sad.ctl.cluster_shapes import (
        ClusterEndpoint,
        ClusterNode,
        ClusterStatus,
        ListClusterOut,
        TakeoverOut,
    )

#: The owner may have much to tell etcd, and this node much to put into its kernel.
_PATIENCE_SECONDS: Final = 90.0
_MICROSECONDS: Final = 1_000_000
#: Clocks that differ by more than this end sets too early after a takeover.
_CLOCK_SECONDS: Final = 2.0
_STATE_WIDTH: Final = len("established")
_SPAN_WIDTH: Final = len("expires in 59 min 59 s")
_ADDRESS_WIDTH: Final = len("255.255.255.255")
_ROLES: Final = {"owner": "good", "unsure": "waiting", "taking": "waiting", "yielding": "waiting"}


def takeover(session: Session, args: Namespace) -> None:
    """Bring an endpoint to this node."""
    wanted = {"endpoint": args.endpoint, **({"fenced": True} if args.fenced else {})}
    reply = session.call(f"{CONTROL}.Takeover", wanted, patience=_PATIENCE_SECONDS)
    session.answer(reply, taken_lines)


def list_cluster(session: Session) -> None:
    """Show the associations of all nodes, out of etcd."""
    lines = partial(listed_lines, now=time.time())
    for reply in session.stream(f"{CONTROL}.ListCluster", {}):
        if reply.get("association"):
            session.answer_row(reply, lines)


def taken_lines(reply: TakeoverOut, sheet: Sheet) -> list[str]:
    """Return a reply of ``Takeover``."""
    took = reply["took"] / _MICROSECONDS
    text = f"{counted(reply['restored'], 'set')} in {took:.3f} s"
    lines = sheet.labelled("taken over", text, "good", indent="")
    if reply["lost"]:
        text = f"{counted(reply['lost'], 'set')}: their user agents register again"
        lines += sheet.labelled("not taken over", text, "bad", indent="")
    return lines


def listed_lines(reply: ListClusterOut, sheet: Sheet, now: float) -> list[str]:
    """Return one reply of ``ListCluster`` as a row."""
    association = reply.get("association")
    if not association:
        return []
    left = int(association["expiresAt"] / _MICROSECONDS - now)
    lifetime = f"expires in {span(left)}" if left > 0 else "expired"
    state = association["state"]
    return sheet.line(
        (
            Cell(association["owner"]),
            Cell(association["id"]),
            Cell(state_text(state), state_role(state), _STATE_WIDTH),
            Cell(lifetime, "", _SPAN_WIDTH),
            Cell(association["endpoint"]),
            Cell(association["peerAddress"], "", _ADDRESS_WIDTH),
            Cell(association["privateIdentity"]),
        )
    )


def cluster_lines(cluster: ClusterStatus, sheet: Sheet, now: float) -> list[str]:
    """Return this node's place in its cluster, for the status."""
    lines = [sheet.title("cluster", cluster["cluster"])]
    lines += sheet.labelled("node", cluster["node"])
    role = "" if cluster["etcd"] == "well" else "bad"
    lines += sheet.labelled("etcd", _words(cluster["etcd"]), role)
    if hint := cluster["etcdHint"]:
        lines += sheet.labelled("hint", hint, "hint")
    waiting = counted(cluster["waiting"], "change")
    if cluster["lag"]:
        waiting += f", the oldest {cluster['lag'] / _MICROSECONDS:.1f} s old"
    lines += sheet.labelled("not told yet", waiting)
    if cluster["compareWanted"]:
        text = f"endpoints {listing(cluster['compareWanted'])}"
        lines += sheet.labelled("to be compared", text, "waiting")
    for endpoint in cluster["endpoints"]:
        lines += _endpoint(endpoint, sheet)
    for node in cluster["nodes"]:
        lines += _node(node, cluster["node"], sheet, now)
    return lines


def _endpoint(endpoint: ClusterEndpoint, sheet: Sheet) -> Iterator[str]:
    owner = endpoint["owner"] or "nobody"
    text = f"{endpoint['state']}, {endpoint['mode']}; owned by {owner} (epoch {endpoint['epoch']})"
    if endpoint["setAside"]:
        text += f"; {counted(endpoint['setAside'], 'set')} set aside"
    name = f"endpoint {endpoint['endpoint']}"
    yield from sheet.labelled(name, text, _ROLES.get(endpoint["state"], ""))


def _node(node: ClusterNode, own: str, sheet: Sheet, now: float) -> Iterator[str]:
    text = f"lives since {ago(node['since'], now)}, version {node['version']}"
    ahead = node["clockAhead"] / _MICROSECONDS
    if node["name"] != own and abs(ahead) > _CLOCK_SECONDS:
        text += f"; its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} ours"
        yield from sheet.labelled(f"node {node['name']}", text, "bad")
        hint = "have both kept by NTP: after a takeover sets end by the clock"
        yield from sheet.labelled("hint", hint, "hint", indent="    ")
        return
    yield from sheet.labelled(f"node {node['name']}", text)


def _words(etcd: str) -> str:
    return {"wentBack": "went back: a backup was restored", "gone": "not reached"}.get(etcd, etcd)
