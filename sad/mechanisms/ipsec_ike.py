"""``ipsec-ike``: the driver of strongSwan, over the VICI socket of its charon.

An association is a CHILD_SA that goes under its name (:mod:`sad.core.ike`). Its SAs are charon's
and never ours. This module has children ended and compares; :mod:`sad.mechanisms.ike_connections`
loads what they need, :mod:`sad.runtime.ike` follows what charon tells.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from msgspec import structs

from netlink.errors import KernelError, OutcomeUnknown
from netlink.interface import Kernel
from netlink.model import ObservedSa, Policy, PolicyId, SaId
from sad.core import ike
from sad.core.reconcile import Findings
from sad.core.table import AssociationTable
from sad.mechanisms.ike_connections import IkeConnections, child_of
from sad.mechanisms.ike_orphans import remove_orphans
from sad.mechanisms.plain import PlainMechanism
from sad.model.association import Association, EndReason, RegistrationKey
from sad.model.endpoint import Endpoint
from sad.model.errors import KernelRefused, Lost, MechanismUnavailable
from sad.model.ike import IkePeer, IkeService
from sad.model.ike_child import IkeChild
from sad.model.requests import Keys
from sad.model.views import SaCounters
from sad.vici.commands import Charon, Patience
from sad.vici.errors import CommandFailed, Unavailable, ViciError
from sad.vici.values import INSTALLED, ChildSa, IkeSa

log = logging.getLogger(__name__)

_PART_TO_INITIATE: Final = 0.8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IkeFindings(Findings):
    """What differs, with what :meth:`IpsecIke.mend` is to do about it in charon."""

    stray: tuple[int, ...] = ()
    idle: tuple[int, ...] = ()
    unloaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class IpsecIke(PlainMechanism):
    """One charon. ``endpoints`` are those of the settings as they are now."""

    name = ike.MECHANISM
    lost_as = EndReason.IKE_DOWN

    def __init__(
        self,
        service: IkeService,
        kernel: Kernel,
        *,
        owner: int,
        endpoints: Callable[[], Mapping[str, Endpoint]],
        environment: Mapping[str, str],
    ) -> None:
        self.service = service
        self._charon = Charon(
            service.socket_path, Patience(connect=service.connect, command=service.command)
        )
        self._kernel = kernel
        self._owner = owner
        self._endpoints = endpoints
        self._connections = IkeConnections(self._charon, owner, endpoints, environment)
        self._told: dict[str, dict[int, ChildSa]] = {}
        self._looking = asyncio.Lock()
        self._recent: set[int] = set()
        #: Told of each association that ends.
        self.removed: Callable[[Association], None] = lambda _: None
        #: What keeps charon from being used; None: nothing that is known.
        self.problem: Unavailable | None = None
        #: Whether charon has ended for certain: what it held is nobody's any more.
        self.dead = False

    def close(self) -> None:
        """Close the connection to charon; what it holds stays."""
        self._charon.close()

    # --- what charon tells -----------------------------------------------------------------------

    def see(self, child: ChildSa) -> None:
        """Note that a child of ours is up."""
        self._recent.add(child.unique_id)
        name = ike.association_of(self._owner, child.name)
        if name is not None:
            self._told.setdefault(name, {})[child.unique_id] = child

    def unsee(self, child: ChildSa) -> None:
        """Note that a child has gone."""
        self._recent.add(child.unique_id)
        name = ike.association_of(self._owner, child.name)
        children = self._told.get(name or "", {})
        children.pop(child.unique_id, None)
        if not children:
            self._told.pop(name or "", None)

    def is_up(self, association_id: str) -> bool:
        """Whether a child of an association is up, as far as charon has told."""
        return association_id in self._told

    def id_of(self, child: ChildSa) -> str | None:
        """Return the association that a child is of, None of somebody else's."""
        return ike.association_of(self._owner, child.name)

    def on_connection(self, connection: str) -> tuple[Association, ...]:
        """Return the associations of a connection."""
        return self._connections.on(connection)

    async def ask_version(self) -> None:
        """Ask whether charon answers, and whether it is one that can be used."""
        await self._charon.version()

    async def look(self) -> tuple[IkeSa, ...]:
        """Return every IKE SA, and note which of our children are up.

        Of those that have gone without a word the kernel may still have SAs: they are removed.
        """
        async with self._looking:
            recent = self._recent = set[int]()
            sas = await self._charon.list_sas()
        before, self._told, self._recent = self._told, {}, set()
        # What was told while it was listed is newer than the list.
        for children in before.values():
            for child in children.values():
                if child.unique_id in recent:
                    self.see(child)
        for sa in sas:
            for child in sa.children:
                if child.state == INSTALLED and child.unique_id not in recent:
                    self.see(child)
        living = {child.reqid for sa in sas for child in sa.children}
        spis = {child.spi_in for sa in sas for child in sa.children}
        where = self._connections.children()
        left = [
            (where[name], child)
            for name, children in before.items()
            for child in children.values()
            if name in where and child.spi_in not in spis and child.unique_id not in recent
        ]
        if left:
            await remove_orphans(self._kernel, left, living)
        return sas

    async def initiate(self, association: Association) -> tuple[str, ...]:
        """Have the edge begin; return charon's words. Raises CommandFailed with them."""
        child = child_of(association)
        # Its own failure comes before the deadline's, and tells why.
        seconds = self.service.start * _PART_TO_INITIATE
        return await self._charon.initiate(child.child, child.connection, seconds)

    async def rekey(self, child_id: int) -> None:
        """Have a child get new keys before its time is over."""
        with contextlib.suppress(CommandFailed):  # it has gone meanwhile
            await self._charon.rekey(child_id)

    # --- the driver ------------------------------------------------------------------------------

    def named(
        self, endpoint: Endpoint, peer: IkePeer, association_id: str, where: IkeChild
    ) -> IkeChild:
        """Return a child with the names that it goes under."""
        return structs.replace(
            where,
            connection=ike.connection_name(self._owner, endpoint.name, peer, where.peer_address),
            child=ike.child_name(self._owner, association_id),
        )

    async def install(
        self, siblings: Sequence[Association], new: Association, request: Keys
    ) -> None:
        """Load the peer's connection with the new child in it, and its secret.

        Raises MechanismUnavailable: then charon has nothing of it, or a comparison removes it.
        """
        del siblings, request
        if self.problem is not None:
            raise self._unavailable(self.problem)
        child = child_of(new)
        self._connections.note(new)
        try:
            await self._connections.load(child.connection)
        except BaseException as error:
            self._connections.forget(new)
            if isinstance(error, ViciError):
                raise self._unavailable(error) from error
            raise

    async def set_deadline(self, sets: Sequence[Association], association: Association) -> None:
        """Nothing in charon follows it: the association's timer ends the child. Raises Lost."""
        del sets
        if ike.must_be_up(association) and not self.is_up(association.id):
            raise Lost(f"the CHILD_SA of {association.id}")

    async def remove(self, sets: Sequence[Association], gone: Association) -> None:
        """End the child, and with the last one of a peer its IKE SA, connection and secret."""
        del sets
        self.removed(gone)
        child = child_of(gone)
        left = tuple(self._told.get(gone.id, {}).values())
        others = [a for a in self.on_connection(child.connection) if a.id != gone.id]
        try:
            if not self.dead:
                await self._end(child, last=not others)
        except ViciError as error:
            if not self.dead:
                raise _refused(error, child) from error
        # Of a charon that was killed and lives again, too, which knows nothing of them.
        if self.dead or await self._remain(child, left):
            await remove_orphans(self._kernel, [(child, c) for c in left])
        self._told.pop(gone.id, None)
        self._connections.forget(gone)
        if not self.dead:
            try:
                await self._connections.load(child.connection)
            except (ViciError, MechanismUnavailable) as error:
                # A connection without SAs does no harm; the next comparison unloads it.
                log.warning("connection %s could not be unloaded: %s", child.connection, error)

    async def counters(self, association: Association) -> tuple[SaCounters, ...]:
        """Return what charon calls its SAs, and what the kernel has counted on them.

        Which packets were refused and when one came last, charon does not tell.
        """
        child = child_of(association)
        try:
            sas = await self._charon.list_sas(child.connection)
        except ViciError as error:
            raise _refused(error, child) from error
        current = [c for sa in sas for c in sa.children if c.name == child.child]
        ends = ((child.local_address, True), (child.peer_address, False))
        found = [
            (c, inbound, await self._kernel.get_sa(SaId(to, c.spi_in if inbound else c.spi_out)))
            for c in current
            for to, inbound in ends
        ]
        return tuple(
            _counters(c, sa, inbound=inbound) for c, inbound, sa in found if sa is not None
        )

    async def is_lost(self, association: Association) -> bool:
        """Ask charon again; what it does not say is not lost."""
        child = child_of(association)
        try:
            sas = await self._charon.list_sas(child.connection)
        except ViciError:
            return False
        return not any(
            c.name == child.child and c.state == INSTALLED for sa in sas for c in sa.children
        )

    # --- the keeper ------------------------------------------------------------------------------

    async def examine(
        self,
        table: AssociationTable,
        standing: dict[PolicyId, Policy],
        busy: Callable[[], AbstractSet[RegistrationKey]],
    ) -> AsyncIterator[Findings]:
        """Compare the table with charon; with one that is not there, nothing is compared."""
        del standing
        mine = table.of_mechanism(ike.MECHANISM)
        wanted = any(e.ike is not None for e in self._endpoints().values())
        if self.dead or not (mine or wanted):
            return
        try:
            sas = await self.look()
            loaded = [c.name for c in await self._charon.list_connections()]
        except ViciError as error:
            log.info("strongSwan is not compared: %s", error)
            return
        mine = table.of_mechanism(ike.MECHANISM)
        self._connections.note_all(mine)
        under_change = busy()
        found = ike.compare(
            self._owner, mine, sas, loaded, {a.id for a in mine if a.registration in under_change}
        )
        yield IkeFindings(
            adopted=found.adopted,
            lost=dict.fromkeys(found.lost, ("CHILD_SA",)),
            stray=found.stray,
            idle=found.idle,
            unloaded=found.unloaded,
            missing=tuple(name for name in self._connections.names() if name not in loaded),
        )

    async def mend(self, findings: Findings) -> tuple[int, int]:
        """End children of ours that belong to nobody, unload connections, load what lacks."""
        assert isinstance(findings, IkeFindings)
        removed = repaired = 0
        try:
            for unique_id in findings.stray:
                with contextlib.suppress(CommandFailed):
                    await self._charon.terminate({"child-id": unique_id}, self.service.terminate)
                    removed += 1
            for unique_id in findings.idle:
                for more in ({}, {"force": "yes"}):  # a peer that is silent is not waited for
                    with contextlib.suppress(CommandFailed):
                        selection = {"ike-id": unique_id, **more}
                        await self._charon.terminate(selection, self.service.terminate)
                        removed += 1
                        break
            for name in findings.unloaded:
                with contextlib.suppress(CommandFailed):
                    await self._charon.unload_connection(name)
                    removed += 1
            for name in findings.missing:
                with contextlib.suppress(CommandFailed, MechanismUnavailable):
                    await self._connections.load(name)
                    repaired += 1
            await self._connections.unload_secrets()
        except Unavailable as error:
            log.info("strongSwan is not mended: %s", error)
        return removed, repaired

    async def shut(self, standing: dict[PolicyId, Policy]) -> int:  # noqa: ARG002
        """The block policies are the kernel's keeper's."""
        return 0

    async def lift(self, standing: dict[PolicyId, Policy]) -> None:
        """As :meth:`shut`."""

    # --- charon --------------------------------------------------------------------------------

    async def _end(self, child: IkeChild, *, last: bool) -> None:
        """End a child, the last one with its IKE SA; a peer that is silent is not waited for."""
        what = {"ike": child.connection} if last else {"child": child.child}
        with contextlib.suppress(CommandFailed):
            await self._charon.terminate(what, self.service.terminate)
        if await self._stands(child):
            with contextlib.suppress(CommandFailed):
                await self._charon.terminate(
                    {"ike": child.connection, "force": "yes"}, self.service.terminate
                )
            if await self._stands(child):
                raise CommandFailed("terminate", "its SAs are still there")

    async def _remain(self, child: IkeChild, left: Iterable[ChildSa]) -> bool:
        try:
            found = [await self._kernel.get_sa(SaId(child.local_address, c.spi_in)) for c in left]
        except (KernelError, OutcomeUnknown):
            return False
        return any(sa is not None for sa in found)

    async def _stands(self, child: IkeChild) -> bool:
        sas = await self._charon.list_sas(child.connection)
        return any(c.name == child.child for sa in sas for c in sa.children)

    def _unavailable(self, error: ViciError) -> MechanismUnavailable:
        hint = getattr(error, "hint", "see the journal of strongSwan")
        return MechanismUnavailable(mechanism=self.name, reason=str(error), hint=hint)


def _refused(error: ViciError, child: IkeChild) -> KernelRefused:
    return KernelRefused(
        errno=107,
        name="ENOTCONN",
        message=str(error),
        object=f"{child.child} of strongSwan",
        hint=getattr(error, "hint", "see the journal of strongSwan; it is tried again"),
    )


def _counters(child: ChildSa, sa: ObservedSa, *, inbound: bool) -> SaCounters:
    left = "for ever" if child.life_seconds is None else f"{child.life_seconds} s left"
    rekey = "" if child.rekey_seconds is None else f", rekeyed in {child.rekey_seconds} s"
    return SaCounters(
        name=f"{child.state} ({child.cipher}, {child.age_seconds} s old, {left}{rekey})",
        inbound=inbound,
        spi=sa.id.spi,
        bytes=sa.current.bytes,
        packets=sa.current.packets,
        replay_failures=sa.replay_failures,
        integrity_failures=sa.integrity_failures,
        last_used_at=float(sa.current.use_time),
    )
