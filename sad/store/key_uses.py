"""How often the SAs of a key set were made: sequence numbers go on where they cannot have been.

Manually keyed SAs have no anti-replay service, so a receiver need not look at sequence numbers
(RFC 4303 section 5, 3.3.3); one that does all the same drops what it has seen. The file lies
beside the journal and says nothing but names and counts.
"""

import json
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class KeyUses:
    """Counts in a file of JSON that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts = _read(path)

    def last(self, name: str) -> int:
        """Return the number of the last use, -1 if there was none."""
        return self._counts.get(name, 0) - 1

    def take(self, name: str, *, at_least: int = 0) -> int:
        """Return the number of the next use, which no other use gets. Raises OSError.

        On return that survives the death of this process.
        """
        number = max(self._counts.get(name, 0), at_least)
        counts = {**self._counts, name: number + 1}
        aside = self._path.with_name(self._path.name + ".new")
        aside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside.write_text(json.dumps(counts), encoding="utf-8")
        os.replace(aside, self._path)  # noqa: PTH105 - says what it does to what was there
        self._counts = counts
        return number


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read, sequence numbers begin anew: %s", path, error)
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(n): c for n, c in found.items() if isinstance(c, int) and c >= 0}
