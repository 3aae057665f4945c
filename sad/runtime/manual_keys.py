"""Key sets of ``ipsec-man``: what operators, hooks and the rebuilding of lost SAs ask of them.

:mod:`sad.runtime.key_keeper` makes and ends the SAs.
"""

import logging
from collections.abc import Iterable

from msgspec import structs

from sad.core import lifecycle
from sad.core.agreement import Choice
from sad.core.key_plan import MECHANISM, name_of, sets_to_offer
from sad.core.pair_decision import is_of
from sad.core.replacement import Succession
from sad.core.validation import check_addresses
from sad.model.association import Association, EndReason, Phase
from sad.model.endpoint import Endpoint
from sad.model.errors import Busy, MechanismUnavailable, SadError
from sad.model.key_record import KeyRecord, PairRecord
from sad.model.key_requests import HeldKey, KeyList, KeyState, RotateKeyRequest
from sad.model.key_set import KeySet, KeySetDraft
from sad.model.requests import Caller, ConfirmRequest, OfferRequest
from sad.model.sa_pair import Activation
from sad.model.views import DaemonState, Offered
from sad.runtime.key_collection import LoadKeys, copy_of
from sad.runtime.key_keeper import KeyKeeper
from sad.runtime.ports import KeyUses
from sad.runtime.state import Shared

log = logging.getLogger(__name__)


