"""sip_hooks.tls_context: three lines to an SSLContext as the settings want it, never weaker."""

import ast
import contextlib
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import sip_hooks.tls_context
from sad.model.credential import ClientAuthentication, TlsVersion
from sip_hooks.client import BadReply, CallError, Client
from sip_hooks.tls_context import TlsCredential
from tests.support import make
from tests.support.api import serving_in_thread
from tests.support.credential_maker import NEVER, authority, certificate, key_pem, pem
from tests.support.credential_world import World, edge
from tests.support.descriptors import open_descriptors

ROOT = Path(sip_hooks.tls_context.__file__).parents[1]


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.load()
    return world


@pytest.fixture
def path(tmp_path: Path, world: World) -> Iterator[str]:
    path = tmp_path / "s"
    with serving_in_thread(path) as (backend, _):
        backend.endpoints = {"access": make.endpoint(uids=frozenset({os.getuid()}))}
        backend.keeper = world.keeper
        yield str(path)
    world.keeper.close()


@pytest.fixture
def credential(path: str) -> Iterator[TlsCredential]:
    with TlsCredential("access", Client(path, timeout=20)) as credential:
        yield credential


@contextlib.contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """Accept one connection after the other, greet those whose handshake succeeds."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(20)
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.sendall(b"hello\n")
                        secured.unwrap().close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(20)


def s_client(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments]
    return subprocess.run(
        [*command, "-ign_eof", "-cipher", "ALL:@SECLEVEL=0"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_three_lines_make_a_context_and_tls_1_1_is_not_negotiated(
    credential: TlsCredential,
) -> None:
    """UPD-8996: s_client would, as another server shows; 1.2 shows that all else is right."""
    context = credential.server_context()
    with tls_server(context) as port:
        refused = s_client(port, "-tls1_1")
        served = s_client(port, "-tls1_2")
        newest = s_client(port, "-tls1_3")
    assert refused.returncode != 0
    assert "alert protocol version" in refused.stderr
    assert "New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384" in served.stdout
    assert "New, TLSv1.3, Cipher is TLS_" in newest.stdout

    with pytest.warns(DeprecationWarning, match="TLSv1_1"):  # it is just what is to be shown
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with tls_server(context) as port:
        possible = s_client(port, "-tls1_1")
    assert possible.returncode == 0
    assert "Protocol  : TLSv1.1" in possible.stdout


async def test_the_minimum_and_the_ciphers_are_the_settings(world: World, path: str) -> None:
    """UPD-8996: with 1.3 as the least even 1.2 is refused; of 1.2 no other suites are spoken."""
    await world.load(minimum_version=TlsVersion.TLS13)
    with (
        TlsCredential("access", Client(path, timeout=20)) as credential,
        tls_server(credential.server_context()) as port,
    ):
        assert s_client(port, "-tls1_2").returncode != 0
        assert s_client(port, "-tls1_3").returncode == 0

    suite = "ECDHE-ECDSA-AES128-GCM-SHA256"
    await world.load(ciphers=(suite,))
    with (
        TlsCredential("access", Client(path, timeout=20)) as credential,
        tls_server(credential.server_context()) as port,
    ):
        assert f"Cipher is {suite}" in s_client(port, "-tls1_2").stdout


@pytest.mark.parametrize(
    ("wanted", "without"),
    [
        (ClientAuthentication.NONE, True),
        (ClientAuthentication.OPTIONAL, True),
        (ClientAuthentication.REQUIRED, False),
    ],
)
async def test_user_agents_are_asked_for_certificates_as_set(
    tmp_path: Path, world: World, path: str, wanted: ClientAuthentication, *, without: bool
) -> None:
    """One of the trust anchors' is taken, a foreign one never, where one is asked for."""
    root = authority(ends=NEVER)
    await world.load(None, None, pem(root), client_authentication=wanted)
    good = client_files(tmp_path, "good", "root", "ec root")
    foreign = client_files(tmp_path, "foreign", "foreign", "ec foreign")
    with (
        TlsCredential("access", Client(path, timeout=20)) as credential,
        tls_server(credential.server_context()) as port,
    ):

        def is_served(*arguments: str) -> bool:
            return "hello" in s_client(port, "-tls1_2", *arguments).stdout

        assert is_served() is without
        assert is_served(*good)
        assert is_served(*foreign) is (wanted is ClientAuthentication.NONE)


