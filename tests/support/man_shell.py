"""The shell with manual keys: key sets from a list in place of files, time by hand."""

import dataclasses
from collections.abc import Mapping, Sequence

from msgspec import structs

from sad.config.problems import Problem
from sad.keys.load import LoadedKeys
from sad.mechanisms.ipsec_man import IpsecMan
from sad.model.association import Association, AssociationState, EndReason
from sad.model.endpoint import Endpoint, Profile, Role
from sad.model.key_set import KeySet
from sad.model.requests import OfferRequest
from sad.runtime.gate import circumstances_of
from sad.runtime.key_collection import copy_of
from sad.runtime.key_keeper import KeyKeeper
from sad.runtime.manual_keys import ManualKeys
from tests.support import make
from tests.support.fake_kernel import FakeTables
from tests.support.key_files import NOW
from tests.support.key_sets import BOOTTIME
from tests.support.make import LAYOUT, LIFETIMES, endpoint
from tests.support.shell import Clock, MemoryJournal, Shell

PEERING = endpoint(
    name="peering",
    roles=frozenset({Role.EDGE}),
    profile=Profile.RFC3329,
    security_server="ipsec-man;q=0.3, digest;q=0.2",
    mechanisms=frozenset({"ipsec-man", "digest"}),
)
RETRY = 10.0


class Uses:
    """Counts in memory; ``full`` is a disk that takes no more."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.full = False

    def last(self, name: str) -> int:
        return self.counts.get(name, 0) - 1

    def take(self, name: str, *, at_least: int = 0) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        number = max(self.counts.get(name, 0), at_least)
        self.counts[name] = number + 1
        return number


class ManShell(Shell):
    """A shell whose endpoint ``peering`` lists ipsec-man; :attr:`files` is what key files say."""

    def __init__(
        self,
        *files: KeySet,
        tables: FakeTables | None = None,
        journal: MemoryJournal | None = None,
        clock: Clock | None = None,
        uses: Uses | None = None,
    ) -> None:
        if clock is None:
            clock = Clock()
            clock.advance(BOOTTIME - clock.boottime())
            clock.step(NOW - clock.realtime())
        super().__init__(
            tables=tables, journal=journal, clock=clock, endpoints={"peering": PEERING}
        )
        driver = IpsecMan(
            self.kernel,
            self.connections,
            LAYOUT,
            LIFETIMES,
            clock.boottime,
            clock.realtime,
        )
        self.shared.mechanisms[driver.name] = driver
        self.files: list[KeySet] = list(files)
        self.problems: list[Problem] = []
        self.uses = uses or Uses()
        self.ended: list[Association] = []
        self.keeper = KeyKeeper(
            self.shared,
            self.endings,
            circumstances=lambda: circumstances_of(self.shared, frozenset(), frozenset()),
            randbelow=self._draw,
            uses=self.uses,
            retry_seconds=RETRY,
        )
        self.keys = ManualKeys(self.shared, self.keeper, load=self._load, uses=self.uses)
        self.shared.end_listeners.append(self.ended.append)

    def _load(
        self,
        _directory: str,
        _endpoints: Mapping[str, Endpoint],
        now: float,
        beside: Sequence[KeySet],
    ) -> LoadedKeys:
        taken = {s.name for s in beside}
        # Each reading makes sets of its own, as files do.
        sets = tuple(
            dataclasses.replace(s, keys_in=copy_of(s.keys_in), keys_out=copy_of(s.keys_out))
            for s in self.files
            if s.not_after > now and s.name not in taken
        )
        doubtful = frozenset(p.origin.rpartition(":")[0] for p in self.problems)
        return LoadedKeys(sets=sets, problems=tuple(self.problems), doubtful=doubtful)

    async def read(self) -> None:
        """Read the files, and do what follows."""
        self.keys.read()
        await self.keeper.act()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass; what is due ends, and the plan goes on."""
        await self.expire(seconds)
        await self.keeper.act()

    def live(self) -> dict[str, Association]:
        """The associations by the names of their key sets."""
        return {a.ipsec_man.key_set: a for a in self.shared.table if a.ipsec_man is not None}

    def states(self) -> dict[str, AssociationState]:
        """Their states."""
        return {name: a.state for name, a in self.live().items()}

    def reasons(self) -> list[EndReason | None]:
        """Why those ended that did."""
        return [a.end_reason for a in self.ended]

    def sent_from(self, spi: int) -> int:
        """The sequence number with which an SA began or stands."""
        return next(s.replay.sent for i, s in self.tables.sas.items() if i.spi == spi)


def offer_request(**changes: object) -> OfferRequest:
    """An Offer of the peer of :func:`tests.support.key_sets.key_set`."""
    request = make.offer_request(
        endpoint="peering", security_client=("ipsec-man",), private_identity="alice@example.org"
    )
    values = {"integrity_key": None, "cipher_key": None} | changes
    return structs.replace(request, **values)
