"""A daemon beside the edge's charon, and a peer that asks it for ``ipsec-ike``."""

import contextlib
import itertools
import os
import time
from pathlib import Path
from typing import Any

from vici.exception import CommandException

from sip_hooks.client import CallError
from tests.ike.connections import (
    CHILD,
    EDGE,
    EDGE6,
    EDGE_ID,
    PEER,
    PEER_ID,
    SECRET,
    peer_connection,
)
from tests.ike.world import RealWorld
from tests.support.daemon import Daemon, wait_until

#: What the peer calls its connection; the edge's name is the daemon's.
THEIRS = "to-edge"
SERVER_PORT, PEER_PORT, CLEAR_PORT = 5064, 5100, 5060
USER = "alice@example.org"
#: Kamailio's, which is tested with the same daemon.
USER_OF_SIP = "kamailio"
LIST = "ipsec-ike;q=0.4, digest;q=0.2;d-alg=MD5;d-qop=auth"


def daemon_settings(
    charon: Path,
    secret: Path,
    *,
    initiates: bool = False,
    dead_peer: int = 0,
    start: int = 5,
    endpoint: str = "",
    peer: str = "",
) -> str:
    """Settings of the edge's daemon; patience is short, so that tests are."""
    listed = ", ".join(f'"{m}"' for m in LIST.split(", "))
    return (
        f'socket_mode = 0o660\nsocket_group = "{USER_OF_SIP}"\n'
        f"[lifetimes]\nregistration_margin_seconds = 0\n"
        f'[ike]\nsocket_path = "{charon}"\ncommand_timeout_seconds = 2\nstart_seconds = {start}\n'
        "check_interval_seconds = 0.5\nrestart_seconds = 1\n"
        f'[[endpoint]]\nname = "access"\naddresses = ["{EDGE}", "{EDGE6}"]\n'
        f"server_port = {SERVER_PORT}\n"
        f'client_ports = "5068-5071"\nusers = ["{USER_OF_SIP}", {os.getuid()}]\n'
        f'profile = "rfc3329"\nmechanisms = [{listed}]\n'
        f'[endpoint.ike]\nidentity = "{EDGE_ID}"\ninitiates = {str(initiates).lower()}\n'
        f'ike_proposals = ["aes128gcm16-prfsha256-x25519"]\nesp_proposals = ["aes128gcm16"]\n'
        f"dead_peer_seconds = {dead_peer}\n{endpoint}"
        f'[[endpoint.ike.peer]]\nname = "alice"\nidentity = "{PEER_ID}"\nusers = ["{USER}"]\n'
        f'secret = "{secret}"\n{peer}'
    )


