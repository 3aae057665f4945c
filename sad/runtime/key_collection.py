"""The key sets that a daemon holds: from files, and given to it while it runs.

What is given at run time is held in memory only: the SAs outlive the daemon, the keys do not.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from netlink.model import SaKeys
from netlink.secret import Secret
from sad.core.key_judgement import judge
from sad.core.pair_decision import pair_of
from sad.model.endpoint import Endpoint
from sad.model.errors import BadParameter
from sad.model.inspection import Expiry
from sad.model.key_requests import KeyProblem, RotateKeyRequest
from sad.model.key_set import KeySet, KeySetDraft

log = logging.getLogger(__name__)

GIVEN: Final = "Control"
"""Origin of a set that was given at run time."""


class LoadedKeys(Protocol):
    """What the key files say (:class:`sad.keys.load.LoadedKeys`)."""

    @property
    def sets(self) -> tuple[KeySet, ...]:
        """The sets that were found good."""

    @property
    def problems(self) -> Sequence["Problem"]:
        """What is wrong, and whose mistake it is."""

    @property
    def expired(self) -> Sequence["Problem"]:
        """Sets whose time is over."""

    @property
    def doubtful(self) -> frozenset[str]:
        """Files with a problem."""


class Problem(Protocol):
    """One problem (:class:`sad.config.problems.Problem`)."""

    @property
    def origin(self) -> str:
        """File and line."""

    @property
    def key(self) -> str:
        """Set and field."""

    @property
    def reason(self) -> str:
        """What is wrong."""

    @property
    def hint(self) -> str:
        """The way out."""


#: ``load(directory, endpoints, now, beside)`` reads the key files; ``now`` is real time.
LoadKeys = Callable[[str, Mapping[str, Endpoint], float, Sequence[KeySet]], LoadedKeys]


@dataclasses.dataclass(frozen=True, slots=True)
class Changed:
    """What a reading changed: names of sets that are gone or are others now, and problems."""

    dropped: tuple[str, ...]
    problems: tuple[KeyProblem, ...]
    expired: tuple[KeyProblem, ...]


class KeyCollection:
    """Holds key sets by name. Every name that it drops is told once, by :class:`Changed`."""

    def __init__(self) -> None:
        self.sets: dict[str, KeySet] = {}
        self.problems: tuple[KeyProblem, ...] = ()
        #: Whether every file could be read and judged: what is missing is missing on purpose.
        self.complete = True

    def expiries(self) -> list[Expiry]:
        """Return when each set ends."""
        return [Expiry(kind="key", name=s.name, at=s.not_after) for s in self.sets.values()]

    def read(
        self, load: LoadKeys, directory: str, endpoints: Mapping[str, Endpoint], now: float
    ) -> Changed:
        """Read the files again; what a file with a mistake gave before stays as it was."""
        given = [s for s in self.sets.values() if not s.lasting]
        loaded = load(directory, endpoints, now, given)
        kept = [
            old
            for old in self.sets.values()
            if old.lasting
            and file_of(old) in loaded.doubtful
            and old.endpoint in endpoints
            and old.name not in {s.name for s in loaded.sets}
        ]
        if kept:
            # Once more: what stands must not give way to what another file says beside it.
            for key_set in loaded.sets:
                key_set.wipe()
            loaded = load(directory, endpoints, now, [*given, *kept])
        new = {s.name: s for s in (*given, *kept, *loaded.sets)}
        dropped = tuple(self._replace_all(new))
        self.problems = tuple(_problem(p) for p in loaded.problems)
        self.complete = not loaded.doubtful
        return Changed(dropped, self.problems, tuple(_problem(p) for p in loaded.expired))

    def _replace_all(self, new: dict[str, KeySet]) -> Iterator[str]:
        before, self.sets = self.sets, new
        for name, old in before.items():
            now = new.get(name)
            if now is old:
                continue
            if now is None or pair_of(now) != pair_of(old):
                yield name
            old.wipe()

    def add(self, draft: KeySetDraft, endpoints: Mapping[str, Endpoint], now: float) -> KeySet:
        """Add a set at run time; its keys are copies. Raises BadParameter."""
        (judged,) = judge([draft], endpoints, now=now, beside=tuple(self.sets.values()))
        if judged.key_set is None:
            fault = judged.faults[0]
            raise BadParameter(
                parameter=camel(fault.field), reason=fault.reason, rule=fault.rule, hint=fault.hint
            )
        self.sets[judged.key_set.name] = judged.key_set
        return judged.key_set

    def successor(self, request: RotateKeyRequest, now: float) -> KeySetDraft:
        """Return the draft of a set that follows another one. Raises BadParameter."""
        old = self.get(request.name)
        return KeySetDraft(
            origin=GIVEN,
            name=request.new_name,
            endpoint=old.endpoint,
            role=old.role,
            identity=old.identity if old.names_identity else None,
            local_address=old.local_address or None,
            peer_address=old.peer_address or None,
            spi_in=request.spi_in,
            spi_out=request.spi_out,
            local_ports=old.local_ports,
            peer_ports=old.peer_ports,
            integrity_algorithm=old.integrity_algorithm,
            encryption_algorithm=old.encryption_algorithm,
            keys=request.keys,
            not_before=now if request.not_before is None else request.not_before,
            not_after=request.not_after,
            activation=old.activation,
            lasting=False,
        )

    def holds(self, key_set: KeySet) -> bool:
        """Whether a set, with whatever addresses, has its keys still: others are wiped."""
        held = self.sets.get(key_set.name)
        return held is not None and held.keys_in is key_set.keys_in

    def get(self, name: str) -> KeySet:
        """Return a set by its name. Raises BadParameter."""
        found = self.sets.get(name)
        if found is None:
            raise BadParameter(
                parameter="name",
                reason="there is no key set of this name",
                rule=None,
                hint="sadctl key list shows them",
            )
        return found

    def remove(self, name: str) -> KeySet:
        """Remove a set that was given at run time. Raises BadParameter."""
        found = self.get(name)
        if found.lasting:
            raise BadParameter(
                parameter="name",
                reason=f"it stands in {found.origin}",
                rule=None,
                hint="remove it there, then systemctl reload sad",
            )
        del self.sets[name]
        found.wipe()
        return found

    def forget_expired(self, now: float) -> None:
        """Wipe and drop sets whose time is over; a file that still has them is none the worse."""
        for name in [n for n, s in self.sets.items() if s.not_after <= now]:
            self.sets.pop(name).wipe()

    def wipe(self) -> None:
        """Overwrite all keys: the daemon stops."""
        for key_set in self.sets.values():
            key_set.wipe()
        self.sets.clear()


def copy_of(keys: SaKeys) -> SaKeys:
    """Return keys that may be wiped without harm to the set."""
    return SaKeys(
        integrity=Secret(keys.integrity.reveal()), encryption=Secret(keys.encryption.reveal())
    )


def file_of(key_set: KeySet) -> str:
    """Return the file that a set stands in."""
    path, _, line = key_set.origin.rpartition(":")
    return path if line.isdecimal() else key_set.origin


def camel(field: str) -> str:
    """Return the name of a field as the socket writes it."""
    first, *rest = field.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _problem(problem: Problem) -> KeyProblem:
    return KeyProblem(
        origin=problem.origin, key=problem.key, reason=problem.reason, hint=problem.hint
    )
