"""One association as lines: registration, mechanism, its SAs, what they counted. Pure.

The SAs are those of TS 33.203 7.1, named SA1 to SA4 whichever side this node is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sad.ctl.hints import association_hints, sa_hint
from sad.ctl.mechanisms import of_mechanism, sas_of
from sad.ctl.sheet import Sheet, state_role
from sad.ctl.words import (
    ago,
    counted,
    end_reason_text,
    lifetime_text,
    listing,
    size,
    spi_text,
    state_text,
)

if TYPE_CHECKING:
    from sad.ctl.shapes import Association, FindOut, GetOut, SaCounters

_PROTOCOLS = {6: "TCP only", 17: "UDP only"}


def details_lines(reply: GetOut, sheet: Sheet, now: float) -> list[str]:
    """Return a reply of ``Get`` as lines; ``now`` in real-time seconds."""
    association, counters = reply["association"], reply["counters"]
    lines = _head(association, counters, sheet, now)
    for block in _sa_blocks(association, counters, sheet, now):
        lines += ["", *block]
    for block in (_policy_lines(reply, sheet), _history_lines(reply, sheet, now)):
        if block:
            lines += ["", *block]
    return lines


def _policy_lines(reply: GetOut, sheet: Sheet) -> list[str]:
    """The policies between the two hosts, in the kernel's order, whoever made them."""
    policies = reply.get("policies") or ()
    lines = [sheet.paint("title", "policies:")] if policies else []
    for policy in policies:
        what = f"{policy['action']} {policy['source']} -> {policy['destination']}"
        protocol = policy.get("protocol")
        notes = [_PROTOCOLS.get(protocol, f"protocol {protocol} only")] if protocol else []
        notes.append(f"priority {policy['priority']}")
        if policy["reqid"]:
            notes.append(f"reqid {policy['reqid']}")
        if not policy["ours"]:
            notes.append("not of sad")
        role = "" if policy["ours"] else "bad"
        lines += sheet.labelled(policy["direction"], f"{what} ({', '.join(notes)})", role)
    return lines


def _history_lines(reply: GetOut, sheet: Sheet, now: float) -> list[str]:
    history = reply.get("history") or ()
    lines = [sheet.paint("title", "history:")] if history else []
    for step in history:
        times = f" ({step['times']} times, the last)" if step["times"] > 1 else ""
        lines += sheet.labelled(state_text(step["step"]), f"{ago(step['at'], now)}{times}")
    return lines


def found_lines(reply: FindOut, sheet: Sheet, now: float) -> list[str]:
    """Return a reply of ``Find`` as lines: as details, without counters.

    A last line says which set carries what is sent, if that is another one.
    """
    found, outbound = reply["association"], reply["outbound"]
    lines = details_lines({"association": found, "counters": []}, sheet, now)
    if outbound["id"] != found["id"]:
        lines += ["", sheet.title("sent on", outbound["id"])]
    return lines


def _head(
    association: Association, counters: Sequence[SaCounters], sheet: Sheet, now: float
) -> list[str]:
    state = association["state"]
    registration = association["registration"]
    lines = [
        sheet.title("association", association["id"]),
        *sheet.labelled("state", state_text(state), state_role(state)),
        *sheet.labelled("ended" if state == "ended" else "lifetime", lifetime_text(association)),
        *_leaving_lines(association, sheet),
        *sheet.labelled("endpoint", f"{association['endpoint']}, role {association['role']}"),
        *sheet.labelled("private identity", registration["privateIdentity"]),
    ]
    if registration["publicIdentities"]:
        lines += sheet.labelled("public identities", listing(registration["publicIdentities"]))
    lines += sheet.labelled("mechanism", association["mechanism"])
    for label, text in of_mechanism(association):
        lines += sheet.labelled(label, text)
    confirmed = association["confirmedAt"]
    lines += sheet.labelled("created", ago(association["createdAt"], now))
    lines += sheet.labelled("confirmed", ago(confirmed, now) if confirmed else "not yet")
    for hint in association_hints(association, counters, now):
        lines += sheet.labelled("hint", hint, "hint")
    return lines


def _leaving_lines(association: Association, sheet: Sheet) -> list[str]:
    """Why it goes already, if it lingers."""
    reason = association.get("endReason")
    if association["state"] == "ended" or not reason:
        return []
    return sheet.labelled("leaving", end_reason_text(reason), "waiting")


def _sa_blocks(
    association: Association, counters: Sequence[SaCounters], sheet: Sheet, now: float
) -> Iterator[list[str]]:
    """Each SA of the set with its counters, then counters of SAs that no table here names."""
    named = {sa.name: sa for sa in sas_of(association)}
    counted_by_name = {counter["name"]: counter for counter in counters}
    for sa in named.values():
        counter = counted_by_name.get(sa.name)
        lines = [
            sheet.title(sa.name, sa.direction),
            *sheet.labelled("spi", spi_text(sa.spi)),
            *sheet.labelled("from", sa.source),
            *sheet.labelled("to", sa.destination),
        ]
        yield lines if counter is None else lines + _counter_lines(counter, sheet, now)
    # Those of strongSwan: both SAs of a child have its name.
    for counter in (counter for counter in counters if counter["name"] not in named):
        yield [
            sheet.title(counter["name"], counter["direction"]),
            *sheet.labelled("spi", spi_text(counter["spi"])),
            *_counter_lines(counter, sheet, now),
        ]


def _counter_lines(counter: SaCounters, sheet: Sheet, now: float) -> list[str]:
    inbound = counter["direction"] == "in"
    verb = "received" if inbound else "sent"
    lines = [
        *sheet.labelled(
            "transfer",
            f"{counted(counter['packets'], 'packet')}, {size(counter['bytes'])} {verb}",
        ),
        *sheet.labelled("last used", ago(counter["lastUsedAt"], now)),
    ]
    if inbound:  # a sender cannot fail either check
        integrity, replay = counter["integrityFailures"], counter["replayFailures"]
        lines += sheet.labelled(
            "failures", f"{integrity} integrity, {replay} replay", "bad" if integrity else ""
        )
    if hint := sa_hint(counter):
        lines += sheet.labelled("hint", hint, "hint")
    return lines
