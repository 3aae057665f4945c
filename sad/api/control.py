"""The methods of ``org.sipsad.Control``; a part of :mod:`sad.api.methods`."""

from sad.api import control_conversion, conversion, credential_conversion, messages
from sad.api.backend import Backend
from sad.api.framing import Call, encode_reply
from sad.model.errors import no_settings_of_a_credential
from sad.model.requests import Caller


class Control:
    """What operators ask and order."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get_status(self, _caller: Caller, _in: messages.GetStatusIn, _call: Call) -> bytes:
        """The daemon as it stands."""
        return encode_reply(conversion.status(self._backend.status()))

    def list_credentials(
        self, _caller: Caller, wanted: messages.ListCredentialsIn, _call: Call
    ) -> bytes:
        """The TLS credential sets of all endpoints, or one."""
        shown = tuple(
            credential_conversion.credential(view)
            for view in self._backend.credentials()
            if wanted.endpoint in (None, view.endpoint)
        )
        if wanted.endpoint is not None and not shown:
            raise no_settings_of_a_credential(wanted.endpoint)
        return encode_reply(messages.ListCredentialsOut(credentials=shown))

    def revoke_credential(
        self, caller: Caller, wanted: messages.RevokeCredentialIn, _call: Call
    ) -> bytes:
        """Take an endpoint's TLS credential set out of force."""
        generation = self._backend.revoke_credential(caller, wanted.endpoint)
        return encode_reply(messages.RevokeCredentialOut(generation=generation))

    async def reconcile(
        self, caller: Caller, wanted: messages.ReconcileIn
    ) -> messages.ReconcileOut:
        """Compare and mend, or only compare."""
        reason = f"uid {caller.uid} asked for it"
        if wanted.dry_run:
            report, found = await self._backend.operator.dry_run(reason)
            return messages.ReconcileOut(
                reconcile=conversion.reconcile_report(report),
                findings=control_conversion.findings(found),
            )
        report = await self._backend.reconcile(reason)
        return messages.ReconcileOut(reconcile=conversion.reconcile_report(report))

    async def explain(self, _caller: Caller, wanted: messages.ExplainIn) -> messages.ExplainOut:
        """Why packets of a flow are protected or not."""
        return control_conversion.explanation(
            await self._backend.operator.explain(conversion.flow(wanted.flow))
        )

    async def check(self, _caller: Caller, _in: messages.CheckIn) -> messages.CheckOut:
        """Look at the node."""
        return control_conversion.check(await self._backend.operator.check())
