"""Replies as lines for people: status, rows of lists and events, results. Pure.

The counterpart for programs is ``--json``, which prints the replies themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sad.ctl.hints import kernel_counter_hint
from sad.ctl.sheet import Cell, Sheet, state_role
from sad.ctl.words import ago, counted, lifetime_text, listing, port_ranges, state_text

if TYPE_CHECKING:
    from sad.ctl.shapes import (
        Association,
        EndpointStatus,
        GetStatusOut,
        KernelCounter,
        ListOut,
        MonitorOut,
        PoolUse,
        ReconcileOut,
        ReconcileReport,
        ReleaseOut,
        StateCount,
    )

#: From here on a pool is worth a warning.
_SHORT_PERCENT = 80
_STATE_WIDTH = len("established")
_LIFETIME_WIDTH = len("expires in 59 min 59 s")
_EVENT_WIDTH = len("present")
_ADDRESS_WIDTH = len("255.255.255.255")


def status_lines(reply: GetStatusOut, sheet: Sheet, now: float) -> list[str]:
    """Return a reply of ``GetStatus`` as groups; ``now`` in real-time seconds."""
    lines = status_head_lines(reply, sheet, now)
    for notice in reply["notices"]:
        lines += sheet.labelled(notice["about"], notice["text"], "bad")
        lines += sheet.labelled("hint", notice["hint"], "hint")
    if cluster := reply.get("cluster"):
        from sad.ctl.cluster import cluster_lines  # noqa: PLC0415 - few are in one

        lines += ["", *cluster_lines(cluster, sheet, now)]
    for endpoint in reply["endpoints"]:
        lines += ["", *_endpoint(endpoint, sheet)]
    if not reply["endpoints"]:
        lines += ["", "no endpoint is configured: nothing can be installed"]
    lines += ["", *_pools(reply["pools"], sheet)]
    if reply["kernelCounters"]:
        lines += ["", *_kernel_counters(reply["kernelCounters"], sheet)]
    return lines


def status_head_lines(reply: GetStatusOut, sheet: Sheet, now: float) -> list[str]:
    """Return the group that speaks of the daemon as a whole."""
    state = reply["state"]
    lines = [
        *sheet.line((Cell("sad:", "title"), Cell(state, state_role(state))), gap=" "),
        *sheet.labelled("version", reply["version"]),
        *sheet.labelled("started", ago(reply["startedAt"], now)),
        *sheet.labelled("associations", _state_counts(reply["associations"])),
    ]
    counts = reply["associations"]
    mechanisms = sorted({count["mechanism"] for count in counts if count["count"]})
    if len(mechanisms) > 1:
        for mechanism in mechanisms:
            own = [count for count in counts if count["mechanism"] == mechanism]
            lines += sheet.labelled(mechanism, _state_counts(own), indent="    ")
    if not reply.get("endsConnections", True):
        text = "this kernel ends none: the SIP server must (CONFIG_INET_DIAG_DESTROY)"
        lines += sheet.labelled("connections", text, "bad")
    if last := reply.get("lastReconcile"):
        text = f"{ago(last['at'], now)} ({last['reason']}): {_found(last)}"
        lines += sheet.labelled("last reconcile", text)
    if problem := reply.get("lastProblem"):
        at = reply.get("lastProblemAt")
        when = f"{ago(at, now)}: " if at else ""
        lines += sheet.labelled("last problem", f"{when}{problem}", "bad")
        if hint := reply.get("lastProblemHint"):
            lines += sheet.labelled("hint", hint, "hint")
    return lines


def _endpoint(endpoint: EndpointStatus, sheet: Sheet) -> Iterator[str]:
    yield sheet.title("endpoint", endpoint["name"])
    yield from sheet.labelled("addresses", listing(endpoint["addresses"]))
    if endpoint["securityServer"]:
        need = "required" if endpoint["required"] else "optional"
        yield from sheet.labelled("profile", f"{endpoint['profile']}, security {need}")
        yield from sheet.labelled("list", endpoint["securityServer"])
    yield from sheet.labelled("server port", str(endpoint["serverPort"]))
    yield from sheet.labelled("client ports", port_ranges(endpoint["clientPorts"]))
    yield from sheet.labelled("algorithms", listing(endpoint["algorithms"]))
    if endpoint["unavailable"]:
        text = f"{listing(endpoint['unavailable'])} (this kernel lacks them)"
        yield from sheet.labelled("unavailable", text, "bad")
    yield from sheet.labelled("associations", str(endpoint["associations"]))


def _pools(pools: Sequence[PoolUse], sheet: Sheet) -> Iterator[str]:
    yield sheet.paint("title", "pools:")
    for pool in pools:
        used, size = pool["used"], pool["size"]
        endpoint = pool.get("endpoint")
        percent = 100 * used // size if size else 100
        text = f"{used} of {size}"
        is_short = percent >= _SHORT_PERCENT
        if percent:
            text += f" ({percent} %)"
        name = f"{pool['name']} of {endpoint}" if endpoint else pool["name"]
        yield from sheet.labelled(name, text, "bad" if is_short else "")
        if is_short:
            hint = "soon nobody new finds room: raise the limit, or find out who needs so many"
            yield from sheet.labelled("hint", hint, "hint", indent="    ")


def _kernel_counters(counters: Sequence[KernelCounter], sheet: Sheet) -> Iterator[str]:
    yield sheet.paint("title", "kernel counters:")
    for counter in counters:
        hint = kernel_counter_hint(counter["name"])
        text = str(counter["value"]) + (f" ({hint})" if hint else "")
        yield from sheet.labelled(counter["name"], text)


def _state_counts(counts: Sequence[StateCount]) -> str:
    total = sum(count["count"] for count in counts)
    of_state: dict[str, int] = {}
    for count in counts:
        of_state[count["state"]] = of_state.get(count["state"], 0) + count["count"]
    each = [f"{number} {state_text(state)}" for state, number in of_state.items() if number]
    return f"{total} ({', '.join(each)})" if each else str(total)


def _found(report: ReconcileReport) -> str:
    amounts = (
        ("adopted", report["adopted"]),
        ("repaired", report["repaired"]),
        ("removed", report["removed"]),
        ("ended", report["ended"]),
    )
    return ", ".join(f"{amount} {what}" for what, amount in amounts if amount) or "nothing to mend"


def reconcile_lines(reply: ReconcileOut, sheet: Sheet) -> list[str]:
    """Return a reply of ``Reconcile``, or of its dry run."""
    findings = reply.get("findings")
    if findings is None:
        return sheet.labelled("reconcile", _found(reply["reconcile"]), indent="")
    lines = sheet.labelled("would be", _found(reply["reconcile"]), indent="")
    for finding in findings:
        lines += sheet.labelled(finding["what"], finding["text"])
    return lines


def peer_address(association: Association) -> str:
    """Return the other side's address, ``-`` for a mechanism that has none."""
    if s := association.get("ipsec3gpp"):
        return s["ueAddress"] if association["role"] == "edge" else s["pcscfAddress"]
    other = association.get("ipsecMan") or association.get("tls") or association.get("ipsecIke")
    return other["peerAddress"] if other else "-"


