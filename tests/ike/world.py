"""Two real charons, an edge and a peer, in two namespaces with a cable between them."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from vici.exception import CommandException

from tests.ike.charon import RealCharon
from tests.ike.connections import (
    CHILD,
    CONNECTION,
    EDGE,
    EDGE6,
    EDGE_ID,
    PEER,
    PEER6,
    PEER_ID,
    PORTS,
    SECOND,
    SECRET,
    peer_connection,
)
from tests.support.namespaces import Cable, Namespace, connect


class RealWorld:
    """The contract's view of them."""

    def __init__(self, edge: RealCharon, peer: RealCharon, cable: Cable) -> None:
        self.cable = cable
        self.edge = edge
        self.peer = peer
        self.socket = str(edge.socket)

    async def start(self) -> None:
        await asyncio.to_thread(self.edge.start)

    async def kill(self) -> None:
        await asyncio.to_thread(self.edge.kill)

    async def hang(self) -> None:
        self.edge.hang()

    async def go_on(self) -> None:
        self.edge.go_on()

    async def peer_initiates(self, child: str, fault: str | None = None) -> bool:
        return await asyncio.to_thread(self._initiate, child, fault)

    async def peer_deletes(self, child: str) -> None:
        await asyncio.to_thread(self.peer.told, "terminate", "control-log", {"child": child})

    async def peer_rekeys(self, child: str) -> None:
        await asyncio.to_thread(self.peer.ask, "rekey", {"child": child})

    def _initiate(self, child: str, fault: str | None) -> bool:
        secret = b"somebody else's secret" if fault == "secret" else SECRET
        self.peer.ask(
            "load-shared",
            {"id": CONNECTION, "type": "IKE", "data": secret, "owners": [EDGE_ID, PEER_ID]},
        )
        wrong = {"esp_proposals": ("aes256-sha512",)} if fault == "proposal" else {}
        ports = {name: PORTS[name] for name in (CHILD, SECOND)}
        self.peer.ask("load-conn", {CONNECTION: peer_connection(ports, **wrong)})
        message = {"child": child, "ike": CONNECTION, "timeout": 10_000}
        try:
            self.peer.told("initiate", "control-log", message)
        except CommandException:
            return False
        return True

    def clean(self) -> None:
        """Have both forget everything, after a test."""
        for charon in (self.peer, self.edge):
            for sa in charon.sas():
                with contextlib.suppress(CommandException):
                    charon.told("terminate", "control-log", {"ike": sa, "force": "yes"})
            for name in charon.told("list-conns", "list-conn"):
                with contextlib.suppress(CommandException):  # the daemon was faster
                    charon.ask("unload-conn", {"name": next(iter(name))})
            for key in charon.ask("get-shared").get("keys", []):
                charon.ask("unload-shared", {"id": key})


@contextlib.contextmanager
def two_charons(folder: Path) -> Iterator[RealWorld]:
    """Start both; take everything down at the end."""
    with contextlib.ExitStack() as stack:
        edge = stack.enter_context(Namespace("ikeedge"))
        peer = stack.enter_context(Namespace("ikepeer"))
        v4, v6 = (f"{EDGE}/24", f"{PEER}/24"), (f"{EDGE6}/64", f"{PEER6}/64")
        cable = connect(edge, peer, v4, v6)
        world = RealWorld(
            RealCharon(edge, folder / "edge"), RealCharon(peer, folder / "peer"), cable
        )
        for charon in (world.edge, world.peer):
            stack.callback(charon.stop)
            charon.start()
        yield world
