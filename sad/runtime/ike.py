"""Follows what strongSwan's charon tells of the associations of ``ipsec-ike``.

Child up: established. The last child down: ended, with the reason in charon's own words. Rekeyed:
the same association. Events are hints: after each connection, and every few seconds, what charon
lists is what holds. A charon that hangs ends nothing, its SAs stand in the kernel; one that has
ended and does not come back ends all.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from sad.core import ike, lifecycle
from sad.core.ike_reasons import Failure, LogReader, Reason, reason_of
from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.errors import KernelRefused, Lost, SadError
from sad.model.ike import IkeProfile, IkeService
from sad.runtime.changes import Changes
from sad.runtime.endings import Endings
from sad.runtime.state import Shared
from sad.vici.errors import CommandFailed, Unavailable, ViciError
from sad.vici.values import (
    CharonEvent,
    ChildRekeyed,
    ChildrenDown,
    ChildrenUp,
    ChildSa,
    IkeDown,
    IkeSa,
    LogLine,
)

log = logging.getLogger(__name__)

#: Charon's threads tell of one thing one after another: log, end, and the next beginning.
SETTLE_SECONDS: Final = 0.25
_MOST_REASONS: Final = 4096


class IkePort(Protocol):
    """Charon, as :class:`sad.mechanisms.ipsec_ike.IpsecIke` drives it."""

    service: IkeService
    problem: Unavailable | None
    dead: bool
    removed: Callable[[Association], None]

    def see(self, child: ChildSa) -> None:
        """Note that a child is up."""

    def unsee(self, child: ChildSa) -> None:
        """Note that a child has gone."""

    def is_up(self, association_id: str) -> bool:
        """Whether a child of an association is up."""

    def id_of(self, child: ChildSa) -> str | None:
        """Return the association that a child is of."""

    def on_connection(self, connection: str) -> tuple[Association, ...]:
        """Return the associations of a connection."""

    async def ask_version(self) -> None:
        """Ask whether it answers."""

    async def look(self) -> tuple[IkeSa, ...]:
        """List its IKE SAs."""

    async def initiate(self, association: Association) -> tuple[str, ...]:
        """Begin with an association's child."""

    async def rekey(self, child_id: int) -> None:
        """Have a child get new keys."""


