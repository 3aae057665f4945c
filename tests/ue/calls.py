"""Calls of a UE: INVITE, ACK, re-INVITE, BYE on both sides (RFC 3261 sections 13 to 15).

The counterpart of another UE's :class:`Call` at the other end of the core. There is no media:
the bodies only prove that they arrive.
"""

import asyncio
from typing import TYPE_CHECKING

from tests.ue.dialog import Dialog, Rows, make_response, new_tag
from tests.ue.sip import Request, Response
from tests.ue.transaction import ServerTransaction

if TYPE_CHECKING:
    from tests.ue.ue import Ue

SDP = "application/sdp"


class CallRefused(Exception):
    """The INVITE's final answer was not 2xx."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.start_line)
        self.response = response


def session(address: str, version: int) -> bytes:
    """A session description of one audio stream (RFC 4566)."""
    kind = "IP6" if ":" in address else "IP4"
    lines = [
        "v=0",
        f"o=- 1 {version} IN {kind} {address}",
        "s=-",
        f"c=IN {kind} {address}",
        "t=0 0",
        "m=audio 49152 RTP/AVP 0",
        "a=sendrecv",
        "",
    ]
    return "\r\n".join(lines).encode()


class Call:
    """One dialog of an INVITE; ``ended`` is set by the BYE of either side."""

    def __init__(self, ue: "Ue", dialog: Dialog) -> None:
        self._ue = ue
        self.dialog = dialog
        self.ended = asyncio.Event()
        self.reinvited = 0
        self._version = 1

    @classmethod
    async def place(cls, ue: "Ue", target: str) -> "Call":
        """Call ``target``; returns when the ACK to its 2xx is sent. Raises CallRefused."""
        rows = [*ue.contact_rows(), ("Content-Type", SDP)]
        request = ue.new_request("INVITE", target, tuple(rows), session(ue.config.address, 1))
        response, call = await cls._invite(ue, request, None)
        if call is None:
            raise CallRefused(response)
        return call

    @classmethod
    async def _invite(
        cls, ue: "Ue", request: Request, call: "Call | None"
    ) -> tuple[Response, "Call | None"]:
        channel = ue.channel()
        transaction = await ue.start_request(
            request, channel, "invite" if call is None else "re-invite"
        )
        response = await transaction.final
        if response.status >= 300:
            return response, call
        if call is None:
            call = cls(ue, Dialog.of_caller(transaction.request, response))
            ue.add_call(call)
        else:
            call.dialog = call.dialog.refreshed(response)
        number = transaction.request.cseq.number
        rows = tuple(ue.agreement_rows()) if ue.config.verify_in_ack else ()
        ack = call.dialog.request("ACK", rows, seq=number)
        ue.check_route(ack)
        transaction.on_accepted_again = await ue.send_ack(ack, channel)
        return response, call

    async def reinvite(self) -> Response:
        """Change the session; returns the final response, its 2xx acknowledged."""
        self._version += 1
        self.dialog = self.dialog.advanced()
        rows: Rows = (
            *self._ue.contact_rows(),
            *self._ue.agreement_rows(),
            ("Content-Type", SDP),
        )
        body = session(self._ue.config.address, self._version)
        request = self.dialog.request("INVITE", rows, body)
        self._ue.check_route(request)
        response, _ = await self._invite(self._ue, request, self)
        return response

    async def bye(self) -> Response:
        """End the call."""
        self.dialog = self.dialog.advanced()
        request = self.dialog.request("BYE", tuple(self._ue.agreement_rows()))
        self._ue.check_route(request)
        try:
            return await self._ue.send_request(request, self._ue.channel(), "bye")
        finally:
            self._finish()

    def _finish(self) -> None:
        self._ue.drop_call(self)
        self.ended.set()

    @classmethod
    def ring(cls, ue: "Ue", transaction: ServerTransaction) -> None:
        """Answer a new INVITE: 180, then what ``ue.answer`` says."""
        request, tag = transaction.request, new_tag()
        dialog = Dialog.of_callee(request, tag)
        rows = tuple(ue.contact_rows())
        transaction.respond(make_response(request, 180, tag=tag, headers=rows))
        status = ue.answer(request)
        if status >= 300:
            transaction.respond(make_response(request, status, tag=tag))
            return
        call = cls(ue, dialog)
        ue.add_call(call)
        body = session(ue.config.address, 1)
        rows = (*rows, ("Content-Type", SDP))
        transaction.respond(make_response(request, status, tag=tag, headers=rows, body=body))
        ue.spawn(call._await_ack(transaction, first=True))

    async def _await_ack(self, transaction: ServerTransaction, *, first: bool) -> None:
        try:
            async with asyncio.timeout(self._ue.config.timers.timeout):
                await transaction.acknowledged.wait()
        except TimeoutError:
            # RFC 3261 13.3.1.4: without ACK the callee ends the dialog.
            self._ue.complain(f"no ACK for {transaction.request.start_line}")
            await self.bye()
            return
        if first:
            self._ue.calls.put_nowait(self)

    def take(self, transaction: ServerTransaction) -> None:
        """Take a request inside the dialog."""
        request = transaction.request
        if request.cseq.number <= self.dialog.remote_seq:
            transaction.respond(make_response(request, 500))  # RFC 3261 12.2.2
            return
        self.dialog = self.dialog.received(request)
        if request.method == "BYE":
            transaction.respond(make_response(request, 200))
            self._finish()
        elif request.method == "INVITE":
            self.reinvited += 1
            self._version += 1
            rows = (*self._ue.contact_rows(), ("Content-Type", SDP))
            body = session(self._ue.config.address, self._version)
            transaction.respond(make_response(request, 200, headers=rows, body=body))
            self._ue.spawn(self._await_ack(transaction, first=False))
        else:
            transaction.respond(make_response(request, 405, headers=(("Allow", "INVITE, BYE"),)))
