"""Connections of the IKE tests: an edge and a peer, as each side's charon is to have them."""

from collections.abc import Mapping
from typing import Any, Final

CONNECTION, CHILD, SECOND = "sad-alice", "sad-one", "sad-two"
#: Of the edge and of the peer.
PORTS: Final = {CHILD: (5064, 5100), SECOND: (5064, 5102)}
EDGE, PEER = "10.20.0.1", "10.20.0.2"
EDGE6, PEER6 = "2001:db8:20::1", "2001:db8:20::2"
EDGE_ID, PEER_ID = "edge.example.org", "alice@example.org"
SECRET: Final = b"a secret of the tests, of some length"
IKE_PROPOSALS: Final = ("aes128gcm16-prfsha256-x25519",)
ESP_PROPOSALS: Final = ("aes128gcm16",)
#: UDP and TCP.
PROTOCOLS: Final = (17, 6)


def selectors(address: str, ports: tuple[int, ...]) -> list[str]:
    return [f"{address}[{protocol}/{port}]" for port in ports for protocol in PROTOCOLS]


def connection(
    local: tuple[str, str],
    remote: tuple[str, str],
    children: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    *,
    life_seconds: int = 600,
    ike_proposals: tuple[str, ...] = IKE_PROPOSALS,
    esp_proposals: tuple[str, ...] = ESP_PROPOSALS,
) -> dict[str, Any]:
    """Return a connection with pre-shared keys; a side is (address, identity)."""
    return {
        "version": "2",
        "local_addrs": [local[0]],
        "remote_addrs": [remote[0]],
        "proposals": list(ike_proposals),
        "rekey_time": "0",
        "local": {"auth": "psk", "id": local[1]},
        "remote": {"auth": "psk", "id": remote[1]},
        "children": {
            name: {
                "mode": "transport",
                "local_ts": selectors(local[0], own),
                "remote_ts": selectors(remote[0], other),
                "esp_proposals": list(esp_proposals),
                "rekey_time": "0",
                "rand_time": "0",
                "life_time": str(life_seconds),
            }
            for name, (own, other) in children.items()
        },
    }


def edge_connection(children: Mapping[str, tuple[int, int]], **changes: Any) -> dict[str, Any]:
    """Return the edge's; children are (the edge's port, the peer's port)."""
    ports = {name: ((edge,), (peer,)) for name, (edge, peer) in children.items()}
    return connection((EDGE, EDGE_ID), (PEER, PEER_ID), ports, **changes)


def peer_connection(children: Mapping[str, tuple[int, int]], **changes: Any) -> dict[str, Any]:
    """Return the peer's; children are (the edge's port, the peer's port)."""
    ports = {name: ((peer,), (edge,)) for name, (edge, peer) in children.items()}
    identity = changes.pop("identity", PEER_ID)
    return connection((PEER, identity), (EDGE, EDGE_ID), ports, **changes)
