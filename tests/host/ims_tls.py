"""TLS with SIP digest through a real Kamailio of profile ims (TS 33.203 Annex O); no ESP."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.edge.certificates import Authority
from tests.edge.digest_core import DOMAIN, DigestCore
from tests.edge.ims_tls_ue import ImsTlsUe
from tests.edge.kamailio import USER, Kamailio, configuration, install_hook
from tests.host.endings import Ended
from tests.support.daemon import PATIENCE, Daemon, wait_until
from tests.support.namespaces import Namespace, connect
from tests.ue.headers import parse_digest
from tests.ue.sip import Request, Response

EDGE, EDGE6, PHONES = "10.40.0.1", "2001:db8:40::1", "10.40.0.2"
EDGE_CORE, CORE = "10.41.0.1", "10.41.0.2"
LIST = [("Security-Client", "tls"), ("Require", "sec-agree"), ("Proxy-Require", "sec-agree")]
SETTINGS = f"""
socket_mode = 0o660
socket_group = "{USER}"
[lifetimes]
registration_margin_seconds = 0
[[endpoint]]
name = "access"
addresses = ["{EDGE}", "{EDGE6}"]
server_port = 5064
client_ports = "5068-5071"
users = ["{USER}", {os.getuid()}]
mechanisms = ["tls"]
"""

pytestmark = pytest.mark.timeout(120)


@dataclass
class World:
    """Everything of one run."""

    phones: Namespace
    daemon: Daemon
    kamailio: Kamailio
    core: DigestCore
    authority: Authority

    @contextlib.contextmanager
    def phone(self, user: str = "alice") -> Iterator[ImsTlsUe]:
        with ImsTlsUe(self.phones, user, PHONES, EDGE, self.authority.certificate) as ue:
            yield ue

    def association_of(self, ue: ImsTlsUe) -> dict[str, Any]:
        (found,) = [a for a in self.daemon.associations() if a["tls"]["peerPort"] == ue.local[1]]
        return found

    def marks(self) -> list[str]:
        """What the S-CSCF was told of each REGISTER."""
        registers = [r for r in self.core.seen if r.method == "REGISTER"]
        return [parse_digest(r.one("Authorization"))["integrity-protected"] for r in registers]


@pytest.fixture(scope="module")
def built() -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="annex-o-", dir="/run"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        edge, phones, home = (stack.enter_context(Namespace(n)) for n in ("e", "p", "h"))
        connect(edge, phones, (f"{EDGE}/24", f"{PHONES}/24"), (f"{EDGE6}/64", "2001:db8:40::2/64"))
        connect(edge, home, (f"{EDGE_CORE}/24", f"{CORE}/24"), None)
        daemon = Daemon(edge, folder / "sad", SETTINGS)
        daemon.folder.chmod(0o755)
        stack.callback(daemon.stop)
        daemon.spawn()
        authority = Authority()
        issued = authority.issue(f"DNS:{DOMAIN}").write(folder)
        shutil.chown(issued.key, USER, USER)
        values = {
            "_ACCESS4_": EDGE,
            "_ACCESS6_": EDGE6,
            "_CORE_": EDGE_CORE,
            "_CERTIFICATE_": str(issued.certificate),
            "_KEY_": str(issued.key),
            "sad.socket": str(daemon.socket),
            "sad.core_hosts": f"{CORE}/32",
            "sad.core_uri": f"sip:{CORE}:4060",
            "sad.timeout_ms": "3000",
            "sad.linger": "1",
        }
        text = configuration(values, loader=install_hook(folder))
        text = text.replace("\n##!define WITH_TLS", "\n#!define WITH_TLS")
        kamailio = Kamailio(edge, folder, text)
        stack.callback(kamailio.stop)
        core = stack.enter_context(DigestCore(home, (CORE, 4060)))
        daemon.wait_ready()
        kamailio.start()
        yield World(phones, daemon, kamailio, core, authority)


@pytest.fixture
def world(built: World) -> Iterator[World]:
    built.core.seen.clear()
    yield built
    wait_until(lambda: not built.daemon.associations(), "everything has ended")
    wait_until(lambda: not built.kamailio.table("sad_tls"), "and is forgotten")
    assert not built.kamailio.table("sad_registrations")


def test_a_registration_by_the_lists(world: World) -> None:
    """T33-O-a variant 1, T33-O-b, T24-P-2: tls in the 401, the lists come back over TLS."""
    with world.phone() as ue:
        challenge = ue.register(LIST)
        assert challenge.status == 401
        assert challenge.rows("Security-Server") == ["tls"]
        assert challenge.rows("WWW-Authenticate")[0].startswith("Digest ")
        (waiting,) = world.daemon.associations()
        assert (waiting["state"], waiting["tls"]["attached"]) == ("temporary", False)

        ue.connect()
        answer = ue.register([*LIST, ("Security-Verify", "tls")])
        assert answer.status == 200
        bound = world.association_of(ue)
        assert bound["id"] == waiting["id"]
        assert bound["confirmedAt"] > 0
        assert bound["tls"]["version"] == "TLSv1.3"
        assert world.marks() == ["no", "tls-pending"]
        for request in world.core.seen:
            assert not any(request.rows(f"Security-{n}") for n in ("Client", "Verify", "Server"))
            assert not request.options("Require")
        # T33-O.4: a re-REGISTER uses the active session, and needs no lists.
        assert ue.register().status in {200, 401}
        assert world.marks()[-1] == "tls-yes"


def test_a_registration_by_tls_from_the_start(world: World) -> None:
    """T33-O-a variant 2: no headers of the agreement at all."""
    with world.phone() as ue:
        ue.connect()
        challenge = ue.register()
        assert (challenge.status, challenge.rows("Security-Server")) == (401, [])
        bound = world.association_of(ue)
        assert (bound["state"], bound["confirmedAt"]) == ("established", 0)
        assert ue.register().status == 200
        wait_until(lambda: world.association_of(ue)["confirmedAt"], "it is confirmed")
        assert world.association_of(ue)["id"] == bound["id"]
        assert world.marks() == ["tls-pending", "tls-pending"]
        _both_ways(world, ue)


def _both_ways(world: World, ue: ImsTlsUe) -> None:
    """A request of the phone reaches the core with its identity, one of the core the phone."""
    route = [("Route", f"<sip:orig@{CORE}:4060;lr>")]
    sent = ue.request("MESSAGE", f"sip:bob@{DOMAIN}", route)
    assert ue.ask(sent).status == 200
    assert world.core.seen[-1].rows("P-Asserted-Identity") == [f"<sip:{ue.user}@{DOMAIN}>"]
    forged = ue.request("MESSAGE", f"sip:bob@{DOMAIN}", route, sender=f"sip:bob@{DOMAIN}")
    assert ue.ask(forged).status == 403
    world.core.message_to(ue.user, (EDGE_CORE, 5060))
    received = ue.receive()
    assert isinstance(received, Request)
    assert received.method == "MESSAGE"
    kept = [(n, v) for n, v in received.headers if n in {"Via", "From", "To", "Call-ID", "CSeq"}]
    ue.send(Response(tuple(kept), b"", 200, "OK"))
    wait_until(lambda: [a.status for a in world.core.answers] == [200], "the answer came back")
    world.core.answers.clear()


def test_nothing_but_register_before_and_nothing_in_clear_after(world: World) -> None:
    """T33-O-a: after the 200 SIP outside of TLS is refused; before it only REGISTER passes."""
    with world.phone() as ue:
        ue.connect()
        ue.register()
        early = ue.request("MESSAGE", f"sip:bob@{DOMAIN}")
        assert ue.ask(early).status == 403
        assert ue.register().status == 200
        tls, ue.tls = ue.tls, None
        assert ue.ask(ue.request("MESSAGE", f"sip:bob@{DOMAIN}")).status == 403
        ue.tls = tls
        assert not [r for r in world.core.seen if r.method == "MESSAGE"]


@pytest.mark.parametrize(
    "rows",
    [
        [("Security-Client", "tls"), ("Security-Verify", "tls;q=0.1")],
        [("Security-Client", "tls, ipsec-3gpp"), ("Security-Verify", "tls")],
        [],
    ],
)
def test_lists_that_were_changed(world: World, rows: list[tuple[str, str]]) -> None:
    """R3329-5-c, T24-P-2: 494 with what was sent; nothing reaches the core."""
    with world.phone() as ue:
        assert ue.register(LIST).status == 401
        ue.connect()
        refused = ue.register(rows)
        assert (refused.status, refused.rows("Security-Server")) == (494, ["tls"])
        assert world.marks() == ["no"]
        for association in world.daemon.associations():
            world.daemon.call("Release", id=association["id"])


def test_the_connection_serves_one_private_identity(world: World) -> None:
    """T24-P-4: another one over a registered connection is refused."""
    with world.phone() as ue:
        ue.connect()
        ue.register()
        assert ue.register().status == 200
        assert ue.register(user="bob").status == 403
        assert world.association_of(ue)["registration"]["privateIdentity"] == f"alice@{DOMAIN}"


def test_tls_1_1_is_not_negotiated(world: World) -> None:
    """UPD-8996: with openssl s_client, which would; 1.2 shows that all else is right."""

    def connect(version: str) -> tuple[int, str]:
        command = ["openssl", "s_client", "-connect", f"{EDGE}:5061", version]
        with world.phones.popen(
            [*command, "-cipher", "ALL:@SECLEVEL=0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            words, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, words

    status, words = connect("-tls1_1")
    assert status != 0
    assert "tlsv1 alert protocol version" in words
    assert connect("-tls1_2")[0] == 0


def test_no_key_is_told(world: World) -> None:
    """Nothing that anybody says holds a line of the private key."""
    key = next(world.kamailio.folder.glob("key.pem")).read_text().splitlines()[1:-1]
    said = world.kamailio.words() + world.daemon.words() + world.daemon.sadctl("status")
    assert not [line for line in key if line in said]


def test_expiry_and_deregistration_end_the_connection(world: World) -> None:
    """T33-O.4, T24-D-1: its own, after the answer has left."""
    ended = Ended(world.daemon)
    with world.phone() as short, world.phone("bob") as other:
        for ue, expires in ((short, 2), (other, 600)):
            ue.connect()
            ue.register(expires=expires)
            assert ue.register(expires=expires).status == 200
        mine, his = (world.association_of(ue)["id"] for ue in (short, other))
        assert ended.wait_for(mine)[1] == "expired"
        with pytest.raises(OSError):
            short.receive()
        assert other.register(expires=0).status in {200, 401}
        if world.association_of(other)["state"] != "retiring":
            assert other.register(expires=0).status == 200
        assert ended.wait_for(his)[1] == "released"
        with pytest.raises(OSError):
            other.receive()
