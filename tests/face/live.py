"""A live edge with fifty associations of all kinds, for people to look at with ``sadctl``.

Two of them carry packets, one has a peer with another key, and somebody sends clear text.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.support.daemon import Daemon
from tests.support.make import ALL_PAIRS, CK, IK
from tests.support.pair import EDGE, EDGE_SERVER, Pair, pair_of_daemons

COUNT: Final = 50
_OTHER_KEY: Final = "f" * 32


@contextlib.contextmanager
def live_edge(folder: Path) -> Iterator[Pair]:
    """Give the edge, a phone beside it, and everything that lives."""
    settings = f'[metrics]\nlisten = "unix:{folder / "metrics.sock"}"\n'
    with pair_of_daemons(folder, settings=settings) as pair:
        _carrying(pair)
        _with_another_key(pair)
        for number in range(COUNT - len(pair.edge_daemon.associations())):
            _in_some_state(pair.edge_daemon, number)
        yield pair


def _carrying(pair: Pair) -> None:
    for version, encryption in ((4, "aes-cbc"), (6, "null")):
        association, _ = pair.install(version, encryption=encryption, lifetime=3600)
        pair.edge_daemon.call("TakeIntoUse", id=association["id"])
        for source, destination in pair.port_pairs(association):
            assert pair.udp(source, destination, b"MESSAGE sip:somebody SIP/2.0\r\n\r\n")


def _with_another_key(pair: Pair) -> None:
    """K12: ESP arrives and integrity fails; and clear text to a protected port is dropped."""
    association = pair.install_edge(4, client=1, spis=(17785, 17786), lifetime=3600)
    keys = {"integrityKey": _OTHER_KEY, "cipherKey": _OTHER_KEY}
    pair.ue_daemon.call(
        "Install",
        endpoint="phone",
        role="ue",
        registration={"privateIdentity": "ue4@ims.example", "publicIdentities": []},
        mechanism="ipsec-3gpp",
        ipsec3gpp=association["ipsec3gpp"] | keys,
        lifetimeSeconds=3600,
    )
    source, destination = pair.port_pairs(association)[0]
    assert not pair.udp_arrives(source, destination)
    assert not pair.udp_arrives((source[0], 5060), (EDGE[4], EDGE_SERVER))


def _in_some_state(daemon: Daemon, number: int) -> None:
    """Temporary, established, in use, retiring; both families, every pair of algorithms."""
    integrity, encryption = ALL_PAIRS[number % len(ALL_PAIRS)]
    version = 6 if number % 3 == 0 else 4
    step = number % 4
    address = f"2001:db8:1::{number + 16:x}" if version == 6 else f"10.10.0.{number + 16}"
    parameters: dict[str, Any] = {
        "endpoint": "access",
        "registration": {
            "privateIdentity": f"00101{number:010}@ims.example",
            "publicIdentities": [f"sip:+1555{number:04}@ims.example"],
        },
        "mechanism": "ipsec-3gpp",
        "ipsec3gpp": {
            "ueAddress": address,
            "pcscfAddress": EDGE[version],
            "spiUc": 30_000 + 2 * number,
            "spiUs": 30_001 + 2 * number,
            "portUc": 6300 + 2 * number,
            "portUs": 6301 + 2 * number,
            "integrityAlgorithm": integrity,
            "encryptionAlgorithm": encryption,
            "integrityKey": IK.hex(),
            "cipherKey": CK.hex(),
        },
    }
    if step:
        parameters["lifetimeSeconds"] = 600 + 60 * number
    association = daemon.call("Install", **parameters)["association"]
    if step == 2:
        daemon.call("TakeIntoUse", id=association["id"])
    if step == 3:
        daemon.call("Release", id=association["id"], lingerSeconds=128)
