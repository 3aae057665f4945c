"""Mechanisms of RFC 3329 beside ipsec-3gpp: tls with certificates, ipsec-ike with two charons."""

import contextlib
import secrets
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.acceptance import capture
from tests.acceptance.edge import SADCTL
from tests.acceptance.first_hop import endpoint, first_hop
from tests.acceptance.handsets import Handsets
from tests.acceptance.machines import Machine, wait_until
from tests.acceptance.plan import (
    DOMAIN,
    EDGE,
    IKE_CHILD,
    IKE_TEMPLATE,
    MARGIN,
    PATIENCE,
    PORT_PS,
    TLS_PORT,
    UE,
)
from tests.acceptance.runner import scenario
from tests.acceptance.world import World
from tests.edge.certificates import Authority, Issued

_DIGEST: Final = "digest;q=0.2;d-alg=MD5;d-qop=auth"
_CLIENT: Final = "sip:alice-phone.example.org"
#: Longer than it takes to look at an association on a slow machine.
_EXPIRES: Final = round(PATIENCE / 2)


@contextlib.contextmanager
def _phones(world: World) -> Iterator[Handsets]:
    log = world.folder / "agreeing.log"
    with Handsets(world.ue, log, "tests.acceptance.agreeing") as phones:
        phones.call("open", ue="bob", mechanism="digest")
        assert phones.call("agree", ue="bob")["mechanism"] == "digest"
        assert phones.call("register", ue="bob", expires=600) == {"status": 200}
        yield phones
        assert phones.call("close", ue="bob") == {"violations": []}


def _registered(world: World, mechanism: str) -> dict[str, Any]:
    """Return the one association, when it lives as long as its registration."""

    def find() -> dict[str, Any]:
        (association,) = world.edge.associations()
        return association

    wait_until(lambda: find()["secondsLeft"] <= _EXPIRES + MARGIN, "the registration is known")
    found = find()
    assert found["mechanism"] == mechanism
    assert found["state"] in {"established", "inUse"}
    return found


# --- tls -----------------------------------------------------------------------------------------

_TLS_FOLDER: Final = "/etc/sad/tls"
_TLS_SETTINGS: Final = f"""
[endpoint.tls]
certificate = "{_TLS_FOLDER}/certificate.pem"
key = "{_TLS_FOLDER}/key.pem"
ca = "{_TLS_FOLDER}/authorities.pem"
domains = ["{DOMAIN}"]
client_authentication = "optional"
"""


def _give(machine: Machine, folder: str, issued: Issued, authority: Authority, owner: str) -> None:
    """Write a certificate, its key and whom its owner trusts into a folder of a machine."""
    with tempfile.TemporaryDirectory() as scratch:
        files = issued.write(Path(scratch))
        texts = {
            "certificate.pem": files.certificate.read_text(),
            "key.pem": files.key.read_text(),
            "authorities.pem": authority.certificate.decode(),
        }
    machine.shell(f"install -d -m 700 -o {owner} {folder}")
    for name, text in texts.items():
        path = f"{folder}/{name}"
        machine.shell(f"umask 077; : >{path}; chown {owner} {path}")
        machine.write(path, text)


@scenario("tls with a client certificate")
def tls(world: World) -> None:
    """R3329-2.4-tls-a, R3329-2.5: shown with its certificate, over with its registration."""
    edge, authority = world.edge, Authority()
    phone_folder = "/run/acceptance/alice"
    edge_set = authority.issue(f"URI:sip:{DOMAIN}", f"DNS:{DOMAIN}")
    alice_set = authority.issue(f"URI:{_CLIENT}", of_client=True)
    _give(edge.machine, _TLS_FOLDER, edge_set, authority, "sad")
    _give(world.ue, phone_folder, alice_set, authority, "root")
    settings = endpoint(("tls;q=0.3", _DIGEST)) + _TLS_SETTINGS
    try:
        with (
            first_hop(world, settings, ("WITH_TLS", "WITH_CLIENT_CERTIFICATES")),
            _phones(world) as phones,
        ):
            phones.call("open", ue="alice", mechanism="tls", credentials=phone_folder)
            agreed = phones.call("agree", ue="alice")
            assert (agreed["status"], agreed["mechanism"]) == (494, "tls"), agreed
            assert agreed["event"] == "STARTED", agreed
            cursor = edge.cursor()
            assert phones.call("register", ue="alice", expires=_EXPIRES) == {"status": 200}

            association = _registered(world, "tls")
            shown = edge.machine.out(SADCTL, "show", association["id"])
            world.note(shown)
            assert _CLIENT in shown, shown
            assert "TLSv1.3" in shown, shown
            for pair in (("alice", "bob"), ("bob", "alice")):
                told = phones.call("message", ue=pair[0], to=pair[1])
                assert told == {"status": 200, "received": True}, pair

            closed = phones.call("wait_closed", ue="alice")
            world.note(f"the phone: {closed['words']}")
            wait_until(lambda: not edge.associations(), "the association has ended")
            assert "ended: expired" in edge.since(cursor), edge.since(cursor)
            packets = [p for p in world.wire() if TLS_PORT in (p.source_port, p.destination_port)]
            assert {EDGE[4], UE[4]} <= {p.source for p in packets}
            assert not [p for p in packets if b"SIP/2.0" in p.payload]
            assert phones.call("close", ue="alice") == {"violations": []}
    finally:
        edge.machine.run("rm", "-rf", _TLS_FOLDER)
        world.ue.run("rm", "-rf", phone_folder)