class IkeFollower:
    """A listener of :class:`sad.vici.events.Events`."""

    def __init__(self, shared: Shared, endings: Endings, port: IkePort, owner: int) -> None:
        self._shared = shared
        self._endings = endings
        self._changes = Changes(shared, endings)
        self._port = port
        self._owner = owner
        self._log = LogReader()
        self._reasons: dict[str, Reason] = {}
        self._failures: dict[tuple[str, str], Reason] = {}
        self._connected = asyncio.Event()
        self._ending_all: asyncio.Task[None] | None = None
        port.removed = self._removed

    # --- what is told ----------------------------------------------------------------------------

    async def connected(self) -> None:
        """Compare: whatever was told before is lost."""
        self._port.dead = False
        if self._port.problem is not None:
            log.info("strongSwan answers again")
        self._port.problem = None
        self._connected.set()
        try:
            await self._port.ask_version()
        except ViciError as error:
            self._tell_problem(error)
        self._shared.request_reconcile("strongSwan has come")
        await self._check_sas()

    def disconnected(self, error: Unavailable) -> None:
        """Refuse what is new; what stands waits a while for it to come back."""
        if self._port.problem is None:
            self._tell_problem(error)
        self._port.problem = error
        self._connected.clear()
        if error.gone and self._ending_all is None and not self._port.dead:
            self._ending_all = self._shared.background.start(self._end_all_unless_back())

    def told(self, event: CharonEvent) -> None:
        """Take an event."""
        match event:
            case ChildrenUp(sa):
                for child in sa.children:
                    self._up(child)
            case ChildrenDown(sa):
                for child in sa.children:
                    self._down(child)
            case ChildRekeyed(_, old, new):
                self._port.see(new)
                self._port.unsee(old)
                log.info("child %s rekeyed: SPIs %08x, %08x", new.name, new.spi_in, new.spi_out)
            case IkeDown(sa):
                self._failed_soon(self._port.on_connection(sa.name))
            case LogLine():
                self._read(event)

    def _up(self, child: ChildSa) -> None:
        self._port.see(child)
        association_id = self._port.id_of(child)
        if association_id is not None:
            self._shared.background.start(self._establish(association_id))

    def _down(self, child: ChildSa) -> None:
        self._port.unsee(child)
        association_id = self._port.id_of(child)
        if association_id is not None and not self._port.is_up(association_id):
            self._shared.background.start(self._end_unless_up(association_id))

    def _read(self, line: LogLine) -> None:
        told = self._log.read(line)
        if told is None:
            return
        if told.connection is not None:
            concerned = self._port.on_connection(told.connection)
        else:
            of_peer = self._shared.table.of_peer(told.address or "")
            concerned = tuple(a for a in of_peer if a.mechanism == ike.MECHANISM)
        for association in concerned:
            self._reasons[association.id] = told.reason
        while len(self._reasons) > _MOST_REASONS:
            del self._reasons[next(iter(self._reasons))]
        if told.reason.failure is not Failure.DELETED_BY_PEER:
            self._failed_soon(concerned)

    # --- what follows ----------------------------------------------------------------------------

    async def _establish(self, association_id: str) -> None:
        shared = self._shared
        association = shared.table.get(association_id)
        if association is None:
            shared.request_reconcile("a child came up that belongs to nobody")
            return
        async with shared.lock(association.registration):
            current = shared.table.get(association_id)
            if (
                current is None
                or current.phase is not Phase.INSTALLED
                or current.state is not AssociationState.TEMPORARY
                or not self._port.is_up(association_id)
            ):
                return
            deadline = shared.clock.boottime() + self._unregistered(current)
            agreed = lifecycle.come_up(current, deadline_at=deadline)
            with contextlib.suppress(Lost):  # told: it is ended
                await self._changes.change(current, agreed)
        self._failures.pop(_who(association), None)

    def _unregistered(self, association: Association) -> float:
        profile = self._profile_of(association)
        return self._port.service.start if profile is None else profile.unregistered

    def _profile_of(self, association: Association) -> IkeProfile | None:
        endpoint = self._shared.settings.endpoints.get(association.endpoint)
        return None if endpoint is None else endpoint.ike

    async def _end_unless_up(self, association_id: str) -> None:
        """End what has no child any more; a peer that begins anew has ended the old one first."""
        await asyncio.sleep(SETTLE_SECONDS)
        association = self._shared.table.get(association_id)
        if (
            association is None
            or self._port.is_up(association_id)
            or not ike.must_be_up(association)
        ):
            return
        await self._end(association, "its CHILD_SA has gone")

    def _failed_soon(self, concerned: Iterable[Association]) -> None:
        for association in concerned:
            if association.state is AssociationState.TEMPORARY:
                self._shared.background.start(self._end_unless_begun(association.id))

    async def _end_unless_begun(self, association_id: str) -> None:
        """R3329-2.4-ike-a: a failure ends the agreement."""
        await asyncio.sleep(SETTLE_SECONDS)
        association = self._shared.table.get(association_id)
        if (
            association is None
            or association.state is not AssociationState.TEMPORARY
            or association.phase is not Phase.INSTALLED
            or self._port.is_up(association_id)
        ):
            return
        await self._end(association, "IKE has failed")

    async def begin(self, association: Association) -> None:
        """Initiate, as the edge; a failure ends the agreement (R3329-2.4-ike-a)."""
        try:
            await self._port.initiate(association)
        except CommandFailed as error:
            self._reasons[association.id] = reason_of(error.log, error.words)
            if not self._port.is_up(association.id):
                self._failed_soon([association])
        except ViciError as error:
            log.warning("association %s: not initiated: %s", association.id, error)

    async def _end(self, association: Association, otherwise: str) -> None:
        self._note(
            association,
            self._reasons.pop(association.id, Reason(Failure.UNKNOWN, otherwise)),
        )
        await self._endings.end(association.id, EndReason.IKE_DOWN)

    def _removed(self, association: Association) -> None:
        """One that never came up and is over has failed, too: its peer was silent."""
        reason = self._reasons.pop(association.id, None)
        if association.state is not AssociationState.TEMPORARY:
            return
        if association.end_reason is EndReason.EXPIRED:
            silent = f"no CHILD_SA was up after {self.start_seconds:g} s"
            self._note(association, reason or Reason(Failure.UNREACHABLE, silent))

    def _note(self, association: Association, reason: Reason) -> None:
        log.warning("association %s: %s", association.id, reason)
        self._failures[_who(association)] = reason
        while len(self._failures) > _MOST_REASONS:
            del self._failures[next(iter(self._failures))]

    def failure_of(self, endpoint: str, user: str) -> Reason | None:
        """Return why the last agreement of a user failed or ended, if it did not succeed since."""
        return self._failures.get((endpoint, user))

    @property
    def start_seconds(self) -> float:
        """How long a peer may take until its child is up."""
        return self._port.service.start

    # --- time ------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look every few seconds whether charon answers, and at what it has; for ever."""
        while True:
            await asyncio.sleep(self._port.service.check)
            if not self._connected.is_set():
                continue
            try:
                await self._port.ask_version()
                if self._shared.table.of_mechanism(ike.MECHANISM):
                    await self._check_sas()
            except ViciError as error:
                self._tell_problem(error)
            else:
                self._port.problem = None
                await self._end_what_is_owed()

    async def _end_what_is_owed(self) -> None:
        """Try again what charon could not be told."""
        for association in self._shared.table.of_mechanism(ike.MECHANISM):
            if association.phase is Phase.REMOVING:
                reason = association.end_reason or EndReason.RELEASED
                await self._endings.end(association.id, reason)

    async def _check_sas(self) -> None:
        try:
            sas = await self._port.look()
        except ViciError as error:
            self._tell_problem(error)
            return
        ours = self._shared.table.of_mechanism(ike.MECHANISM)
        for association in ours:
            up = self._port.is_up(association.id)
            if up and association.state is AssociationState.TEMPORARY:
                self._shared.background.start(self._establish(association.id))
            elif not up and ike.must_be_up(association):
                self._shared.background.start(self._end_unless_up(association.id))
        await self._rekey(sas, ours)

    async def _rekey(self, sas: Iterable[IkeSa], ours: Iterable[Association]) -> None:
        lasting: dict[str, dict[str, float]] = {}
        lives: dict[str, int] = {}
        for association in ours:
            profile = self._profile_of(association)
            if profile is not None:
                lasting.setdefault(association.endpoint, {})[association.id] = (
                    association.deadline_at
                )
                lives[association.endpoint] = profile.life
        children = [child for sa in sas for child in sa.children]
        now = self._shared.clock.boottime()
        for endpoint, until in lasting.items():
            for number in ike.rekeys_due(children, until, self._owner, lives[endpoint], now):
                with contextlib.suppress(ViciError):
                    await self._port.rekey(number)

    async def _end_all_unless_back(self) -> None:
        """Without charon nobody ends or rekeys its SAs: after a while they go."""
        try:
            async with asyncio.timeout(self._port.service.restart):
                await self._connected.wait()
        except TimeoutError:
            self._port.dead = True
            ours = self._shared.table.of_mechanism(ike.MECHANISM)
            for association in ours:
                self._reasons.pop(association.id, None)
                with contextlib.suppress(KernelRefused, SadError):
                    await self._end(association, "strongSwan has ended")
        finally:
            self._ending_all = None

    def _tell_problem(self, error: ViciError) -> None:
        if self._port.problem is not None and str(self._port.problem) == str(error):
            return
        hint = getattr(error, "hint", "see the journal of strongSwan")
        self._port.problem = (
            error if isinstance(error, Unavailable) else Unavailable(str(error), hint)
        )
        self._shared.tell_problem(f"ipsec-ike: {error}", hint)


def _who(association: Association) -> tuple[str, str]:
    return association.endpoint, association.private_identity
