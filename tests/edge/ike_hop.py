"""A first hop with ipsec-ike: real Kamailio beside :mod:`tests.ike.edge`."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sip_hooks.secagree.digest import hash_a1
from tests.edge.agreeing_ue import AgreeingUe
from tests.edge.ike_ue import IkeUe
from tests.edge.kamailio import HOOK, Kamailio, configuration, install_hook
from tests.ike.connections import EDGE, EDGE6, PEER
from tests.ike.edge import CLEAR_PORT, SERVER_PORT, Edge

EXAMPLE = HOOK / "kamailio/example-rfc3329.cfg"
DOMAIN = "example.org"
_OURS = (
    ("\n##!define WITH_IPSEC", "\n#!define WITH_IPSEC"),
    ("\nchildren=4", "\nchildren=2"),
    ("\ntcp_children=4", "\ntcp_children=1"),
)


@dataclass
class IkeHop:
    """Both sides."""

    edge: Edge
    kamailio: Kamailio

    def alice(self, **wrong: Any) -> IkeUe:
        """Return the phone of the peer; ``wrong`` is of its IKE."""

        def run_ike(port: int) -> bool:
            self.edge.peer_loads(port=port, **wrong)
            return self.edge.peer_initiates()

        return IkeUe(
            self.edge.world.peer.namespace,
            at=(EDGE, SERVER_PORT),
            run_ike=run_ike,
            user="alice",
            offers="ipsec-ike",
            **self._common(),
        )

    def bob(self) -> AgreeingUe:
        """Return a phone that knows digest alone, at the same address."""
        return AgreeingUe(self.edge.world.peer.namespace, user="bob", **self._common())

    def _common(self) -> dict[str, Any]:
        return {"address": PEER, "server": (EDGE, CLEAR_PORT), "domain": DOMAIN}


@contextlib.contextmanager
def ike_hop(edge: Edge, folder: Path) -> Iterator[IkeHop]:
    """Have a Kamailio beside the edge's daemon; take it down at the end."""
    values = {
        "_ACCESS4_": EDGE,
        "_ACCESS6_": EDGE6,
        "_DOMAIN_": DOMAIN,
        "sad.socket": str(edge.daemon.socket),
        "sad.timeout_ms": "3000",
    }
    text = configuration(values, loader=install_hook(folder, "sad_rfc3329.py"), example=EXAMPLE)
    for shipped, ours in _OURS:
        assert shipped in text
        text = text.replace(shipped, ours)
    kamailio = Kamailio(edge.world.edge.namespace, folder, text)
    kamailio.start()
    try:
        for user in ("alice", "bob"):
            ha1 = hash_a1(user, DOMAIN, "secret")
            kamailio.rpc("htable.sets", "sad_users", f"{user}@{DOMAIN}", ha1)
        yield IkeHop(edge, kamailio)
    except BaseException:
        scratch = os.environ.get("SAD_LANE_SCRATCH")
        for log in (kamailio.log, edge.daemon.log) if scratch else ():
            (Path(scratch or "") / f"ike-{log.name}").write_text(log.read_text(errors="replace"))
        raise
    finally:
        kamailio.stop()
