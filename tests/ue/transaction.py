"""SIP transactions (RFC 3261 section 17, RFC 6026): retransmission, matching, termination.

The counterpart of :mod:`tests.ue.transport`: it decides when bytes are sent again. Each
transaction belongs to an owner (a UE's SA set), because T24-P-10 and T24-UE-5 let a set go only
after the transactions that began on it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from tests.ue.dialog import ack_of_failure
from tests.ue.flow import Flow, Hop
from tests.ue.headers import Via
from tests.ue.sip import Request, Response


@dataclass(frozen=True, slots=True)
class Timers:
    """RFC 3261 table 4, in seconds; TS 24.229 7.7 has T1 = 2 s at the UE."""

    t1: float = 0.5

    @property
    def t2(self) -> float:
        return 8 * self.t1

    @property
    def t4(self) -> float:
        return 10 * self.t1

    @property
    def timeout(self) -> float:
        """64*T1: timers B, D, F, H, J, L and M."""
        return 64 * self.t1


class TransactionTimeout(Exception):
    """No final response in 64*T1, or the way to the peer broke."""


class _Transaction:
    """What both kinds share: one timer to send again, one to end, an owner."""

    def __init__(self, layer: "Transactions", request: Request, hop: Hop, owner: Hashable) -> None:
        self.layer = layer
        self.request = request
        self.hop = hop
        self.owner = owner
        self.ended = False
        self.reliable = hop.flow.transport == "TCP"
        self._data = b""
        self._again: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None

    def _send(self, data: bytes) -> None:
        self._data = data
        with contextlib.suppress(ConnectionError):  # the end timer tells the user
            self.layer.send(self.hop, data)

    def _repeat(self, interval: float, limit: float) -> None:
        """Send the same bytes again after ``interval``, then after twice that, up to limit."""
        self._stop_repeating()

        def fire() -> None:
            self._send(self._data)
            self._repeat(min(2 * interval, limit), limit)

        self._again = asyncio.get_running_loop().call_later(interval, fire)

    def _stop_repeating(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _end_after(self, seconds: float) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(seconds, self.terminate)

    def terminate(self) -> None:
        if self.ended:
            return
        self.ended = True
        self._stop_repeating()
        if self._end is not None:
            self._end.cancel()
        self.layer.forget(self)


class ClientTransaction(_Transaction):
    """A request on its way; ``final`` becomes its final response."""

    def __init__(self, layer: "Transactions", request: Request, hop: Hop, owner: Hashable) -> None:
        super().__init__(layer, request, hop, owner)
        self.provisional: asyncio.Queue[Response] = asyncio.Queue()
        self.final: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.on_accepted_again: Callable[[], None] = lambda: None

    @property
    def _timers(self) -> Timers:
        return self.layer.timers

    def start(self) -> None:
        self._send(self.request.encode())
        if not self.reliable:
            limit = self._timers.timeout if self.request.method == "INVITE" else self._timers.t2
            self._repeat(self._timers.t1, limit)
        self._end_after(self._timers.timeout)

    def receive(self, response: Response) -> None:
        invite = self.request.method == "INVITE"
        if self.final.done():
            if invite and response.status >= 300:
                self._send(self._data)  # the ACK again
            elif invite and response.status >= 200:
                self.on_accepted_again()
            return
        if response.status < 200:
            self.provisional.put_nowait(response)
            if invite:
                # RFC 3261 17.1.1.2 Proceeding: neither timer A nor B; 3 min is timer C's.
                self._stop_repeating()
                self._end_after(max(180.0, self._timers.timeout))
            elif not self.reliable:
                self._repeat(self._timers.t2, self._timers.t2)
            return
        self._stop_repeating()
        self.final.set_result(response)
        if invite and response.status >= 300:
            self._send(ack_of_failure(self.request, response).encode())
            self._end_after(0 if self.reliable else self._timers.timeout)
        elif invite:
            self._end_after(self._timers.timeout)  # RFC 6026 timer M
        else:
            self._end_after(0 if self.reliable else self._timers.t4)

    def terminate(self) -> None:
        if not self.final.done():
            line = f"{self.request.start_line} on {self.hop.flow}"
            self.final.set_exception(TransactionTimeout(f"no final response to {line}"))
        super().terminate()


class ServerTransaction(_Transaction):
    """A request that arrived; :meth:`respond` answers it. ``flow`` is where it came from."""

    def __init__(
        self, layer: "Transactions", request: Request, hop: Hop, owner: Hashable, flow: Flow
    ) -> None:
        super().__init__(layer, request, hop, owner)
        self.flow = flow
        self.status = 0
        self.acknowledged = asyncio.Event()

    def respond(self, response: Response) -> None:
        timers = self.layer.timers
        self.status = response.status
        self._send(response.encode())
        if response.status < 200 or self.ended:
            return
        self._end_after(timers.timeout)
        if self.request.method == "INVITE":
            # A 2xx is sent again over TCP too, RFC 3261 13.3.1.4.
            if response.status < 300 or not self.reliable:
                self._repeat(timers.t1, timers.t2)
        elif self.reliable:
            self._end_after(0)

    def receive_again(self) -> None:
        if self._data and not self.acknowledged.is_set():
            self._send(self._data)

    def receive_ack(self) -> None:
        if not self.acknowledged.is_set():
            self.acknowledged.set()
            self._stop_repeating()
            # The 2xx may have been sent twice even over TCP, then its ACK comes twice too.
            absorb = not self.reliable or self.status < 300
            self._end_after(self.layer.timers.t4 if absorb else 0)


class Transactions:
    """All transactions of one agent."""

    def __init__(
        self,
        timers: Timers,
        *,
        send: Callable[[Hop, bytes], None],
        on_request: Callable[[ServerTransaction], None],
        complain: Callable[[str], None],
    ) -> None:
        self.timers = timers
        self.send = send
        self._on_request = on_request
        self._complain = complain
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[tuple[str, str, str], ServerTransaction] = {}
        self._accepted: dict[tuple[str, int, str | None], ServerTransaction] = {}
        self._running: Counter[Hashable] = Counter()
        self._idle: dict[Hashable, asyncio.Event] = {}

    def start(self, request: Request, hop: Hop, owner: Hashable) -> ClientTransaction:
        """Send a request whose top Via is ours."""
        transaction = ClientTransaction(self, request, hop, owner)
        self._clients[request.vias[0].branch, request.method] = transaction
        self._began(owner)
        transaction.start()
        return transaction

    def owns(self, response: Response) -> bool:
        """Whether a response belongs to a transaction of ours."""
        return (response.vias[0].branch, response.cseq.method) in self._clients

    def serves(self, request: Request) -> bool:
        """Whether a request, or the INVITE that an ACK follows, has a transaction here."""
        via = request.vias[0]
        method = "INVITE" if request.method == "ACK" else request.method
        return (via.branch, _sent_by(via), method) in self._servers

    def response(self, response: Response, flow: Flow) -> ClientTransaction | None:
        """Match a response strictly; None and a complaint if it belongs to nothing."""
        vias = response.vias
        transaction = self._clients.get((vias[0].branch, response.cseq.method))
        if transaction is None:
            self._complain(f"{response.start_line} ({response.cseq}) answers no request")
            return None
        request = transaction.request
        if len(vias) != len(request.vias):  # RFC 3261 8.1.3.3
            self._complain(f"{response.start_line} with {len(vias)} Via")
        elif _sent_by(vias[0]) != _sent_by(request.vias[0]):
            self._complain(f"{response.start_line} with a changed Via")
        elif (
            response.call_id != request.call_id
            or response.cseq != request.cseq
            or str(response.from_) != str(request.from_)
        ):
            self._complain(f"{response.start_line} differs in Call-ID, CSeq or From")
        elif not transaction.hop.answers(flow):
            self._complain(f"{response.start_line} on {flow}, asked on {transaction.hop.flow}")
        else:
            transaction.receive(response)
            return transaction
        return None

    def request(self, request: Request, hop: Hop, owner: Hashable, flow: Flow) -> None:
        """Take a request; ``hop`` is the way of its responses."""
        via = request.vias[0]
        method = "INVITE" if request.method == "ACK" else request.method
        key = (via.branch, _sent_by(via), method)
        known = self._servers.get(key)
        if request.method == "ACK":
            known = known or self._accepted.get(_dialog_key(request))
            if known is None:
                self._complain("ACK that belongs to nothing")
            else:
                known.receive_ack()
        elif known is not None:
            known.receive_again()
        else:
            transaction = ServerTransaction(self, request, hop, owner, flow)
            self._servers[key] = transaction
            if method == "INVITE":
                self._accepted[_dialog_key(request)] = transaction
            self._began(owner)
            self._on_request(transaction)

    def _began(self, owner: Hashable) -> None:
        self._running[owner] += 1
        self._idle.setdefault(owner, asyncio.Event()).clear()

    def forget(self, transaction: _Transaction) -> None:
        request = transaction.request
        if isinstance(transaction, ClientTransaction):
            del self._clients[request.vias[0].branch, request.method]
        else:
            via = request.vias[0]
            del self._servers[via.branch, _sent_by(via), request.method]
            self._accepted.pop(_dialog_key(request), None)
        self._running[transaction.owner] -= 1
        if self._running[transaction.owner] == 0:
            del self._running[transaction.owner]
            self._idle.pop(transaction.owner).set()

    def broken(self, hop: Hop) -> None:
        """Fail what waits for a response on a way that is gone (RFC 3261 8.1.3.1)."""
        for transaction in [*self._clients.values()]:
            if transaction.hop is hop and not transaction.final.done():
                transaction.terminate()

    async def idle(self, owner: Hashable) -> None:
        """Wait until no transaction of ``owner`` runs."""
        while (event := self._idle.get(owner)) is not None:
            await event.wait()

    def close(self) -> None:
        for transaction in [*self._clients.values(), *self._servers.values()]:
            transaction.terminate()
            if isinstance(transaction, ClientTransaction) and not transaction.final.cancelled():
                transaction.final.exception()  # nobody may be waiting any more


def _sent_by(via: Via) -> str:
    return f"{via.host.lower()}:{via.port or 5060}"


def _dialog_key(request: Request) -> tuple[str, int, str | None]:
    return (request.call_id, request.cseq.number, request.from_.tag)