class ManualKeys:
    """Implements :class:`sad.api.backend.KeyBackend`, ``OfferHandler`` and ``KeyRecords``."""

    def __init__(
        self, shared: Shared, keeper: KeyKeeper, *, load: LoadKeys, uses: KeyUses
    ) -> None:
        self._shared = shared
        self._keeper = keeper
        self._load = load
        self._uses = uses
        shared.own_records[MECHANISM] = self
        shared.offer_handlers[MECHANISM] = self
        shared.confirmers[MECHANISM] = self.confirmed

    # --- what operators do -----------------------------------------------------------------------

    def read(self) -> None:
        """Read the key files; what changed is brought about by the next :meth:`act`."""
        clock = self._shared.clock
        settings = self._shared.settings
        changed = self._keeper.collection.read(
            self._load, settings.key_directory, settings.endpoints, clock.realtime()
        )
        self._keeper.dropped.update(dict.fromkeys(changed.dropped))
        self._keeper.withdrawn.clear()
        self._keeper.retry_at.clear()
        for problem in changed.problems:
            what = f"{problem.origin}: {problem.key}: {problem.reason}"
            self._shared.tell_problem(f"a key set is refused: {what}", problem.hint)
        for expired in changed.expired:
            log.warning("%s: %s: %s", expired.origin, expired.key, expired.reason)
        self._keeper.wake()

    async def add(self, draft: KeySetDraft) -> HeldKey:
        """Take a set over at run time and do what it asks for. Raises BadParameter, Busy."""
        try:
            self._require_running()
            endpoints = self._shared.settings.endpoints
            key_set = self._keeper.collection.add(draft, endpoints, self._shared.clock.realtime())
        finally:
            draft.keys.wipe()
        self._keeper.withdrawn.discard(key_set.name)  # of an earlier set of this name
        log.info("key set %s was given for %s", key_set.name, key_set.identity)
        await self._shared.background.finish(self._keeper.act())
        return self._held(key_set)

    async def rotate(self, request: RotateKeyRequest) -> HeldKey:
        """Add a set that follows another one. Raises BadParameter."""
        try:
            draft = self._keeper.collection.successor(request, self._shared.clock.realtime())
        except SadError:
            request.keys.wipe()
            raise
        return await self.add(draft)

    async def remove(self, name: str) -> None:
        """Remove a set that was given at run time, and its SAs. Raises BadParameter, Busy."""
        self._require_running()
        self._keeper.collection.remove(name)
        self._keeper.dropped[name] = None
        log.info("key set %s was removed", name)
        await self._shared.background.finish(self._keeper.act())

    def list(self) -> KeyList:
        """Return every set, and what is wrong in the files."""
        held = self._keeper.collection
        in_order = sorted(held.sets.values(), key=lambda s: (s.not_before, s.name))
        keys = tuple(self._held(key_set) for key_set in in_order)
        return KeyList(keys=keys, problems=held.problems)

    def _require_running(self) -> None:
        if self._shared.daemon_state is DaemonState.STOPPING:
            raise Busy(retry_after_milliseconds=1000, reason="sad is stopping")

    def _held(self, key_set: KeySet) -> HeldKey:
        found = next(
            (
                a
                for a in self._keeper.lives()
                if name_of(a) == key_set.name and a.phase is Phase.INSTALLED
            ),
            None,
        )
        if found is not None:
            state = KeyState.STANDING
        elif key_set.name in self._keeper.withdrawn:
            state = KeyState.RELEASED
        else:
            valid = key_set.valid_at(self._shared.clock.realtime())
            state = KeyState.VALID if valid else KeyState.WAITING
        return HeldKey(
            key_set=key_set, state=state, association_id=None if found is None else found.id
        )

    # --- what the hook asks ----------------------------------------------------------------------

    async def offer(
        self,
        caller: Caller,  # noqa: ARG002 - checked with the endpoint
        request: OfferRequest,
        choice: Choice,  # noqa: ARG002 - the static list has no parameters of a peer
        endpoint: Endpoint,
    ) -> Offered:
        """Have the SAs of a peer stand before it is told the list (R3329-2.4-ipsec-b).

        The same answer to whoever asks again. Raises MechanismUnavailable without a key set.
        """
        ends = request.flow.local_address, request.flow.peer_address
        own_addresses = self._keeper.own_addresses()
        local, peer = (ends[0], "flow.localAddress"), (ends[1], "flow.peerAddress")
        check_addresses(local, peer, endpoint, own_addresses)
        async with self._keeper.lock:
            valid = self._sets_of(request, endpoint)
            found = [await self._standing(s.between(*ends)) for s in valid]
        return Offered(association=found[0], security_server=endpoint.security_server, refusals=())

    def _sets_of(self, request: OfferRequest, endpoint: Endpoint) -> tuple[KeySet, ...]:
        flow = request.flow
        of_peer = [
            s
            for s in self._keeper.collection.sets.values()
            if s.endpoint == endpoint.name
            and s.peer_address in {"", flow.peer_address}
            and s.local_address in {"", flow.local_address}
            and not (s.names_identity and s.identity != request.private_identity)
        ]
        realtime = self._shared.clock.realtime()
        valid = sets_to_offer(of_peer, self._shared.settings.lifetimes, realtime)
        if not valid:
            raise MechanismUnavailable(
                mechanism=MECHANISM,
                reason="this peer has no key set that is valid now"
                if of_peer
                else "this peer has no key set",
                hint="sadctl key list shows them; add one in key_directory or by sadctl key add",
            )
        return valid

    async def _standing(self, key_set: KeySet) -> Association:
        """Return the association of a set in force, made now if there is none."""
        for association in self._keeper.lives():
            if name_of(association) != key_set.name or association.phase is not Phase.INSTALLED:
                continue
            if is_of(association, key_set):
                if association.end_reason is EndReason.RELEASED:
                    return await self._keeper.take_up(association)
                return association
            if association.path.peer_address != key_set.peer_address:
                if await self._keeper.makes_way(association):
                    break
                # Anybody can name an identity in clear: nobody loses SAs for that.
                raise MechanismUnavailable(
                    mechanism=MECHANISM,
                    reason="its key set is in use at another address",
                    hint=f"sadctl release {association.id} frees it before its time",
                )
        agreed = key_set.activation is Activation.ALWAYS
        if agreed and key_set.name in self._keeper.withdrawn:
            # Only an operator releases what needs no agreement, and anybody can ask in clear.
            raise MechanismUnavailable(
                mechanism=MECHANISM,
                reason="the SAs of its key set were released",
                hint="systemctl reload sad makes them again",
            )
        self._keeper.withdrawn.discard(key_set.name)  # its peer comes again
        return await self._keeper.install(key_set, granted_until=None, agreed=agreed)

    def confirmed(self, association: Association, request: ConfirmRequest) -> Succession:
        """Decide a Confirm: as long as the registration, never beyond the key (RFC 3329 2.5)."""
        clock = self._shared.clock
        after = lifecycle.confirm_keyed(
            association,
            request.expires_seconds,
            self._shared.settings.lifetimes,
            self._keeper.end_of(association),
            now=clock.boottime(),
            realtime=clock.realtime(),
        )
        if request.public_identities is not None:
            after = structs.replace(after, public_identities=request.public_identities)
        if request.note is not None:
            after = structs.replace(after, note=request.note)
        if after.state is not association.state:
            self._keeper.wake()  # it may carry what is sent now
        return Succession(association=after)

    # --- what is rebuilt from --------------------------------------------------------------------

    async def put(self, association: Association, record: KeyRecord) -> None:
        """Keep that its sequence numbers have leapt; the keys are held anyway."""
        self._keeper.next_use(name_of(association), at_least=record.leaps)

    def get(self, association: Association) -> KeyRecord | None:
        """Return what a pair is made again from; None if its keys are not held (any more)."""
        key_set = self._keeper.collection.sets.get(name_of(association))
        if key_set is None or not is_of(association, key_set):
            return None
        inbound = copy_of(key_set.keys_in)
        return PairRecord(
            integrity_key=inbound.integrity,
            cipher_key=inbound.encryption,
            leaps=max(0, self._uses.last(key_set.name)),
            received=(0,),
            inbound=inbound,
            outbound=copy_of(key_set.keys_out),
        )

    async def retain(self, association_ids: Iterable[str]) -> None:
        """Nothing is kept of associations."""
