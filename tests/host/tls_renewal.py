"""The credential set of an endpoint is renewed under a real Kamailio that serves phones.

sad judges the new files, switches what Kamailio's tls.cfg names, and runs its reload command.
``tests/kernel/test_credentials_kamailio.py`` has the files alone.
"""

import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from sip_hooks.secagree.digest import hash_a1
from tests.edge.agreement_world import (
    DOMAIN,
    LIST,
    USERS,
    AgreementWorld,
    agreement_world,
    association_of,
)
from tests.edge.certificates import Files
from tests.edge.tls_ue import TlsUe
from tests.support.daemon import CONTROL, wait_until

HOP = f"sip:{DOMAIN}"
CLIENT = "sip:alice-phone.example.org"
#: What README says stands there.
TLS = """\
[server:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = no
certificate = /run/sad-tls/access/current/certificate.pem
private_key = /run/sad-tls/access/current/key.pem
ca_list = /run/sad-tls/access/current/ca.pem
"""

pytestmark = pytest.mark.timeout(120)


def issue(world: AgreementWorld) -> str:
    """Put a new certificate where sad reads it from; return it."""
    issued = world.authority.issue(f"URI:{HOP}", f"DNS:{DOMAIN}")
    issued.write(world.folder / "source")
    return issued.certificate.decode()


def settings(world: AgreementWorld) -> str:
    """Return the daemon's settings with a credential set for its endpoint."""
    folder, source = world.folder, world.folder / "source"
    reload = ["/usr/sbin/kamcmd", "-s", f"unix:{folder}/run/kamailio_ctl", "tls.reload"]
    return (
        world.daemon.config.read_text()
        + f'[endpoint.tls]\ncertificate = "{source}/certificate.pem"\n'
        + f'key = "{source}/key.pem"\nca = "{folder}/authorities.pem"\n'
        + f'domains = ["{DOMAIN}"]\nreload_command = {json.dumps(reload)}\n'
    )


def use_config_file(world: AgreementWorld) -> None:
    """Have Kamailio read its certificate by way of tls.cfg, and what sad hands out."""
    config = world.folder / "tls.cfg"
    config.write_text(TLS)
    config.chmod(0o644)
    named = r'(?m)^modparam\("tls", "(certificate|private_key|verify_certificate|ca_list)", .*\n'
    text = re.sub(named, "", world.kamailio.config.read_text())
    loaded = 'modparam("tls", "tls_method", "TLSv1.2+")\n'
    assert loaded in text
    text = text.replace(loaded, f'{loaded}modparam("tls", "config", "{config}")\n')
    world.kamailio.stop()
    world.kamailio.config.write_text(text)
    world.kamailio.start()
    for user in USERS:
        ha1 = hash_a1(user, DOMAIN, "secret")
        world.kamailio.rpc("htable.sets", "sad_users", f"{user}@{DOMAIN}", ha1)


@pytest.fixture
def first_hop() -> Iterator[AgreementWorld]:
    with agreement_world(mechanisms=f"tls;q=0.3, {LIST}") as world:
        (world.folder / "source").mkdir()
        yield world


def shown_to(ue: TlsUe) -> str:
    """The certificate that the handshake of a phone's connection showed."""
    assert ue.connection is not None
    return ssl.DER_cert_to_PEM_cert(ue.connection.getpeercert(binary_form=True) or b"")


def register(ue: TlsUe) -> None:
    for expected in (401, 200):
        request = ue.secured("REGISTER", HOP, [("Expires", "600")])
        assert ue.exchange(request).status == expected


def generation(world: AgreementWorld) -> str:
    (listed,) = world.daemon.client.call(f"{CONTROL}.ListCredentials", {})["credentials"]
    assert listed["state"] == "valid", listed
    return str(listed["generation"])


def test_new_connections_get_the_new_credential_and_old_ones_live(
    first_hop: AgreementWorld, tmp_path: Path
) -> None:
    """TLS-1, UPD-8996: at run time; the registration over an old connection goes on."""
    old = issue(first_hop)
    first_hop.daemon.reload(settings(first_hop))
    before = generation(first_hop)
    use_config_file(first_hop)
    shows: Files = first_hop.authority.issue(f"URI:{CLIENT}", of_client=True).write(tmp_path)

    with first_hop.tls_ue(shows=shows) as alice:
        alice.agree("REGISTER")
        assert shown_to(alice).split() == old.split()
        register(alice)
        hers = association_of(first_hop, alice)
        assert (hers["tls"]["credential"], hers["tls"]["identity"]) == (before, CLIENT)

        new = issue(first_hop)
        first_hop.daemon.reload(first_hop.daemon.config.read_text())
        wait_until(lambda: generation(first_hop) != before, "the new set is in force")

        def shows_the_new_one() -> bool:
            with first_hop.tls_ue("bob", shows=shows) as probe:
                probe.agree("REGISTER")
                return shown_to(probe).split() == new.split()

        wait_until(shows_the_new_one, "Kamailio shows the new certificate")
        with first_hop.tls_ue("bob", shows=shows) as bob:
            bob.agree("REGISTER")
            assert shown_to(bob).split() == new.split()
            register(bob)
            his = association_of(first_hop, bob)
            assert his["tls"]["credential"] == generation(first_hop)
            assert his["tls"]["identity"] == CLIENT

            # Hers is still the connection of before, under the association of before.
            assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200
            register_again = alice.secured("REGISTER", HOP, [("Expires", "600")])
            assert alice.exchange(register_again).status == 200
            still = association_of(first_hop, alice)
            assert (still["id"], still["tls"]["credential"]) == (hers["id"], before)
            assert shown_to(alice).split() == old.split()
            # And she can be called over it: his message comes by her old connection.
            message = bob.secured("MESSAGE", f"sip:alice@{DOMAIN}", body=b"hello")
            bob.send(message)
            alice.answer(alice.next_request())
            assert bob.final(message).status == 200
