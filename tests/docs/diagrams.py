"""Diagrams and tables of ``sad/docs`` that are made of the code's own tables.

``python -m tests.docs.diagrams`` writes them anew between their marks; a test compares.
"""

import dataclasses
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from sad.core.lifecycle import TRANSITIONS
from sad.metrics.meters import Meters
from sad.metrics.snapshot import Snapshot
from sad.model.association import AssociationState
from sad.model.inspection import Expiry
from sad.model.views import ReconcileReport
from tests.support.cluster_samples import CLUSTER_STATUS
from tests.support.memory_backend import MemoryBackend

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = (ROOT / "sad/docs/architecture.md", ROOT / "sad/docs/metrics.md")

_MADE: Final = re.compile(r"(<!-- made of the code: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def lifecycle() -> str:
    """The life of an association, from the table that is its only law."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> temporary: Offer, Install"]
    lines.append("    [*] --> established: Install with a lifetime")
    for state, events in TRANSITIONS.items():
        for event, after in events.items():
            lines.append(f"    {state.value} --> {after.value}: {event.value}")
    lines += [f"    {AssociationState.ENDED.value} --> [*]", "```"]
    return "\n".join(lines)


def layers() -> str:
    """Who may import whom, from the contract that the linter holds."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (found,) = (c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    lines = ["```mermaid", "flowchart TD"]
    for number, layer in enumerate(found):
        names = ", ".join(part.strip() for part in layer.split("|"))
        lines.append(f'    L{number}["{names}"]')
    lines += [f"    L{number} --> L{number + 1}" for number in range(len(found) - 1)]
    return "\n".join([*lines, "```"])


def parts() -> str:
    """The packages with what they are, from the map in ``sad/__init__.py``."""
    text = (ROOT / "sad/__init__.py").read_text()
    rows = re.findall(r"^``(\w+)``\s+(.+)$", text, re.MULTILINE)
    return "\n".join(["| part | what |", "| --- | --- |", *(f"| `{n}` | {w} |" for n, w in rows)])


def metrics() -> str:
    """Every metric with its labels and help, from the registry itself."""
    rows = [
        f"| `{name}` | {kind} | {', '.join(labels) or '-'} | {text} |"
        for name, kind, labels, text in sorted(_metrics())
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *rows])


def _metrics() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    registry = CollectorRegistry()
    meters = Meters(registry)
    for counted in vars(meters).values():
        if not hasattr(counted, "describe"):  # what finds the children of one
            continue
        (family,) = counted.describe()
        yield *_named(family), tuple(counted._labelnames), family.documentation
    report = ReconcileReport(at=0.0, reason="", adopted=0, repaired=0, removed=0, ended=0)
    status = dataclasses.replace(
        MemoryBackend().status(), last_reconcile=report, cluster=CLUSTER_STATUS
    )
    expiry = Expiry(kind="certificate", name="access", at=0.0)
    for family in Snapshot(lambda: status, lambda: (0, 0, 0), lambda: [expiry]).collect():
        labels = family.samples[0].labels if family.samples else {}
        yield *_named(family), tuple(labels), family.documentation


def _named(family: Metric) -> tuple[str, str]:
    suffix = "_total" if family.type == "counter" else ""
    return f"{family.name}{suffix}", family.type


_MAKERS: Final[Mapping[str, Callable[[], str]]] = {
    "lifecycle": lifecycle,
    "layers": layers,
    "parts": parts,
    "metrics": metrics,
}


def made(text: str) -> str:
    """Return a page with its pieces made anew."""
    return _MADE.sub(lambda m: f"{m[1]}{_MAKERS[m[2]]()}\n{m[3]}", text)


def main() -> int:
    """Write all pages anew."""
    for page in PAGES:
        page.write_text(made(page.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
