"""Phones and a first hop of profile rfc3329: real Kamailio as registrar, the real daemon."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sip_hooks.secagree.digest import hash_a1
from tests.edge.agreeing_ue import AgreeingUe
from tests.edge.certificates import Authority
from tests.edge.kamailio import HOOK, USER, Kamailio, configuration, install_hook
from tests.edge.tls_ue import TlsUe
from tests.support.daemon import PATIENCE, Daemon, wait_until
from tests.support.namespaces import Namespace, connect

EXAMPLE = HOOK / "kamailio/example-rfc3329.cfg"
EDGE, PHONES, MEDDLER = "10.40.0.1", "10.40.0.2", "10.40.0.9"
EDGE6, PHONES6 = "2001:db8:40::1", "2001:db8:40::2"
SERVER = (EDGE, 5060)
DOMAIN = "example.org"
LIST = "digest;q=0.2;d-alg=MD5;d-qop=auth"
USERS = ("alice", "bob")
TLS_PORT = 5061
#: A nonce's life is too long for a test to wait for the end of it; a guest has one CPU.
_OURS = (
    ("\n##!define WITH_TLS", "\n#!define WITH_TLS"),
    ('"nonce_expire", 300', f'"nonce_expire", {round(PATIENCE / 5)}'),
    ("\n##!define WITH_CLIENT_CERTIFICATES", "\n#!define WITH_CLIENT_CERTIFICATES"),
    ("\nchildren=4", "\nchildren=2"),
    ("\ntcp_children=4", "\ntcp_children=1"),
    # So that a test may wait for the end of a registration.
    (
        '\nmodparam("registrar",',
        '\nmodparam("registrar", "min_expires", 1)\nmodparam("registrar",',
    ),
)


def daemon_settings(*, security: str = "required", mechanisms: str = LIST) -> str:
    """Settings of the first hop's daemon; ``mechanisms`` as in Security-Server."""
    listed = ", ".join(f'"{mechanism}"' for mechanism in mechanisms.split(", "))
    return (
        f'socket_mode = 0o660\nsocket_group = "{USER}"\n'
        f'[[endpoint]]\nname = "access"\naddresses = ["{EDGE}", "{EDGE6}"]\nserver_port = 5064\n'
        f'client_ports = "5068-5071"\nusers = ["{USER}", {os.getuid()}]\n'
        f'profile = "rfc3329"\nsecurity = "{security}"\nmechanisms = [{listed}]\n'
    )


@dataclass
class AgreementWorld:
    """Everything of one run."""

    folder: Path
    edge: Namespace
    phones: Namespace
    daemon: Daemon
    kamailio: Kamailio
    authority: Authority

    def ue(self, user: str = "alice", **settings: Any) -> AgreeingUe:
        """Return a phone of one of the users."""
        given: dict[str, Any] = {"address": PHONES, "server": SERVER, "domain": DOMAIN}
        return AgreeingUe(self.phones, user=user, **given | settings)

    def tls_ue(self, user: str = "alice", **settings: Any) -> TlsUe:
        """Return a phone that knows tls and digest, and trusts our authority."""
        given: dict[str, Any] = {"address": PHONES, "server": SERVER, "domain": DOMAIN}
        given |= {"offers": "tls, digest", "at": (EDGE, TLS_PORT)}
        given["authority"] = self.authority.certificate
        return TlsUe(self.phones, user=user, **given | settings)

    def set_policy(self, **settings: str) -> None:
        """Have the daemon read other settings, and Kamailio hear of them."""
        head = self.daemon.config.read_text().partition("socket_mode")[0]
        self.daemon.config.write_text(head + daemon_settings(**settings))

    def set_list(self, mechanisms: str) -> None:
        """Have the first hop require another list; return when each worker tells it."""
        self.set_policy(mechanisms=mechanisms)
        os.kill(self.daemon.pid, signal.SIGHUP)
        with self.ue() as ue:

            def told() -> list[str]:
                request = ue.build("OPTIONS", f"sip:{DOMAIN}")
                ue.send(request)
                return ue.final(request).rows("Security-Server")

            wait_until(lambda: all(told() == [mechanisms] for _ in range(16)), "the list is told")


def association_of(world: AgreementWorld, ue: TlsUe) -> dict[str, Any]:
    """Return the one of a phone's connection."""
    (found,) = [a for a in world.daemon.associations() if a["tls"]["peerPort"] == ue.local[1]]
    return found


@contextlib.contextmanager
def agreement_world(**settings: str) -> Iterator[AgreementWorld]:
    """Build it; take it down at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="hop-", dir="/run"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        edge = stack.enter_context(Namespace("hop"))
        phones = stack.enter_context(Namespace("handsets"))
        cable = connect(
            edge, phones, (f"{EDGE}/24", f"{PHONES}/24"), (f"{EDGE6}/64", f"{PHONES6}/64")
        )
        phones.run(["ip", "address", "add", f"{MEDDLER}/24", "dev", cable.b])
        daemon = Daemon(edge, folder / "sad", daemon_settings(**settings))
        daemon.folder.chmod(0o755)
        stack.callback(daemon.stop)
        daemon.spawn()
        loader = install_hook(folder, "sad_rfc3329.py")
        authority = Authority()
        issued = authority.issue(f"URI:sip:{DOMAIN}", f"DNS:{DOMAIN}").write(folder)
        shutil.chown(issued.key, USER, USER)
        authorities = folder / "authorities.pem"
        authorities.write_bytes(authority.certificate)
        authorities.chmod(0o644)
        values = {
            "_ACCESS4_": EDGE,
            "_ACCESS6_": EDGE6,
            "_DOMAIN_": DOMAIN,
            "_CERTIFICATE_": str(issued.certificate),
            "_KEY_": str(issued.key),
            "_AUTHORITIES_": str(authorities),
            "sad.socket": str(daemon.socket),
            "sad.timeout_ms": "3000",
        }
        text = configuration(values, loader=loader, example=EXAMPLE)
        for shipped, ours in _OURS:
            assert shipped in text
            text = text.replace(shipped, ours)
        kamailio = Kamailio(edge, folder, text)
        stack.callback(kamailio.stop)
        kamailio.start()
        daemon.wait_ready()
        for user in USERS:
            ha1 = hash_a1(user, DOMAIN, "secret")
            kamailio.rpc("htable.sets", "sad_users", f"{user}@{DOMAIN}", ha1)
        try:
            yield AgreementWorld(folder, edge, phones, daemon, kamailio, authority)
        except BaseException:
            _keep_words(daemon, kamailio)
            raise


def _keep_words(daemon: Daemon, kamailio: Kamailio) -> None:
    scratch = os.environ.get("SAD_LANE_SCRATCH")
    if scratch:
        for log in (kamailio.log, daemon.log):
            if log.exists():
                (Path(scratch) / f"rfc3329-{log.name}").write_text(log.read_text(errors="replace"))
