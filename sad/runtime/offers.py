"""What the SIP hook asks about an agreement: Screen, Offer, Verify.

Offer is choose, allocate, install; :mod:`sad.core.agreement` and :mod:`sad.core.offer` decide,
:mod:`sad.runtime.installs` puts into force. Callers of one transaction share one attempt.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from msgspec import structs

from netlink.secret import Secret
from sad.core import agreement, choosing, nat, offer, tls_offer
from sad.core.admission import Rates, check_room
from sad.core.agreement import Choice
from sad.core.allocation import RandBelow
from sad.core.attaching import TLS
from sad.core.nat import UserAgentEnd
from sad.model.agreement import OfferRecord, Refusal, Transaction
from sad.model.algorithms import AKA_KEY_BYTES
from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.endpoint import Endpoint, Profile
from sad.model.errors import (
    BadParameter,
    Busy,
    MechanismUnavailable,
    NoCommonMechanism,
    SadError,
    UnknownFlow,
)
from sad.model.requests import (
    Caller,
    Flow,
    InstallRequest,
    NoKeys,
    OfferRequest,
    ScreenRequest,
    VerifyRequest,
)
from sad.model.rules import Limits
from sad.model.views import Offered, Screened, Verified
from sad.runtime.attempt import Attempt
from sad.runtime.endings import Endings
from sad.runtime.gate import Gate
from sad.runtime.installs import Installs, wipe_keys
from sad.runtime.state import Shared
from sad.runtime.turns import Turns

log = logging.getLogger(__name__)

_NO_TRANSACTION: Final = Transaction(call_id="", cseq=0, branch="")


class Offers:
    """Serves Screen, Offer and Verify."""

    def __init__(
        self,
        shared: Shared,
        endings: Endings,
        installs: Installs,
        gate: Gate,
        turns: Turns,
        randbelow: RandBelow,
    ) -> None:
        self._shared = shared
        self._endings = endings
        self._installs = installs
        self._gate = gate
        self._turns = turns
        self._randbelow = randbelow
        self.use(shared.settings.limits)
        self._attempts: dict[str, Attempt] = {}
        self._unanswered: set[str] = set()

    def use(self, limits: Limits) -> None:
        """Take over changed settings: rates begin with full buckets."""
        self._screen_rates = Rates(limits)
        self._offer_rates = Rates(limits)

    # --- screen ----------------------------------------------------------------------------------

    def screen(self, caller: Caller, request: ScreenRequest) -> Screened:
        """Decide as Offer would, and forget the decision; only rates are counted."""
        endpoint = self._gate.serving(caller, request.endpoint)
        offer.check_unprotected(request.flow, endpoint, self._gate.own_addresses())
        self._screen_rates.take(request.flow.peer_address, self._shared.clock.boottime())
        end = nat.user_agent_end(request.flow, request.via_address, None, endpoint)
        choice = self._choose(request.security_client, endpoint, end)
        if choice.mechanism == TLS:
            self._check_room_of_tls(request.private_identity, request.flow, endpoint)
            return Screened(mechanism=choice.mechanism, refusals=choice.refusals)
        imagined = OfferRequest(
            endpoint=request.endpoint,
            private_identity=request.private_identity,
            public_identities=request.public_identities,
            flow=request.flow,
            transaction=_NO_TRANSACTION,
            association_id=None,
            security_client=request.security_client,
            integrity_key=Secret(bytes(AKA_KEY_BYTES)),
            cipher_key=Secret(bytes(AKA_KEY_BYTES)),
        )
        mechanism = self._gate.set_mechanism(choice.mechanism)
        install = mechanism.install_of(imagined, choice, endpoint, end)
        self._decide(install, endpoint, None, self._replaced_by(install, endpoint, None))
        return Screened(mechanism=choice.mechanism, refusals=choice.refusals)

    # --- offer -----------------------------------------------------------------------------------

    async def offer(self, caller: Caller, request: OfferRequest) -> Offered:
        """As :meth:`_offer`, and told to whoever counts."""
        try:
            offered = await self._offer(caller, request)
        except SadError as error:
            self._shared.observer.offer_refused(error)
            raise
        self._shared.observer.offer_taken(offered)
        return offered

    async def _offer(self, caller: Caller, request: OfferRequest) -> Offered:
        """Choose and install; a caller that leaves gets it rolled back.

        Unless another caller of the same transaction waits for the answer, or has it.
        """
        try:
            endpoint = self._gate.serving(caller, request.endpoint)
            if endpoint.profile is Profile.RFC3329:
                return await asyncio.create_task(self._prepare(caller, request, endpoint))
            key = offer.offer_key(request)
            made = self._made(key)
            if made is None:
                urgent = request.association_id is not None  # it came on an SA
                turn = self._turns.take_at_once(urgent=urgent)
                if turn is None:
                    turn = await self._turns.take(caller, urgent=urgent)
                    made = self._made(key)  # by another caller, while this one waited
                    if made is not None:
                        self._turns.give_back(turn)
        except BaseException:
            wipe_keys(request)  # nobody has begun to work with them
            raise
        if isinstance(made, Association):
            return self._offered_again(made, request, endpoint)
        if made is None:
            assert turn is not None
            attempt = self._attempts[key] = Attempt()
            attempt.task = self._turns.begin(turn, self._make(caller, request, key, attempt))
        else:
            attempt = made
            wipe_keys(request)  # the attempt uses those of its first caller
        attempt.waiting += 1
        try:
            association = await self._turns.outcome(attempt.task)
            attempt.answered = True
        finally:
            attempt.waiting -= 1
            if not attempt.waiting:
                if self._attempts.get(key) is attempt:
                    del self._attempts[key]
                if not attempt.answered and not attempt.failed:
                    self._unanswered.add(key)  # at once: nobody is answered with it any more
                    self._shared.background.start(self._take_back(key, attempt.task))
        assert association.offer is not None
        return Offered(
            association=association,
            security_server=association.offer.security_server,
            refusals=attempt.refusals,
        )

    async def _prepare(self, caller: Caller, request: OfferRequest, endpoint: Endpoint) -> Offered:
        """Have the best mechanism of the static list prepared that this peer can have; a task."""
        handlers = self._shared.offer_handlers
        choices = agreement.choose_prepared(request.security_client, endpoint, handlers.keys())
        refusals: list[Refusal] = []
        for index, choice in enumerate(choices):
            try:
                return await handlers[choice.mechanism].offer(caller, request, choice, endpoint)
            except MechanismUnavailable as error:
                refusals.append(
                    Refusal(
                        offer_index=index,
                        mechanism=choice.mechanism,
                        reason="unavailable",
                        text=f"{error.reason}; {error.hint}",
                        rule="R3329-2.4-ipsec-b",
                    )
                )
        raise NoCommonMechanism(
            refusals=tuple(refusals), hint="nothing could be prepared: see the refusals"
        )

    def _made(self, key: str) -> Attempt | Association | None:
        """What this transaction is making, or has made already."""
        return self._attempts.get(key) or self._known(key)

    def _known(self, key: str) -> Association | None:
        table = self._shared.table
        association = table.get(table.pending.of_key(key) or "")
        if association is None or association.phase is not Phase.INSTALLED:
            return None
        return None if key in self._unanswered else association

    async def _take_back(self, key: str, task: asyncio.Task[Association]) -> None:
        try:
            await self._installs.roll_back_unanswered(task)
        finally:
            self._unanswered.discard(key)

    def _offered_again(
        self, association: Association, request: OfferRequest, endpoint: Endpoint
    ) -> Offered:
        assert association.offer is not None
        wipe_keys(request)
        return Offered(
            association=association,
            security_server=association.offer.security_server,
            refusals=self._choose_by(request, endpoint, nat.end_of(association)).refusals,
        )

    async def _make(
        self, caller: Caller, request: OfferRequest, key: str, attempt: Attempt
    ) -> Association:
        try:
            return await self._make_with_keys(caller, request, key, attempt)
        finally:
            wipe_keys(request)

    async def _make_with_keys(
        self, caller: Caller, request: OfferRequest, key: str, attempt: Attempt
    ) -> Association:
        shared = self._shared
        self._gate.require_running()
        endpoint = self._gate.serving(caller, request.endpoint)
        on = self._came_on(caller, request, endpoint)
        end = nat.user_agent_end(request.flow, request.via_address, on, endpoint)
        choice = self._choose_by(request, endpoint, end)
        attempt.refusals = choice.refusals
        if choice.mechanism == TLS:
            return await self._make_of_tls(request, choice, endpoint, key)
        mechanism = self._gate.set_mechanism(choice.mechanism)
        install = mechanism.install_of(request, choice, endpoint, end)
        registration = offer.registration_of(install, endpoint)
        replaced = offer.replaced_by(install, registration, on, shared.table)
        elsewhere = [old for old in replaced if old.registration != registration]
        if elsewhere:
            self._decide(install, endpoint, on, replaced)  # nobody loses a set for a refusal
        for old in elsewhere:
            await self._endings.end_or_refuse(old.id, EndReason.REPLACED)
        async with shared.lock(registration):
            now = self._gate.serving(caller, request.endpoint)
            if now is not endpoint and now != endpoint:
                raise Busy(retry_after_milliseconds=1000, reason="its endpoint has just changed")
            if on is not None:  # it may have ended while the lock was somebody else's
                on = self._came_on(caller, request, endpoint)
            replaced = offer.replaced_by(install, registration, on, shared.table)
            decided = self._decide(install, endpoint, on, replaced)
            for old in replaced:
                await self._endings.end_locked(old.id, EndReason.REPLACED)
            if replaced:  # else the table is as it was
                decided = self._decide(install, endpoint, on)
            record = OfferRecord(
                offer_key=key,
                offered_on=None if on is None else on.id,
                security_client=choice.text,
                security_server=mechanism.security_server(
                    decided, endpoint, self._gate.missing_algorithms
                ),
            )
            new = structs.replace(decided, offer=record)
            return await self._installs.install_locked(mechanism, new, install)

    def _came_on(
        self, caller: Caller, request: OfferRequest, endpoint: Endpoint
    ) -> Association | None:
        """Return the set that the REGISTER came on; count it if it came on none."""
        own_addresses = self._gate.own_addresses()
        if request.association_id is None:
            offer.check_unprotected(request.flow, endpoint, own_addresses)
            self._offer_rates.take(request.flow.peer_address, self._shared.clock.boottime())
            return None
        on = self._gate.installed(caller, request.association_id)
        offer.check_protected(request, on, endpoint, self._shared.table, own_addresses)
        return on

    def _replaced_by(
        self, install: InstallRequest, endpoint: Endpoint, on: Association | None
    ) -> tuple[Association, ...]:
        """Return the sets whose place an install takes."""
        registration = offer.registration_of(install, endpoint)
        return offer.replaced_by(install, registration, on, self._shared.table)

    def _decide(
        self,
        install: InstallRequest,
        endpoint: Endpoint,
        on: Association | None,
        replaced: Sequence[Association] = (),
    ) -> Association:
        """Raise what refuses an install now, ``replaced`` sets gone; return what it would make."""
        table, around = self._shared.table, self._gate.circumstances()
        leaving = frozenset([a.id for a in replaced])
        if on is None:
            check_room(
                table,
                around.limits,
                install.sender_address,
                install.private_identity,
                leaving,
                around.now,
            )
        return self._gate.set_mechanism(install.mechanism).decide_install(
            install,
            endpoint,
            table,
            around,
            self._randbelow,
            leaving=leaving,
            came_back=on is None,
        )

    def _choose(
        self,
        rows: tuple[str, ...],
        endpoint: Endpoint,
        end: UserAgentEnd,
        *,
        with_keys: bool = True,
    ) -> Choice:
        missing = self._gate.missing_algorithms
        return choosing.choose(rows, endpoint, missing, with_keys=with_keys, nat=end.nat)

    def _choose_by(self, request: OfferRequest, endpoint: Endpoint, end: UserAgentEnd) -> Choice:
        with_keys = request.integrity_key is not None
        return self._choose(request.security_client, endpoint, end, with_keys=with_keys)

    # --- an association that waits for its TLS connection ---------------------------------------

    async def _make_of_tls(
        self, request: OfferRequest, choice: Choice, endpoint: Endpoint, key: str
    ) -> Association:
        async with self._shared.lock(tls_offer.registration_of(request.flow, endpoint)):
            for old in self._check_room_of_tls(request.private_identity, request.flow, endpoint):
                await self._endings.end_locked(old.id, EndReason.REPLACED)
            new = tls_offer.decide(
                request, choice, endpoint, self._gate.circumstances(), self._randbelow, key
            )
            return await self._installs.install_locked(self._gate.mechanism(TLS), new, NoKeys())

    def _check_room_of_tls(
        self, private_identity: str, flow: Flow, endpoint: Endpoint
    ) -> tuple[Association, ...]:
        """Raise Busy if one more is too many; return those whose place it takes."""
        table, around = self._shared.table, self._gate.circumstances()
        replaced = tls_offer.replaced_by(private_identity, flow, endpoint, table)
        leaving = frozenset(a.id for a in replaced)
        check_room(table, around.limits, flow.peer_address, private_identity, leaving, around.now)
        return replaced

    # --- verify ----------------------------------------------------------------------------------

    def verify(self, caller: Caller, request: VerifyRequest) -> Verified:
        """Judge a REGISTER on a protected flow by the set that it came on."""
        on_flow = self._shared.table.on_flow(request.flow)
        for pair in [a for a in on_flow if a.ipsec_man]:
            self._gate.require_use(caller, pair)
            listed = self._shared.settings.endpoints[pair.endpoint].security_server
            agreement.check_verify(listed, request.security_verify)  # the list is static
            return Verified(association=pair, refusals=())
        sets = [a for a in on_flow if a.ipsec_3gpp]
        if not sets:
            raise UnknownFlow
        for association in sets:
            self._gate.require_use(caller, association)
        temporary = [a for a in sets if a.state is AssociationState.TEMPORARY]
        confirmed = [a for a in sets if a.state is not AssociationState.TEMPORARY]
        for association in temporary:
            # Sets of one registration share flows: the list tells on which of them it came.
            last = not confirmed and association is temporary[-1]
            if last or not agreement.brings_new_spis(request.security_client, association.sa_set):
                self._check_mirrored(association, request)
                return Verified(association=association, refusals=())
        association = confirmed[0]  # T24-P-3: what it mirrors is of no account here
        endpoint = self._shared.settings.endpoints[association.endpoint]
        choice = self._choose(request.security_client, endpoint, nat.end_of(association))
        return Verified(association=association, refusals=choice.refusals)

    def _check_mirrored(self, association: Association, request: VerifyRequest) -> None:
        if association.offer is None:
            raise BadParameter(
                parameter="flow",
                reason="its set came from Install: what was sent to the user agent is not known",
                rule="T24-P-2",
                hint="compare Security-Verify where Security-Server was made",
            )
        agreement.check_mirrored(
            association.offer, request.security_verify, request.security_client
        )
