"""Which kernel runs the kernel tests: a pure choice from what the probe found.

Counterpart of :mod:`tests.lane.probe`, which looks, and of :mod:`tests.lane.__main__`, which
acts. A lane that cannot start is an error with a way out, never a skip.
"""

import enum
from dataclasses import dataclass
from typing import Final

EX_LANE: Final = 70
"""Exit status of a lane that could not start or whose kernel died (EX_SOFTWARE)."""
EX_TIMEOUT: Final = 124
"""Exit status of a run that was ended because it took too long, as timeout(1) has it."""


class Lane(enum.StrEnum):
    """Where a command runs."""

    HOST = "host"
    UML = "uml"


class LaneError(Exception):
    """The command could not be run to its end in any kernel; the text says what helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the probe of the running kernel found.

    ``refusal`` is empty when an SA could be added and deleted for both families, else the
    reason, for people.
    """

    release: str
    refusal: str

    @property
    def has_esp(self) -> bool:
        """Whether the host lane can run."""
        return not self.refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The lane that was taken, and why."""

    lane: Lane
    reason: str

    def __str__(self) -> str:
        return f"lane: {self.lane} ({self.reason})"


def choose_lane(wanted: Lane | None, finding: Finding, uml_binary: str | None) -> Choice:
    """Choose the lane; ``wanted`` None is automatic. Raise LaneError when none can run."""
    kernel = f"host kernel {finding.release}"
    if wanted is Lane.UML:
        if uml_binary is None:
            raise LaneError("User-mode Linux is not installed: make setup, or LANE=host")
        return Choice(lane=Lane.UML, reason="asked for")
    if finding.has_esp:
        return Choice(lane=Lane.HOST, reason=f"{kernel} has ESP")
    trouble = f"{kernel} {finding.refusal}"
    if wanted is Lane.HOST:
        raise LaneError(f"the host lane was asked for, but {trouble}; LANE=auto uses another")
    if uml_binary is None:
        raise LaneError(f"{trouble}, and User-mode Linux is not installed: make setup")
    return Choice(lane=Lane.UML, reason=trouble)


def read_verdict(status: int, output: str, errors: str) -> str:
    """Turn the output of :mod:`tests.lane.esp` into :attr:`Finding.refusal`."""
    verdicts = [line for line in output.splitlines() if line.startswith("esp: ")]
    if status != 0 or not verdicts:
        told = [line.strip() for line in (output + errors).splitlines() if line.strip()]
        why = told[-1] if told else f"exit status {status}"
        return f"gives this user no network namespace of its own: {why}"
    verdict = verdicts[-1].removeprefix("esp: ")
    return "" if verdict == "ok" else f"has no ESP: {verdict}"
