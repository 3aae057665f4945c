"""Registrations by Offer on a pair of real daemons: the edge negotiates, the phone installs."""

import itertools
from typing import Any

from tests.support.make import CK, IK, security_client
from tests.support.pair import EDGE, EDGE_SERVER, UE, UE_CLIENTS, UE_SERVER, Pair

_calls = itertools.count(1)


class Phone:
    """A user agent beside a pair's daemons; it has one registration at a time in mind."""

    def __init__(self, pair: Pair, version: int = 4) -> None:
        self.pair = pair
        self.version = version
        self.identity = f"ue{version}@ims.example"
        self._spi = 20_000 * version

    def registration(self) -> dict[str, Any]:
        return {"privateIdentity": self.identity, "publicIdentities": []}

    def row(self, client: int, **changes: Any) -> str:
        """Return a Security-Client of new SPIs."""
        self._spi += 2
        values = {"spi_c": self._spi, "spi_s": self._spi + 1, "port_s": UE_SERVER}
        return security_client(**(values | {"port_c": UE_CLIENTS[client]} | changes))

    def flow(self, association: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the flow of a REGISTER: on a set, or in clear."""
        peer, local = 5060, 5060
        if association is not None:
            peer, local = association["ipsec3gpp"]["portUc"], EDGE_SERVER
        return {
            "peerAddress": UE[self.version],
            "peerPort": peer,
            "localAddress": EDGE[self.version],
            "localPort": local,
        }

    def offer(self, row: str, on: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """Have the edge offer; return its whole answer."""
        values: dict[str, Any] = {
            "endpoint": "access",
            "registration": self.registration(),
            "flow": self.flow(on),
            "transaction": {"callId": f"call{next(_calls)}", "cseq": 1, "branch": "z9hG4bKa"},
            "association": None if on is None else on["id"],
            "securityClient": [row],
            "integrityKey": IK.hex(),
            "cipherKey": CK.hex(),
        }
        return self.pair.edge_daemon.call("Offer", **(values | changes))

    def install(self, association: dict[str, Any]) -> dict[str, Any]:
        """Have the phone install what the edge has offered."""
        keys = {"integrityKey": IK.hex(), "cipherKey": CK.hex()}
        installed = self.pair.ue_daemon.call(
            "Install",
            endpoint="phone",
            role="ue",
            registration=self.registration(),
            mechanism="ipsec-3gpp",
            ipsec3gpp=association["ipsec3gpp"] | keys,
            lifetimeSeconds=120,
        )
        return dict(installed["association"])

    def forget(self) -> None:
        """Lose everything, as a reboot does."""
        for association in self.pair.ue_daemon.associations():
            self.pair.ue_daemon.call("Release", id=association["id"])

    def challenged(self, client: int, on: dict[str, Any] | None = None) -> dict[str, Any]:
        """Offer and install on both sides, as far as the REGISTER that answers."""
        row = self.row(client)
        answer = self.offer(row, on)
        association: dict[str, Any] = answer["association"]
        self.install(association)
        verified = self.pair.edge_daemon.call(
            "Verify",
            flow=self.flow(association),
            securityVerify=[answer["securityServer"]],
            securityClient=[row],
        )
        assert verified["association"]["id"] == association["id"]
        return association

    def registered(self, client: int, on: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go the whole way to the 200."""
        challenged = self.challenged(client, on)
        answer = self.pair.edge_daemon.call("Confirm", id=challenged["id"], expiresSeconds=600)
        return dict(answer["association"])

    def carries(self, association: dict[str, Any]) -> bool:
        """Whether all four rows of a set pass."""
        rows = self.pair.port_pairs(association)
        return all(self.pair.udp(source, to, b"MESSAGE sip:row SIP/2.0") for source, to in rows)
