"""A live edge with fifty associations of all kinds, for people to look at with ``sadctl``.

Three of them carry packets, one has a peer with another key, and somebody sends clear text. A real
strongSwan on each side made one of them. ``digest`` is listed, too; it has no association, since
nothing of it outlives a challenge.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.ike.charon import RealCharon
from tests.ike.connections import CHILD, CONNECTION, EDGE_ID, PEER_ID, SECRET, connection
from tests.support.credential_maker import DOMAIN, NEVER, authority, certificate, pem, write_set
from tests.support.daemon import CONTROL, Daemon, wait_until
from tests.support.key_files import ENCRYPTION_KEY, INTEGRITY_KEY
from tests.support.make import ALL_PAIRS, CK, IK
from tests.support.pair import EDGE, EDGE_SERVER, UE, Ends, Pair, pair_of_daemons

COUNT: Final = 50
_OTHER_KEY: Final = "f" * 32
_TRUNK_PORT: Final = 5084
_TRUNKS: Final = 3
_TLS_PORT: Final = 5061
#: What the endpoint for all but ipsec-3gpp answers in 494 and 421.
_LIST: Final = "ipsec-ike;q=0.4, tls;q=0.3, ipsec-man;q=0.2, digest;q=0.1;d-alg=MD5;d-qop=auth"
_CONNECTIONS: Final = 2
_IKE_PORT: Final = 5100
_IKE_USER: Final = "alice@ims.example"


@contextlib.contextmanager
def live_edge(folder: Path) -> Iterator[Pair]:
    """Give the edge, a phone beside it, and everything that lives."""
    secret = folder / "alice.secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    made = certificate("edge", "ec edge", "root", "ec root", ends=NEVER)
    write_set(folder / "tls", pem(made), ca_text=pem(authority(ends=NEVER)))
    charons: list[RealCharon] = []

    def beside(ends: Ends, stack: contextlib.ExitStack) -> None:
        for side in (ends.edge, ends.ue):
            charon = RealCharon(side, folder / f"charon-{side.name}")
            stack.callback(charon.stop)
            charon.start()
            charons.append(charon)

    settings = (
        f'[metrics]\nlisten = "unix:{folder / "metrics.sock"}"\n'
        f'[ike]\nsocket_path = "{folder / "charon-edge/charon.vici"}"\n'
        f'[credentials]\ndirectory = "{folder / "for-sip"}"\n' + _peering(secret, folder / "tls")
    )
    with (
        contextlib.ExitStack() as stack,
        pair_of_daemons(folder, edge_settings=settings, beside=beside) as pair,
    ):
        _carrying(pair)
        _with_another_key(pair)
        for number in range(_TRUNKS):
            _keyed_by_hand(pair.edge_daemon, number)
        wait_until(
            lambda: len(pair.edge_daemon.associations()) == 3 + _TRUNKS, "the keys are in force"
        )
        for number in range(_CONNECTIONS):
            _over_tls(pair, number, stack)
        _through_ike(pair, charons[1])
        for number in range(COUNT - len(pair.edge_daemon.associations())):
            _in_some_state(pair.edge_daemon, number)
        yield pair


def _peering(secret: Path, credential: Path) -> str:
    """Settings of an endpoint for what is not ipsec-3gpp."""
    files = "".join(
        f'{name} = "{credential}/{name}.pem"\n' for name in ("certificate", "key", "ca")
    )
    return (
        f'[[endpoint]]\nname = "peering"\naddresses = {json.dumps(list(EDGE.values()))}\n'
        f'server_port = {_TRUNK_PORT}\nclient_ports = "5086-5087"\nusers = [{os.getuid()}]\n'
        f'profile = "rfc3329"\nmechanisms = {json.dumps(_LIST.split(", "))}\n'
        "accept_unreplayed_verify = true\n"
        f'[endpoint.ike]\nidentity = "{EDGE_ID}"\n'
        'ike_proposals = ["aes128gcm16-prfsha256-x25519"]\nesp_proposals = ["aes128gcm16"]\n'
        f'[[endpoint.ike.peer]]\nname = "alice"\nidentity = "{PEER_ID}"\n'
        f'users = ["{_IKE_USER}"]\nsecret = "{secret}"\n'
        f'[endpoint.tls]\n{files}domains = ["{DOMAIN}"]\n'
    )


def _through_ike(pair: Pair, peer: RealCharon) -> None:
    """The peer asks for ipsec-ike, its strongSwan and the edge's agree, and a packet passes."""
    offered = pair.edge_daemon.call(
        "Offer",
        endpoint="peering",
        registration={"privateIdentity": _IKE_USER, "publicIdentities": []},
        flow={
            "peerAddress": UE[4],
            "peerPort": _IKE_PORT,
            "localAddress": EDGE[4],
            "localPort": 5060,
        },
        transaction={"callId": "1@ue", "cseq": 1, "branch": "z9hG4bK1"},
        association=None,
        securityClient=[],
        integrityKey=None,
        cipherKey=None,
    )
    shared = {"id": CONNECTION, "type": "IKE", "data": SECRET, "owners": [EDGE_ID, PEER_ID]}
    peer.ask("load-shared", shared)
    ports = {CHILD: ((_IKE_PORT,), (_TRUNK_PORT,))}
    peer.ask("load-conn", {CONNECTION: connection((UE[4], PEER_ID), (EDGE[4], EDGE_ID), ports)})
    message = {"child": CHILD, "ike": CONNECTION, "timeout": 60_000}
    peer.told("initiate", "control-log", message)
    name = offered["association"]["id"]
    wait_until(
        lambda: pair.edge_daemon.call("Get", id=name)["association"]["state"] == "established",
        "the child of IKE is up",
    )
    pair.edge_daemon.call("Confirm", id=name, expiresSeconds=3600)
    here, there = (EDGE[4], _TRUNK_PORT), (UE[4], _IKE_PORT)
    assert pair.udp(there, here, b"MESSAGE sip:bob@ims.example SIP/2.0\r\n\r\n")
    assert pair.udp(here, there, b"SIP/2.0 200 OK\r\n\r\n")