def _cells(association: Association) -> tuple[Cell, ...]:
    state = association["state"]
    return (
        Cell(association["id"]),
        Cell(state_text(state), state_role(state), _STATE_WIDTH),
        Cell(lifetime_text(association), "", _LIFETIME_WIDTH),
        Cell(association["endpoint"]),
        Cell(peer_address(association), "", _ADDRESS_WIDTH),
        Cell(association["registration"]["privateIdentity"]),
    )


def row_lines(association: Association, sheet: Sheet) -> list[str]:
    """Return an association as one row, folded where the terminal is narrow."""
    return sheet.line(_cells(association))


def listed_lines(reply: ListOut, sheet: Sheet) -> list[str]:
    """Return one reply of ``List``."""
    association = reply.get("association")
    return row_lines(association, sheet) if association else []


def released_lines(reply: ReleaseOut, sheet: Sheet) -> list[str]:
    """Return what ``Release`` released, and how many that were."""
    associations = reply["associations"]
    lines = [line for association in associations for line in row_lines(association, sheet)]
    return [*lines, f"{counted(len(associations), 'association')} released"]


def event_lines(reply: MonitorOut, sheet: Sheet, stamp: str) -> list[str]:
    """Return one reply of ``Monitor`` as a row; ``stamp`` is the time of day in words."""
    event = reply["event"]
    head = (Cell(stamp), Cell(event, "", _EVENT_WIDTH))
    if association := reply.get("association"):
        return sheet.line((*head, *_cells(association)))
    if event == "ready":
        return sheet.line((*head, Cell("that is all there is; what follows are changes")))
    if event == "resync":
        text = "changes may have been missed: all over again"
        return sheet.line((*head, Cell(text, "waiting")))
    return sheet.line(head)
