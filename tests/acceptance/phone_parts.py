"""What is peculiar to the phones of the acceptance run; :mod:`tests.ue` is the rest of them."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.ue.security import SaSet
from tests.ue.sip import Request
from tests.ue.transaction import TransactionTimeout
from tests.ue.ue import Ue
from tests.ue.xfrm import IpXfrm


class RememberingXfrm(IpXfrm):
    """Keeps the keys of every set that was ever installed, to look for them in logs."""

    def __init__(self, namespace: str | None = None) -> None:
        super().__init__(namespace)
        self.keys: set[bytes] = set()

    async def add(self, sa_set: SaSet) -> None:
        transforms = sa_set.transforms
        parts = (transforms.auth, transforms.enc, transforms.aead)
        keys = {part[1] for part in parts if part is not None}
        self.keys |= (keys | {key[:16] for key in keys}) - {b""}
        await super().add(sa_set)


class StayingUe(Ue):
    """A UE that keeps its sets and its connection after de-registration, until it is closed."""

    async def forget(self) -> None:
        return


class Stream:
    """A call-like stream of MESSAGEs from one UE to another, one after the other."""

    def __init__(self, sender: Ue, receiver: Ue) -> None:
        self.answers: Counter[str] = Counter()
        self.sent: list[str] = []
        self.longest = 0.0
        self._sender, self._receiver = sender, receiver
        self._ending = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._talk())

    async def _talk(self) -> None:
        while not self._ending.is_set():
            text = f"number {len(self.sent)}"
            self.sent.append(text)
            begun = time.monotonic()
            try:
                answer = await self._sender.message(self._receiver.config.public_identity, text)
                self.answers[str(answer.status)] += 1
            except TransactionTimeout:
                self.answers["timeout"] += 1
            self.longest = max(self.longest, time.monotonic() - begun)

    async def stop(self) -> dict[str, Any]:
        """End it and count: what was sent, answered, and received in which order."""
        self._ending.set()
        await self._task
        received = []
        while not self._receiver.messages.empty():
            received.append(self._receiver.messages.get_nowait().body.decode())
        return {
            "sent": len(self.sent),
            "answers": dict(self.answers),
            "lost": sorted(set(self.sent) - set(received)),
            "twice": len(received) - len(set(received)),
            "longest": round(self.longest, 2),
        }


def claiming(taken: dict[str, Any]) -> Callable[[Request, str], Request]:
    """Have a phone offer these ports in place of its own."""

    def alter(request: Request, _: str) -> Request:
        rows = request.rows("Security-Client")
        if not rows:
            return request
        row = rows[0]
        for name, port in (("port-c", taken["port_uc"]), ("port-s", taken["port_us"])):
            row = re.sub(rf"{name}=\d+", f"{name}={port}", row)
        return request.with_rows("Security-Client", row)

    return alter
