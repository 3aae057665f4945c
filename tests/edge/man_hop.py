"""A first hop with ipsec-man: real Kamailio and sad, and a peer with a sad of its own."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.edge.kamailio import HOOK, USER, Kamailio, configuration, install_hook
from tests.edge.manual_ue import ManualUe
from tests.support.daemon import Daemon
from tests.support.key_files import write
from tests.support.man_world import other_side, set_for
from tests.support.namespaces import Namespace, connect

EXAMPLE = HOOK / "kamailio/example-rfc3329.cfg"
EDGE, EDGE6, PEER = "10.60.0.1", "2001:db8:60::1", "10.60.0.2"
PEER6 = "2001:db8:60::2"
PORT, DOMAIN = 5064, "example.org"
LIST = "ipsec-man;q=0.3, digest;q=0.2;d-alg=MD5;d-qop=auth"
_OURS = (
    ("\n##!define WITH_IPSEC", "\n#!define WITH_IPSEC"),
    ("\nchildren=4", "\nchildren=2"),
    ("\ntcp_children=4", "\ntcp_children=1"),
)


@dataclass
class ManHop:
    """Both sides; the peer's SIP is :meth:`ue`'s."""

    folder: Path
    edge: Namespace
    peer: Namespace
    cable: str
    edge_daemon: Daemon
    peer_daemon: Daemon
    kamailio: Kamailio

    def ue(self, user: str = "alice", **settings: Any) -> ManualUe:
        """Return the user agent at the peer's address."""
        given: dict[str, Any] = {"address": PEER, "server": (EDGE, 5060), "domain": DOMAIN}
        given |= {"at": (EDGE, PORT), "port": PORT, "offers": "ipsec-man"}
        return ManualUe(self.peer, user=user, **given | settings)


def _settings(addresses: list[str], keys: Path, more: str) -> str:
    mechanisms = json.dumps(LIST.split(", "))
    return (
        f'key_directory = "{keys}"\nsocket_mode = 0o660\n{more}[lifetimes]\n'
        "t1_milliseconds = 32\n"
        f'[[endpoint]]\nname = "access"\naddresses = {json.dumps(addresses)}\n'
        f'server_port = {PORT}\nclient_ports = "5068-5071"\nusers = ["{USER}", {os.getuid()}]\n'
        f'profile = "rfc3329"\nmechanisms = {mechanisms}\naccept_unreplayed_verify = true\n'
    )


@contextlib.contextmanager
def man_hop(*, seconds: float = 600) -> Iterator[ManHop]:
    """Build it; the keys of alice are valid for so long, and her SAs wait for an agreement."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="man-", dir="/run"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        edge = stack.enter_context(Namespace("hop"))
        peer = stack.enter_context(Namespace("peer"))
        cable = connect(edge, peer, (f"{EDGE}/24", f"{PEER}/24"), (f"{EDGE6}/64", f"{PEER6}/64"))
        alice = set_for(
            seconds,
            {
                "endpoint": "access",
                "peer_address": PEER,
                "identity": f"alice@{DOMAIN}",
                "activation": "agreement",
            },
        )
        at_peer = other_side(alice, EDGE) | {"activation": "always"}
        daemons = []
        for side, namespace, addresses, fields in (
            ("edge", edge, [EDGE, EDGE6], alice),
            ("peer", peer, [PEER, PEER6], at_peer),
        ):
            keys = folder / side / "keys.d"
            keys.mkdir(parents=True, mode=0o700)
            write(keys / "alice.toml", fields)
            group = f'socket_group = "{USER}"\n'
            daemon = Daemon(namespace, folder / side, _settings(addresses, keys, group))
            daemon.folder.chmod(0o755)
            stack.callback(daemon.stop)
            daemon.spawn()
            daemons.append(daemon)
        values = {
            "_ACCESS4_": EDGE,
            "_ACCESS6_": EDGE6,
            "_DOMAIN_": DOMAIN,
            "sad.socket": str(daemons[0].socket),
            "sad.timeout_ms": "3000",
        }
        text = configuration(
            values, loader=install_hook(folder, "sad_rfc3329.py"), example=EXAMPLE
        )
        for shipped, ours in _OURS:
            assert shipped in text
            text = text.replace(shipped, ours)
        kamailio = Kamailio(edge, folder, text)
        stack.callback(kamailio.stop)
        kamailio.start()
        for daemon in daemons:
            daemon.wait_ready()
        try:
            yield ManHop(folder, edge, peer, cable.a, daemons[0], daemons[1], kamailio)
        except BaseException:
            scratch = os.environ.get("SAD_LANE_SCRATCH")
            for log in (kamailio.log, daemons[0].log) if scratch else ():
                text = log.read_text(errors="replace") if log.exists() else ""
                (Path(scratch or "") / f"man-{log.name}").write_text(text)
            raise
