"""Which epochs this node has had, over a restart: a small file beside the journal.

It dies with the journal, of whose rows it says whether they are still this node's to serve.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remembered:
    """Of one endpoint: the epoch of this node's last ownership (0: none), the highest seen."""

    epoch: int = 0
    highest: int = 0


class Memory:
    """Keeps it in a file of JSON that is replaced as a whole. ``cluster`` is that of the names."""

    def __init__(self, path: Path, cluster: str) -> None:
        self._path = path
        self._cluster = cluster
        self._endpoints = _read(path, cluster)

    def of(self, endpoint: str) -> Remembered:
        """Return what is known of an endpoint."""
        return self._endpoints.get(endpoint, Remembered())

    def note(self, endpoint: str, known: Remembered) -> None:
        """Remember. Raises OSError."""
        if self.of(endpoint) == known:
            return
        self._endpoints[endpoint] = known
        found = {name: [r.epoch, r.highest] for name, r in self._endpoints.items()}
        aside = self._path.with_name(self._path.name + ".new")
        aside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps({"cluster": self._cluster, "endpoints": found})
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, self._path)  # noqa: PTH105 - says what it does to what was there


def _read(path: Path, cluster: str) -> dict[str, Remembered]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read, no epoch is known: %s", path, error)
        return {}
    if not isinstance(found, Mapping) or found.get("cluster") != cluster:
        return {}
    endpoints = found.get("endpoints")
    if not isinstance(endpoints, Mapping):
        return {}
    return {
        name: Remembered(*numbers)
        for name, numbers in endpoints.items()
        if isinstance(numbers, list)
        and len(numbers) == len(Remembered.__slots__)
        and all(isinstance(number, int) and number >= 0 for number in numbers)
    }
