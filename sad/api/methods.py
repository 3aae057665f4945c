"""What each method does: from a decoded envelope to replies, over a :class:`Backend`.

Counterparts: the interface files say what is served, :mod:`sad.api.connection` says when and to
whom the replies go. A call is begun here and answered in one of three ways: at once (bytes), later
(a coroutine, or :class:`~sad.api.work.Work`), or with many replies
(:class:`~sad.api.streams.Stream`).
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from sad.api import (
    control_conversion,
    conversion,
    credential_conversion,
    messages,
    replies,
    streams,
)
from sad.api.authorization import AccessPolicy
from sad.api.backend import Backend, KeyBackend
from sad.api.cluster_methods import ClusterBackend, ClusterMethods
from sad.api.control import Control
from sad.api.framing import Call, decode_parameters, encode_reply
from sad.api.interfaces import (
    ASSOCIATIONS,
    CONTROL,
    SERVICE,
    get_info,
    get_interface_description,
)
from sad.api.key_methods import KeyMethods
from sad.api.passing import Reply
from sad.api.streams import Stream
from sad.api.wire import Message
from sad.api.work import Work
from sad.model.errors import Busy
from sad.model.requests import Caller
from sad.model.views import DaemonState

RETRY_WHILE_STARTING_MILLISECONDS: Final = 500
RETRY_CONNECTION_MILLISECONDS: Final = 1000

Begun: TypeAlias = Reply | Coroutine[Any, Any, bytes] | Work | Stream

_In = TypeVar("_In", bound=Message)
_Require: TypeAlias = Callable[[Caller], None]


@dataclass(frozen=True, slots=True)
class _Method:
    """One line of the table; ``require`` raises the refusal of a caller who may not."""

    decoder: msgspec.json.Decoder[Any]
    begin: Callable[[Caller, Any, Call], Begun]
    require: _Require | None
    while_starting: bool


class Methods:
    """The dispatch table over one backend.

    ``policy`` may be replaced at any time, when settings are read again.
    """

    def __init__(
        self,
        backend: Backend,
        policy: AccessPolicy,
        key_sets: KeyBackend | None = None,
        cluster: ClusterBackend | None = None,
    ) -> None:
        self.policy = policy
        self._backend = backend
        self._started = False
        self._table: dict[str, _Method] = {}
        read, control = self._require_read, self._require_control
        keys = KeyMethods(key_sets)
        nodes = ClusterMethods(cluster)
        # Who may use an endpoint is known only with the call: the backend asks the policy itself.
        self._now(ASSOCIATIONS, "GetAgreement", messages.GetAgreementIn, self._get_agreement)
        self._now(ASSOCIATIONS, "Screen", messages.ScreenIn, self._screen)
        self._later(ASSOCIATIONS, "Offer", messages.OfferIn, self._offer, at_once=True)
        self._now(ASSOCIATIONS, "Verify", messages.VerifyIn, self._verify)
        self._later(ASSOCIATIONS, "Attach", messages.AttachIn, self._attach)
        self._later(ASSOCIATIONS, "TakeIntoUse", messages.TakeIntoUseIn, self._take_into_use)
        self._later(ASSOCIATIONS, "Install", messages.InstallIn, self._install)
        self._later(ASSOCIATIONS, "Confirm", messages.ConfirmIn, self._confirm, at_once=True)
        self._later(ASSOCIATIONS, "Release", messages.ReleaseIn, self._release)
        self._now(ASSOCIATIONS, "Find", messages.FindIn, self._find, read)
        self._later(ASSOCIATIONS, "Get", messages.GetIn, self._get, read)
        self._now(ASSOCIATIONS, "List", messages.ListIn, self._list, read)
        self._now(ASSOCIATIONS, "Monitor", messages.MonitorIn, self._monitor, read)
        operator = Control(backend)
        self._now(ASSOCIATIONS, "GetCredential", messages.GetCredentialIn, self._get_credential)
        self._now(
            CONTROL,
            "ListCredentials",
            messages.ListCredentialsIn,
            operator.list_credentials,
            read,
        )
        self._now(
            CONTROL,
            "RevokeCredential",
            messages.RevokeCredentialIn,
            operator.revoke_credential,
            control,
        )
        self._now(
            CONTROL,
            "GetStatus",
            messages.GetStatusIn,
            operator.get_status,
            read,
            while_starting=True,
        )
        self._later(CONTROL, "Reconcile", messages.ReconcileIn, operator.reconcile, control)
        self._later(CONTROL, "Explain", messages.ExplainIn, operator.explain, read)
        self._later(CONTROL, "Check", messages.CheckIn, operator.check, control)
        self._later(CONTROL, "Takeover", messages.TakeoverIn, nodes.take_over, control)
        self._now(CONTROL, "ListCluster", messages.ListClusterIn, nodes.list, read)
        self._later(CONTROL, "AddKey", messages.AddKeyIn, keys.add, control)
        self._later(CONTROL, "RotateKey", messages.RotateKeyIn, keys.rotate, control)
        self._later(CONTROL, "RemoveKey", messages.RemoveKeyIn, keys.remove, control)
        self._now(CONTROL, "ListKeys", messages.ListKeysIn, keys.list, control)
        self._now(SERVICE, "GetInfo", messages.GetInfoIn, self._get_info, while_starting=True)
        self._now(
            SERVICE,
            "GetInterfaceDescription",
            messages.GetInterfaceDescriptionIn,
            self._describe,
            while_starting=True,
        )

    def _now(
        self,
        interface: str,
        name: str,
        parameters: type[_In],
        begin: Callable[[Caller, _In, Call], Reply | Stream],
        require: _Require | None = None,
        *,
        while_starting: bool = False,
    ) -> None:
        """Serve a method whose first answer waits for nothing."""
        decoder = msgspec.json.Decoder(parameters)
        self._table[f"{interface}.{name}"] = _Method(decoder, begin, require, while_starting)

    def _later(
        self,
        interface: str,
        name: str,
        parameters: type[_In],
        handler: Callable[[Caller, _In], Awaitable[Message]],
        require: _Require | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        """Serve a method that waits for the kernel or the journal.

        ``at_once``: its handler waits for futures alone, and is begun without a task.
        """
        full_name = f"{interface}.{name}"

        async def answer(caller: Caller, parameters: _In, _call: Call) -> bytes:
            try:
                return encode_reply(await handler(caller, parameters))
            except Exception as error:  # noqa: BLE001 - a fault in one call ends that call only
                return replies.refusal(full_name, error)

        def work(caller: Caller, parameters: _In, call: Call) -> Work:
            return Work(answer(caller, parameters, call))

        begin = work if at_once else answer
        decoder = msgspec.json.Decoder(parameters)
        self._table[full_name] = _Method(decoder, begin, require, while_starting=False)

    @property
    def names(self) -> frozenset[str]:
        """Full names of all methods that are served."""
        return frozenset(self._table)

    def begin(self, caller: Caller, call: Call) -> Begun:
        """Begin a call; never raises. Nothing of it has happened before a coroutine runs."""
        method = self._table.get(call.method)
        if method is None:
            return replies.unknown_method(call.method)
        if call.upgrade:  # no method here turns a connection into something else
            return replies.invalid_parameter("upgrade")
        try:
            if not (self._started or method.while_starting):
                self._require_started()
            if method.require is not None:
                method.require(caller)
            parameters = decode_parameters(method.decoder, call.parameters)
            return method.begin(caller, parameters, call)
        except Exception as error:  # noqa: BLE001 - as in answer
            return replies.refusal(call.method, error)

    def refuse_connection(self, reason: str) -> bytes:
        """Return what a connection that is one too many is told."""
        return replies.busy(
            Busy(retry_after_milliseconds=RETRY_CONNECTION_MILLISECONDS, reason=reason)
        )

    def _require_started(self) -> None:
        """Starting is left once and for ever, so the backend is asked only until then."""
        if self._backend.status().state is DaemonState.STARTING:
            raise Busy(
                retry_after_milliseconds=RETRY_WHILE_STARTING_MILLISECONDS,
                reason="the daemon is starting and does not know yet what the kernel holds",
            )
        self._started = True

    def _require_read(self, caller: Caller) -> None:
        self.policy.require_read(caller)

    def _require_control(self, caller: Caller) -> None:
        self.policy.require_control(caller)

    def _view(self) -> conversion.View:
        return conversion.View(self._backend.now(), self._backend.realtime())

    # --- org.varlink.service -----------------------------------------------------------------

    def _get_info(self, _caller: Caller, _in: messages.GetInfoIn, _call: Call) -> bytes:
        return encode_reply(get_info())

    def _describe(
        self, _caller: Caller, wanted: messages.GetInterfaceDescriptionIn, _call: Call
    ) -> bytes:
        description = get_interface_description(wanted.interface)
        if description is None:
            return replies.interface_not_found(wanted.interface)
        return encode_reply(description)

    # --- org.sipsad.Associations -------------------------------------------------------------

    def _get_agreement(
        self, caller: Caller, wanted: messages.GetAgreementIn, _call: Call
    ) -> bytes:
        endpoint = self._backend.agreement(caller, wanted.endpoint)
        return encode_reply(
            messages.GetAgreementOut(
                profile=endpoint.profile,
                required=endpoint.security_required,
                security_server=endpoint.security_server,
            )
        )

    def _screen(self, caller: Caller, wanted: messages.ScreenIn, _call: Call) -> bytes:
        screened = self._backend.screen(caller, conversion.screen_request(wanted))
        return encode_reply(
            messages.ScreenOut(
                mechanism=screened.mechanism, refusals=conversion.refusals(screened.refusals)
            )
        )

    async def _offer(self, caller: Caller, wanted: messages.OfferIn) -> messages.OfferOut:
        offered = await self._backend.offer(caller, conversion.offer_request(wanted))
        return messages.OfferOut(
            association=self._view().association(offered.association),
            security_server=offered.security_server,
            refusals=conversion.refusals(offered.refusals),
        )

    def _verify(self, caller: Caller, wanted: messages.VerifyIn, _call: Call) -> bytes:
        verified = self._backend.verify(caller, conversion.verify_request(wanted))
        return encode_reply(
            messages.VerifyOut(
                association=self._view().association(verified.association),
                refusals=conversion.refusals(verified.refusals),
            )
        )

    async def _attach(self, caller: Caller, wanted: messages.AttachIn) -> messages.AttachOut:
        attached = await self._backend.attach(caller, conversion.attach_request(wanted))
        return messages.AttachOut(
            association=self._view().association(attached.association),
            closes_connection=attached.closes_connection,
        )

    async def _take_into_use(
        self, caller: Caller, wanted: messages.TakeIntoUseIn
    ) -> messages.TakeIntoUseOut:
        taken = await self._backend.take_into_use(caller, wanted.id)
        return messages.TakeIntoUseOut(association=self._view().association(taken))

    async def _install(self, caller: Caller, wanted: messages.InstallIn) -> messages.InstallOut:
        installed = await self._backend.install(caller, conversion.install_request(wanted))
        return messages.InstallOut(association=self._view().association(installed))

    async def _confirm(self, caller: Caller, wanted: messages.ConfirmIn) -> messages.ConfirmOut:
        confirmed = await self._backend.confirm(caller, conversion.confirm_request(wanted))
        return messages.ConfirmOut(association=self._view().association(confirmed))

    async def _release(self, caller: Caller, wanted: messages.ReleaseIn) -> messages.ReleaseOut:
        released = await self._backend.release(caller, conversion.release_request(wanted))
        return messages.ReleaseOut(associations=tuple(map(self._view().association, released)))

    def _find(self, caller: Caller, wanted: messages.FindIn, _call: Call) -> bytes:
        found = self._backend.find(caller, conversion.flow(wanted.flow))
        view = self._view()
        return encode_reply(
            messages.FindOut(
                association=view.association(found.association),
                outbound=view.association(found.outbound),
            )
        )

    async def _get(self, caller: Caller, wanted: messages.GetIn) -> messages.GetOut:
        association, counted = await self._backend.get(caller, wanted.id)
        policies = history = None
        if wanted.whole:
            policies, history = await self._backend.operator.inspect(association)
        return messages.GetOut(
            association=self._view().association(association),
            counters=tuple(map(conversion.counters, counted)),
            policies=None if policies is None else control_conversion.policies(policies),
            history=None if history is None else control_conversion.history(history),
        )

    def _list(self, caller: Caller, wanted: messages.ListIn, call: Call) -> bytes | Stream:
        view = self._view()
        matching = conversion.list_filter(wanted, view.now)
        found = iter(self._backend.list_associations(caller, matching))
        first, second = next(found, None), next(found, None)
        if first is None or second is None:
            only = None if first is None else view.association(first)
            return encode_reply(messages.ListOut(association=only))
        if not call.more:
            return replies.expected_more()
        return Stream(streams.listed(call.method, view, chain((first, second), found)))

    def _monitor(self, caller: Caller, _in: messages.MonitorIn, call: Call) -> bytes | Stream:
        if not call.more:
            return replies.expected_more()
        events = self._backend.subscribe(caller)
        return Stream(streams.monitored(call.method, self._view, events), streams.RESYNC)

    def _get_credential(
        self, caller: Caller, wanted: messages.GetCredentialIn, _call: Call
    ) -> Reply:
        handed = self._backend.credential(caller, wanted.endpoint, wanted.known_generation)
        return credential_conversion.handed_out(handed)
