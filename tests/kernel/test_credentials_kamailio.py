"""A real Kamailio reads the files of a credential set, and a new one after the reload command."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sad.credentials.keeper import CredentialKeeper
from sad.credentials.reading import Place
from sad.model.credential import CredentialRules
from tests.support.credential_maker import NEVER, authority, certificate, key_pem, pem, write_set
from tests.support.daemon import PATIENCE, wait_until
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.kernel

PORT = 5571
CONFIG = """\
#!KAMAILIO
log_stderror=yes
children=1
enable_tls=yes
listen=tls:127.0.0.1:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tls.so"
loadmodule "sl.so"
loadmodule "ctl.so"
modparam("ctl", "binrpc", "unix:{folder}/ctl")
modparam("tls", "config", "{folder}/tls.cfg")
request_route {{ sl_send_reply("200", "ok"); }}
"""
TLS = """\
[server:default]
method = TLSv1.2+
certificate = {current}/certificate.pem
private_key = {current}/key.pem
ca_list = {current}/ca.pem
"""


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace("kamailio") as namespace:
        yield namespace


def served(namespace: Namespace) -> str:
    """The certificate that a client is shown, empty while there is none."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{PORT}", "-tls1_2"]
    with namespace.popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        words, _ = process.communicate(timeout=PATIENCE)
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return words[words.index(begin) : words.index(end) + len(end)] + "\n" if begin in words else ""


def test_kamailio_serves_the_new_certificate_after_its_reload(
    tmp_path: Path, namespace: Namespace
) -> None:
    """UPD-8996, TLS-1: the paths in tls.cfg lead to what is in force, before and after."""
    current = tmp_path / "out" / "access" / "current"
    (tmp_path / "kamailio.cfg").write_text(CONFIG.format(port=PORT, folder=tmp_path))
    (tmp_path / "tls.cfg").write_text(TLS.format(current=current))
    rules = CredentialRules(directory=str(tmp_path / "out"), command_seconds=PATIENCE)
    keeper = CredentialKeeper(rules, Place.of_process({}), time.time)
    reload = ("/usr/sbin/kamcmd", "-s", f"unix:{tmp_path}/ctl", "tls.reload")
    root = authority(ends=NEVER)

    def load(key: str) -> str:
        made = pem(certificate("edge", key, "root", "ec root", ends=NEVER))
        wanted = write_set(tmp_path / "tls", made, key_pem(key), pem(root), reload_command=reload)
        assert asyncio.run(keeper.take_over({"access": wanted}, rules)) == ()
        assert [found.text for view in keeper.views() for found in view.warnings] == []
        return made.decode()

    first = load("ec edge")
    with (
        (tmp_path / "log").open("w") as log,
        namespace.popen(
            ["kamailio", "-f", str(tmp_path / "kamailio.cfg"), "-DD", "-m", "32", "-M", "8"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as kamailio,
    ):
        try:
            wait_until(lambda: served(namespace), "Kamailio serves")
            assert served(namespace) == first
            second = load("ec new")
            wait_until(lambda: served(namespace) == second, "Kamailio serves the new one")
        finally:
            kamailio.terminate()
            kamailio.wait(PATIENCE)
            keeper.close()