# --- ipsec-ike -----------------------------------------------------------------------------------

_EDGE_ID, _PEER_ID = "edge.example.org", f"alice@{DOMAIN}"
_SECRET_FILE: Final = "/etc/sad/ike/alice"
_IKE_SETTINGS: Final = f"""
[endpoint.ike]
identity = "{_EDGE_ID}"
[[endpoint.ike.peer]]
name = "alice"
identity = "{_PEER_ID}"
users = ["alice@{DOMAIN}"]
secret = "{_SECRET_FILE}"
"""


def _peer(secret: str) -> str:
    """What charon on ``ue`` is told, as swanctl.conf(5) has it."""

    def selectors(address: str, port: object) -> str:
        return ", ".join(f"{address}[{protocol}/{port}]" for protocol in ("udp", "tcp"))

    return f"""
connections {{
  acceptance {{
    version = 2
    local_addrs = {UE[4]}
    remote_addrs = {EDGE[4]}
    proposals = aes128gcm16-prfsha256-x25519
    local {{
      auth = psk
      id = {_PEER_ID}
    }}
    remote {{
      auth = psk
      id = {_EDGE_ID}
    }}
    children {{
      {IKE_CHILD} {{
        mode = transport
        local_ts = {selectors(UE[4], "_PORT_")}
        remote_ts = {selectors(EDGE[4], PORT_PS)}
        esp_proposals = aes128gcm16
      }}
    }}
  }}
}}
secrets {{
  ike-acceptance {{
    id-1 = {_PEER_ID}
    id-2 = {_EDGE_ID}
    secret = {secret}
  }}
}}
"""


@contextlib.contextmanager
def _two_charons(world: World) -> Iterator[None]:
    """Have strongSwan run on both machines, with the same secret; undo it at the end."""
    machine, secret = world.edge.machine, secrets.token_hex(24)
    world.keys.append(secret.encode())
    machine.shell(
        f"install -d -m 700 -o sad {shlex.quote(str(Path(_SECRET_FILE).parent))}; "
        f"umask 077; : >{_SECRET_FILE}; chown sad {_SECRET_FILE}"
    )
    machine.write(_SECRET_FILE, f"{secret}\n")
    world.ue.shell(f"install -d -m 700 {Path(IKE_TEMPLATE).parent}")
    world.ue.write(IKE_TEMPLATE, _peer(secret))
    try:
        for one in (machine, world.ue):
            one.run("systemctl", "start", "strongswan.service")
        yield
    finally:
        for one in (machine, world.ue):
            one.run("systemctl", "stop", "strongswan.service", check=False)
        machine.run("rm", "-rf", str(Path(_SECRET_FILE).parent))
        world.ue.run("rm", "-f", IKE_TEMPLATE, "/etc/swanctl/conf.d/acceptance.conf")


@scenario("ipsec-ike, charon on both sides")
def ike(world: World) -> None:
    """R3329-2.4-ike-a, R3329-2.5: IKE makes what SIP agreed on, until the registration is over."""
    edge = world.edge
    settings = endpoint(("ipsec-ike;q=0.4", _DIGEST)) + _IKE_SETTINGS
    with (
        _two_charons(world),
        first_hop(world, settings, ("WITH_IPSEC",)),
        _phones(world) as phones,
    ):
        phones.call("open", ue="alice", mechanism="ipsec-ike")
        agreed = phones.call("agree", ue="alice")
        assert (agreed["status"], agreed["mechanism"]) == (494, "ipsec-ike"), agreed
        assert agreed["event"] == "STARTED", agreed
        cursor = edge.cursor()
        assert phones.call("register", ue="alice", expires=_EXPIRES) == {"status": 200}
        _registered(world, "ipsec-ike")
        assert edge.count() == 2
        for pair in (("alice", "bob"), ("bob", "alice")):
            told = phones.call("message", ue=pair[0], to=pair[1])
            assert told == {"status": 200, "received": True}, pair
        world.look("messages have passed")
        world.note(edge.machine.out("swanctl", "--list-sas"))
        spis = {p.spi for p in capture.esp(world.wire())}
        assert len(spis) == 2, spis

        wait_until(lambda: not edge.associations() and not edge.count(), "its SAs have ended")
        assert "ended: expired" in edge.since(cursor), edge.since(cursor)
        world.assert_blocked(4, PORT_PS)
        assert phones.call("close", ue="alice") == {"violations": []}
    world.assert_protected()
