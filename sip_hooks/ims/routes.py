"""Via and Route: is this the first hop, and is this the way that the registrar gave."""

from __future__ import annotations

from typing import Sequence

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.fields import split_outside, unfold, values_of
from sip_hooks.ims.identities import read_uri, uri_in


def has_one_via(rows: Sequence[str]) -> bool:
    """Whether a request has exactly one Via value: only then this is its first hop.

    R3329-2.3.2-b.
    """
    try:
        return len(values_of(tuple(rows))) == 1
    except ImsError:
        return False


def via_branch(row: str) -> str:
    """Return the branch of a Via value, empty if it has none."""
    for part in split_outside(unfold(row), ";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "branch":
            return value.strip()
    return ""


def via_host(row: str) -> str:
    """Return the host of a Via's sent-by, without brackets and port."""
    sent_by = split_outside(unfold(row), ";")[0].rpartition(" ")[2]
    if sent_by.startswith("["):
        return sent_by[1:].partition("]")[0].lower()
    return sent_by.partition(":")[0].lower()


def same_routes(route_rows: Sequence[str], service_route: Sequence[str]) -> bool:
    """Whether Route values lead the way that Service-Route gave (TS 24.229 5.2.6.3)."""
    try:
        given = [read_uri(uri_in(value)) for value in values_of(tuple(route_rows))]
        wanted = [read_uri(uri_in(value)) for value in service_route]
    except ImsError:
        return False
    return [g._replace(port=g.port or 5060) for g in given] == [
        w._replace(port=w.port or 5060) for w in wanted
    ]
