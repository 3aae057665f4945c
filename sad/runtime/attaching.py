"""``Attach``: a TLS connection gets its association; and what follows when it ends.

:mod:`sad.core.attaching` decides. Between the look at the connection and the entry in the table
the connection may end, and its notice then finds nobody: so it is looked at once more afterwards.
"""

import contextlib
from collections.abc import AsyncIterator

from msgspec import structs

from netlink.model import Overrun
from netlink.tcp import ConnectionEvent
from sad.core import attaching
from sad.core.allocation import RandBelow
from sad.core.attaching import Attachment
from sad.model.association import Association, EndReason, Phase, RegistrationKey
from sad.model.endpoint import Endpoint
from sad.model.errors import MechanismUnavailable, NoSuchConnection
from sad.model.journal import Put
from sad.model.requests import AttachRequest, Caller, NoKeys
from sad.model.views import Attached, WatchKind
from sad.runtime.endings import Endings
from sad.runtime.gate import Gate
from sad.runtime.installs import Installs
from sad.runtime.ports import ConnectionMechanism
from sad.runtime.state import Shared
from sad.runtime.story import Step
from sad.runtime.turns import Turns


class Attaching:
    """Serves Attach, and hears of connections that have ended."""

    def __init__(
        self,
        shared: Shared,
        endings: Endings,
        installs: Installs,
        gate: Gate,
        turns: Turns,
        mechanism: ConnectionMechanism,
        randbelow: RandBelow,
    ) -> None:
        self._shared = shared
        self._endings = endings
        self._installs = installs
        self._gate = gate
        self._turns = turns
        self._mechanism = mechanism
        self._randbelow = randbelow

    async def attach(self, caller: Caller, request: AttachRequest) -> Attached:
        """Bind, or find what is bound already. Once begun it is done, if the caller leaves too."""
        endpoint = self._gate.serving(caller, request.endpoint)
        attaching.check(request, endpoint, self._gate.circumstances())
        # Who has an association goes before those who only have a connection.
        known = bool(self._shared.table.on_flow(request.flow))
        association = await self._turns.finish(
            caller, lambda: self._attach(caller, request), urgent=known
        )
        return Attached(
            association=association, closes_connection=self._mechanism.closes_connections
        )

    async def _attach(self, caller: Caller, request: AttachRequest) -> Association:
        self._gate.require_running()
        registration = attaching.registration_of(request)
        async with self._shared.lock(registration):
            while True:
                endpoint = self._gate.serving(caller, request.endpoint)
                decided = await self._decide(request, endpoint)
                for closed in decided.closed:
                    await self._endings.end_locked(closed.id, EndReason.CONNECTION_CLOSED)
                if decided.closed:
                    continue
                if decided.before is None:
                    new = decided.association
                    bound = await self._installs.install_locked(self._mechanism, new, NoKeys())
                    break
                async with self._also_locked(decided.before, registration) as still_so:
                    if still_so:
                        bound = await self._change(decided.before, decided.association)
                        break
        if await self._mechanism.is_lost(bound):
            await self._endings.end(bound.id, EndReason.CONNECTION_CLOSED)
            raise NoSuchConnection(reason="it ended while it was bound")
        await self._require_worth(bound)
        return bound

    async def _require_worth(self, bound: Association) -> None:
        """End what was agreed with a revoked credential set, be it while it was bound."""
        assert bound.tls is not None
        if self._shared.credentials.is_revoked(bound.endpoint, bound.tls.credential):
            await self._endings.end(bound.id, EndReason.CREDENTIAL_REVOKED)
            raise MechanismUnavailable(
                mechanism=attaching.TLS,
                reason=f"the TLS credential of endpoint {bound.endpoint} was revoked",
                hint="replace the files, then systemctl reload sad",
            )

    async def _decide(self, request: AttachRequest, endpoint: Endpoint) -> Attachment:
        found = await self._mechanism.find(request.flow)
        if request.credential is None:
            in_force = self._shared.credentials.generation(endpoint.name)
            request = structs.replace(request, credential=in_force)
        return attaching.decide(
            request,
            endpoint,
            found,
            self._shared.table,
            self._gate.circumstances(),
            self._randbelow,
        )

    @contextlib.asynccontextmanager
    async def _also_locked(
        self, before: Association, registration: RegistrationKey
    ) -> AsyncIterator[bool]:
        """Hold the lock of an association that waits for a connection; whether it still does."""
        if before.registration == registration:
            yield True
            return
        async with self._shared.lock(before.registration):
            yield self._shared.table.get(before.id) is before

    async def _change(self, before: Association, after: Association) -> Association:
        if after == before:
            return before
        shared = self._shared
        await shared.journal.record([Put(after)])
        shared.table.put(after)
        shared.deadlines.set(after.id, after.deadline_at)
        shared.tell(WatchKind.CHANGED, Step.ATTACHED, after)
        return after

    # --- endings ---------------------------------------------------------------------------------

    def credential_revoked(self, endpoint: str, generation: str) -> None:
        """End what was agreed with a credential set whose key others may know.

        With which set a handshake was made only the SIP server knows: where it does not say, the
        one that was in force at the first request counts.
        """
        shared = self._shared
        worthless = [
            a.id
            for a in shared.table
            if a.tls is not None
            and a.tls.cookie is not None
            and a.endpoint == endpoint
            and a.tls.credential in (None, generation)
        ]
        shared.background.start(self._endings.end_all(worthless, EndReason.CREDENTIAL_REVOKED))

    def notice(self, event: ConnectionEvent) -> None:
        """Hear what the kernel tells of connections."""
        shared = self._shared
        if isinstance(event, Overrun):
            shared.request_reconcile("notices of TCP connections were lost")
            return
        ended, cookie = event.id.connection, event.id.cookie
        for association in shared.table.of_peer_port(ended.peer_address, ended.peer_port):
            tls = association.tls
            if (
                tls is not None
                and tls.cookie == cookie
                and tls.local_port == ended.local_port
                and association.phase is not Phase.REMOVING
            ):
                shared.background.start(
                    self._endings.end_all([association.id], EndReason.CONNECTION_CLOSED)
                )