def client_files(folder: Path, name: str, issuer: str, issuer_key: str) -> tuple[str, ...]:
    made = certificate(name, "ec phone", issuer, issuer_key, names=None, ends=NEVER)
    (folder / f"{name}.pem").write_bytes(pem(made))
    (folder / f"{name}.key").write_bytes(key_pem("ec phone"))
    return "-cert", str(folder / f"{name}.pem"), "-key", str(folder / f"{name}.key")


async def test_a_new_generation_is_noticed_and_taken(
    world: World, path: str, credential: TlsCredential
) -> None:
    """Asked again and again; a context that cannot be replaced takes the new certificate in."""
    assert credential.names == ("sip.example.org",)
    generation = credential.generation
    assert credential.refresh() is False
    context = credential.server_context()
    with tls_server(context) as port:
        before = s_client(port, "-tls1_2").stdout
        await world.load(edge("ec new"), key_pem("ec new"))
        assert s_client(port, "-tls1_2").stdout.count(served_certificate(before)) == 1

        assert credential.refresh() is True
        assert credential.generation != generation
        credential.load_into(context)
        after = s_client(port, "-tls1_2").stdout
    assert served_certificate(after) != served_certificate(before)
    with tls_server(credential.server_context()) as port:
        assert served_certificate(s_client(port).stdout) == served_certificate(after)


def served_certificate(words: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return words[words.index(begin) : words.index(end)]


async def test_a_revoked_set_is_no_more(world: World, credential: TlsCredential) -> None:
    """The server hears of it when it asks, and can stop."""
    world.keeper.revoke("access")
    with pytest.raises(CallError, match="NoCredential"):
        credential.refresh()


def settled(client: Client) -> frozenset[str]:
    """What is open once the daemon, which lives in this process, has sent its last answer."""
    client.call("org.varlink.service.GetInfo")
    return open_descriptors()


async def test_no_descriptor_is_left_open(world: World, path: str) -> None:
    """Neither by use, nor by new generations, nor by refusals."""
    with Client(path, timeout=20) as client:
        before = settled(client)  # the daemon's own, which lives in this process, among them
        credential = TlsCredential("access", client)
        held = settled(client)
        for number in range(3):
            await world.load(edge(f"ec {number}"), key_pem(f"ec {number}"))
            assert credential.refresh()
            credential.server_context()
            credential.refresh()
        assert len(settled(client)) == len(held)
        with pytest.raises(CallError):
            TlsCredential("nowhere", Client(path, timeout=20))
        credential.close()
        assert len(settled(client)) == len(before)


class Liar(Client):
    """Answers something that this version does not know."""

    def __init__(self, **changes: object) -> None:
        super().__init__("/nowhere")
        self.sent = os.open("/dev/null", os.O_RDONLY)
        self.reply: dict[str, object] = {
            "generation": "0123456789abcdef",
            "names": [],
            "minimumVersion": "1.2",
            "ciphers": [],
            "clientAuthentication": "none",
            "certificateIndex": 0,
            "keyIndex": 0,
            "caIndex": 0,
        } | changes

    def call_for_descriptors(
        self, _method: object, _parameters: object = None
    ) -> tuple[dict[str, object], list[int]]:
        return self.reply, [self.sent]


@pytest.mark.parametrize(
    "changes",
    [
        {"minimumVersion": "1.1"},
        {"clientAuthentication": "perhaps"},
        {"keyIndex": 1},
        {"keyIndex": None},
        {"keyIndex": -1},
    ],
)
def test_what_this_version_does_not_know_is_refused(changes: dict[str, object]) -> None:
    """UPD-8996: no reply makes a context of a weaker kind; its descriptors are closed."""
    liar = Liar(**changes)
    with pytest.raises(BadReply):
        TlsCredential("access", liar)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(liar.sent)


def test_the_system_interpreter_runs_it_without_any_package() -> None:
    """Standard library only, and the syntax of Python 3.9."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import sip_hooks.tls_context"
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    text = Path(sip_hooks.tls_context.__file__).read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 9))
