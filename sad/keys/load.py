"""Key files to key sets: read, judged, and every problem with its line.

What is wrong with one set or one file is told and leaves the others alone.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sad.config.problems import Problem
from sad.core.key_judgement import KeyFault, judge
from sad.keys.files import ReadDraft, read_key_files
from sad.model.endpoint import Endpoint
from sad.model.key_set import KeySet


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedKeys:
    """What the key files say. ``expired`` are problems, too, but nobody's mistake.

    ``doubtful`` are the files with a problem: what they gave before may be meant still.
    """

    sets: tuple[KeySet, ...] = ()
    problems: tuple[Problem, ...] = ()
    expired: tuple[Problem, ...] = ()
    doubtful: frozenset[str] = frozenset()


def load_from_files(
    directory: str, endpoints: Mapping[str, Endpoint], now: float, beside: Sequence[KeySet]
) -> LoadedKeys:
    """Read and judge as a daemon does it, with the credentials of its service."""
    return load_keys(directory, os.environ, endpoints, now=now, beside=beside)


def load_keys(
    directory: str,
    environment: Mapping[str, str],
    endpoints: Mapping[str, Endpoint],
    *,
    now: float,
    beside: Sequence[KeySet] = (),
) -> LoadedKeys:
    """Read and judge; ``beside`` are sets that stand already, ``now`` is real time."""
    files = read_key_files(directory, environment)
    problems = [problem for file in files for problem in file.problems]
    doubtful = {file.path for file in files if file.problems}
    expired: list[Problem] = []
    read = [draft for file in files for draft in file.drafts]
    judged = judge([r.draft for r in read], endpoints, now=now, beside=beside)
    for from_file, found in zip(read, judged, strict=True):
        from_file.draft.keys.wipe()  # what was found good has copies of its own
        faults = [_problem(from_file, fault) for fault in found.faults]
        if faults and all(fault.expired for fault in found.faults):
            expired += faults
        elif faults:
            problems += faults
            doubtful.add(from_file.path)
    return LoadedKeys(
        sets=tuple(j.key_set for j in judged if j.key_set is not None),
        problems=tuple(problems),
        expired=tuple(expired),
        doubtful=frozenset(doubtful),
    )


def _problem(from_file: ReadDraft, fault: KeyFault) -> Problem:
    name, reason, rule, hint, _ = fault
    text = f"{reason} ({rule})" if rule else reason
    key = f"{from_file.draft.name}.{name}"
    return Problem(from_file.origin_of(name), key, text, hint)
