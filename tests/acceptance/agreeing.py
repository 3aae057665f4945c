"""User agents of RFC 3329 (tls, ipsec-ike, digest) on the machine ``ue``.

Told by :mod:`tests.acceptance.pipe` what to do. Each is a client role of ``sip_hooks`` that
blocks, so each call has a thread; IKE is the machine's own charon, by swanctl.
"""

import asyncio
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.acceptance.pipe import serve
from tests.acceptance.plan import (
    ACCESS_PORT,
    DOMAIN,
    EDGE,
    IKE_CHILD,
    IKE_TEMPLATE,
    PASSWORD,
    PATIENCE,
    PORT_PS,
    TLS_PORT,
    UE,
)
from tests.edge.agreeing_ue import AgreeingUe
from tests.edge.certificates import Files
from tests.edge.ike_ue import IkeUe
from tests.edge.tls_ue import TlsUe
from tests.support.namespaces import Here

_HOP: Final = f"sip:{DOMAIN}"
_SWANCTL: Final = "/etc/swanctl/conf.d/acceptance.conf"


class AgreeingPhones:
    """All of them; each public coroutine is a call."""

    def __init__(self) -> None:
        self._ues: dict[str, AgreeingUe] = {}

    async def open(
        self, ue: str, mechanism: str, version: int = 4, credentials: str = ""
    ) -> dict[str, Any]:
        """Switch one on. ``credentials``: the folder with its certificate, for tls."""
        common: dict[str, Any] = {
            "address": UE[version],
            "server": (EDGE[version], ACCESS_PORT),
            "domain": DOMAIN,
            "user": ue,
            "password": PASSWORD,
        }
        made: AgreeingUe
        if mechanism == "tls":
            folder = Path(credentials)
            made = TlsUe(
                Here(),
                authority=(folder / "authorities.pem").read_bytes(),
                at=(EDGE[version], TLS_PORT),
                shows=Files(folder / "certificate.pem", folder / "key.pem"),
                offers="tls, digest",
                **common,
            )
        elif mechanism == "ipsec-ike":
            at = (EDGE[version], PORT_PS)
            made = IkeUe(Here(), at=at, run_ike=_run_ike, offers="ipsec-ike", **common)
        else:
            made = AgreeingUe(Here(), offers=mechanism, **common)
        self._ues[ue] = made
        return {}

    async def agree(self, ue: str) -> dict[str, Any]:
        """Ask for the list and take it; what became of it."""
        phone = self._ues[ue]
        answer = await asyncio.to_thread(phone.agree, "REGISTER")
        outcome = phone.agreement.outcome
        return {
            "status": answer.status,
            "mechanism": phone.agreement.mechanism,
            "event": None if outcome is None else outcome.event.name,
            "text": "" if outcome is None else outcome.text,
        }

    async def register(self, ue: str, expires: int) -> dict[str, Any]:
        """Register under the agreement, with credentials if they are asked for."""
        phone = self._ues[ue]

        def once() -> int:
            rows = [("Expires", str(expires))]
            return phone.exchange(phone.secured("REGISTER", _HOP, rows)).status

        status = await asyncio.to_thread(once)
        if status == 401:
            status = await asyncio.to_thread(once)
        return {"status": status}

    async def message(self, ue: str, to: str) -> dict[str, Any]:
        """Send one MESSAGE that another one answers; whether it arrived as it was sent."""
        sender, receiver = self._ues[ue], self._ues[to]

        def once() -> int:
            request = sender.secured("MESSAGE", f"sip:{to}@{DOMAIN}", body=b"hello")
            return sender.exchange(request).status

        def receive() -> bytes:
            request = receiver.next_request()
            receiver.answer(request)
            return request.body

        receiving = asyncio.create_task(asyncio.to_thread(receive))
        status = await asyncio.to_thread(once)
        if status == 407:
            status = await asyncio.to_thread(once)
        return {"status": status, "received": status == 200 and await receiving == b"hello"}

    async def wait_closed(self, ue: str) -> dict[str, Any]:
        """Wait for the end of a phone's TLS connection, which the edge ends; say how it ended."""
        phone = self._ues[ue]
        assert isinstance(phone, TlsUe)

        def wait() -> str:
            try:
                phone.receive(PATIENCE)
            except ConnectionError as error:
                return str(error)
            raise AssertionError("a message came in place of the end")

        return {"words": await asyncio.to_thread(wait)}

    async def close(self, ue: str) -> dict[str, Any]:
        """Switch one off; what it saw that the standards forbid."""
        phone = self._ues.pop(ue)
        phone.__exit__(None, None, None)
        return {"violations": phone.violations}


def _run_ike(port: int) -> bool:
    """Have charon set up a child for the phone's port, by the connection that lies there."""
    path = Path(_SWANCTL)
    path.touch(0o600)
    path.write_text(Path(IKE_TEMPLATE).read_text().replace("_PORT_", str(port)))
    for command in (
        ["swanctl", "--load-all", "--noprompt"],
        ["swanctl", "--initiate", "--child", IKE_CHILD, "--timeout", str(round(PATIENCE))],
    ):
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            return False
    return True


if __name__ == "__main__":
    asyncio.run(serve(AgreeingPhones()))