def _keyed_by_hand(daemon: Daemon, number: int) -> None:
    now = int(time.time() * 1_000_000)
    daemon.client.call(
        f"{CONTROL}.AddKey",
        {
            "name": f"trunk-{number}",
            "endpoint": "peering",
            "localAddress": EDGE[4],
            "peerAddress": f"10.10.0.{200 + number}",
            "spiIn": 4096 + number,
            "spiOut": 8192 + number,
            "localPorts": [_TRUNK_PORT],
            "peerPorts": [5090 + number],
            "integrityAlgorithm": "hmac-sha-256-128",
            "encryptionAlgorithm": "aes-cbc-128",
            "keys": {"integrityKey": INTEGRITY_KEY, "encryptionKey": ENCRYPTION_KEY},
            "notBefore": now - 1_000_000,
            "notAfter": now + 86_400_000_000,
            "activation": "always",
        },
    )


def _over_tls(pair: Pair, number: int, stack: contextlib.ExitStack) -> None:
    """A TCP connection of the phone, as a SIP server would tell of it after its handshake."""
    with pair.edge.enter():
        listener = stack.enter_context(socket.create_server((EDGE[4], _TLS_PORT)))
    with pair.ue.enter():
        client = stack.enter_context(socket.create_connection((EDGE[4], _TLS_PORT)))
    stack.enter_context(listener.accept()[0])
    listener.close()
    peer_address, peer_port = client.getsockname()
    pair.edge_daemon.call(
        "Attach",
        endpoint="peering",
        registration={"privateIdentity": f"pbx{number}@ims.example", "publicIdentities": []},
        flow={
            "peerAddress": peer_address,
            "peerPort": peer_port,
            "localAddress": EDGE[4],
            "localPort": _TLS_PORT,
        },
        lifetimeSeconds=1800,
    )


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