class Edge:
    """The daemon, the edge's charon and the peer's."""

    def __init__(self, world: RealWorld, folder: Path, **settings: Any) -> None:
        self.world = world
        secret = folder / "alice.secret"
        folder.mkdir(parents=True, exist_ok=True)
        secret.write_bytes(SECRET + b"\n")
        secret.chmod(0o600)
        self.secret = secret
        self.daemon = Daemon(
            world.edge.namespace,
            folder / "sad",
            daemon_settings(world.edge.socket, secret, **settings),
        )
        self.daemon.folder.chmod(0o755)
        self._calls = itertools.count(1)

    def reload(self, **settings: Any) -> None:
        """Have the daemon read other settings."""
        head = "\n".join(self.daemon.config.read_text().splitlines()[:2])  # paths
        text = daemon_settings(self.world.edge.socket, self.secret, **settings)
        self.daemon.reload(f"{head}\n{text}")

    def clean(self) -> None:
        """Have nothing left of a test, and everything running."""
        self.secret.chmod(0o600)
        for association in self.daemon.associations():
            with contextlib.suppress(CallError):
                self.daemon.call("Release", id=association["id"], lingerSeconds=0)
        self.world.clean()

    # --- the edge --------------------------------------------------------------------------------

    def offer(
        self, user: str = USER, *, port: int = PEER_PORT, ends: tuple[str, str] = (PEER, EDGE)
    ) -> dict[str, Any]:
        """Offer, as the hook does before the list leaves."""
        number = next(self._calls)
        return self.daemon.call(
            "Offer",
            endpoint="access",
            registration={"privateIdentity": user, "publicIdentities": []},
            flow={
                "peerAddress": ends[0],
                "peerPort": port,
                "localAddress": ends[1],
                "localPort": CLEAR_PORT,
            },
            transaction={"callId": f"{number}@ue", "cseq": 1, "branch": f"z9hG4bK{number}"},
            association=None,
            securityClient=[],
            integrityKey=None,
            cipherKey=None,
        )

    def find(self, *, port: int = PEER_PORT) -> dict[str, Any] | None:
        """Ask which association protects the peer's flow; None if none does."""
        flow = {
            "peerAddress": PEER,
            "peerPort": port,
            "localAddress": EDGE,
            "localPort": SERVER_PORT,
        }
        try:
            return dict(self.daemon.call("Find", flow=flow)["association"])
        except CallError as error:
            if error.short_name != "UnknownFlow":
                raise
            return None

    def state(self, association_id: str) -> str:
        """Return the state of an association, "ended" of one that is no more."""
        found = [a for a in self.daemon.associations() if a["id"] == association_id]
        return str(found[0]["state"]) if found else "ended"

    def spis(self, association_id: str) -> set[int]:
        """Return the SPIs of an association's SAs, as the daemon tells them."""
        return {c["spi"] for c in self.daemon.call("Get", id=association_id)["counters"]}

    def wait_state(self, association_id: str, state: str, patience: float = 10.0) -> float:
        """Wait for a state; return how long it took."""
        begun = time.monotonic()
        wait_until(lambda: self.state(association_id) == state, state, patience)
        return time.monotonic() - begun

    def esp(self) -> int:
        """Count ESP SAs of the edge's kernel."""
        return self.world.edge.namespace.run(["ip", "xfrm", "state"]).stdout.count("proto esp spi")

    def templates(self) -> int:
        """Count policies of the edge's kernel that demand ESP."""
        words = self.world.edge.namespace.run(["ip", "xfrm", "policy"]).stdout
        return words.count("proto esp")

    # --- the peer --------------------------------------------------------------------------------

    def peer_loads(self, *, secret: bytes = SECRET, port: int = PEER_PORT, **changes: Any) -> None:
        """Have the peer's charon know the way to the edge."""
        owners = [EDGE_ID, changes.get("identity", PEER_ID)]
        shared = {"id": THEIRS, "type": "IKE", "data": secret, "owners": owners}
        self.world.peer.ask("load-shared", shared)
        children = {CHILD: (SERVER_PORT, port)}
        self.world.peer.ask("load-conn", {THEIRS: peer_connection(children, **changes)})

    def peer_loads_as(self, local: dict[str, Any], remote: dict[str, Any]) -> None:
        """Have the peer know the way, and show itself in another way than by a secret."""
        known = peer_connection({CHILD: (SERVER_PORT, PEER_PORT)})
        self.world.peer.ask("load-conn", {THEIRS: known | {"local": local, "remote": remote}})

    def peer_initiates(self) -> bool:
        """Have the peer begin; say whether its child is up."""
        message = {"child": CHILD, "ike": THEIRS, "timeout": 10_000}
        try:
            self.world.peer.told("initiate", "control-log", message)
        except CommandException:
            return False
        return True

    def peer_does(self, command: str) -> None:
        """Have the peer terminate or rekey its child."""
        if command == "rekey":
            self.world.peer.ask(command, {"child": CHILD})
        else:
            self.world.peer.told(command, "control-log", {"child": CHILD})

    def peer_forgets(self) -> None:
        """Have the peer drop its SAs without a word to anybody who listens."""
        message = {"ike": THEIRS, "force": "yes", "timeout": 1}
        with contextlib.suppress(CommandException):  # the word is not answered
            self.world.peer.told("terminate", "control-log", message)

    def established(self) -> str:
        """Go the whole way of an agreement; return the association's id."""
        association_id = str(self.offer()["association"]["id"])
        self.peer_loads()
        assert self.peer_initiates(), self.world.edge.words()
        self.wait_state(association_id, "established")
        return association_id
