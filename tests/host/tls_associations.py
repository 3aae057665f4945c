"""The daemon and the TCP connections of its TLS associations, on this machine's own kernel."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netlink.tcp import TcpConnection
from sip_hooks.client import CallError
from tests.host.endings import BOUND_WITHIN, ENDED_WITHIN, Ended
from tests.support.credential_maker import (
    NEVER,
    authority,
    certificate,
    key_pem,
    pem,
    write_set,
)
from tests.support.daemon import Daemon, wait_until
from tests.support.tcp_world import EDGE, TcpWorld

TLS_PORT = 5061

pytestmark = pytest.mark.timeout(120)


def credential(folder: Path) -> str:
    """Write a set for the endpoint; return its settings."""
    root = authority(ends=NEVER)
    made = certificate("edge", "ec edge", "root", "ec root", ends=NEVER)
    write_set(folder / "tls", pem(made), key_pem("ec edge"), pem(root))
    files = "".join(f'{n} = "{folder}/tls/{n}.pem"\n' for n in ("certificate", "key", "ca"))
    return f'[endpoint.tls]\n{files}domains = ["sip.example.org"]\n'


def settings() -> str:
    return (
        f'\n[lifetimes]\nregistration_margin_seconds = 0\n[[endpoint]]\nname = "access"\n'
        f"addresses = {json.dumps([EDGE[4], EDGE[6]])}\nserver_port = 5064\n"
        f'client_ports = "5068-5071"\nusers = [{os.getuid()}]\n'
        f'mechanisms = ["tls"]\ntls_port = {TLS_PORT}\n'
        "identity_at_one_address = false\n"
    )


@pytest.fixture(scope="module")
def world() -> Iterator[TcpWorld]:
    with TcpWorld.made(TLS_PORT) as made:
        yield made


@pytest.fixture(scope="module")
def daemon(world: TcpWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("sad")
    directory = f'\n[credentials]\ndirectory = "{folder}/out"\n'
    made = Daemon(world.edge, folder, directory + settings() + credential(folder))
    try:
        yield made.start()
    finally:
        made.stop()


def attach(
    daemon: Daemon, named: TcpConnection, user: str = "alice", **more: Any
) -> dict[str, Any]:
    reply = daemon.call(
        "Attach",
        endpoint="access",
        registration={"privateIdentity": f"{user}@ims.example", "publicIdentities": []},
        flow={
            "peerAddress": named.peer_address,
            "peerPort": named.peer_port,
            "localAddress": named.local_address,
            "localPort": named.local_port,
        },
        **more,
    )
    assert reply["closesConnection"] is True
    return dict(reply["association"])


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_is_bound_at_once(world: TcpWorld, daemon: Daemon, version: int) -> None:
    """Design 9: within 50 ms of the request, by what the kernel says of it."""
    opened = [world.open(version) for _ in range(20)]
    spans = []
    for number, named in enumerate(opened):
        begun_at = time.monotonic()
        association = attach(daemon, named, f"bound{number}")
        spans.append(time.monotonic() - begun_at)
        assert association["state"] == "established"
        assert association["tls"]["attached"] is True
    assert sorted(spans)[len(spans) // 2] < BOUND_WITHIN
    for named in opened:
        world.close(named)
    wait_until(lambda: not daemon.associations(), "all have ended with their connections")


def test_expiry_ends_its_connection_and_no_other_of_200(world: TcpWorld, daemon: Daemon) -> None:
    """The registration's end destroys exactly that one (SOCK_DESTROY by cookie)."""
    ended = Ended(daemon)
    opened = [world.open(4 if number % 2 else 6) for number in range(200)]
    bound = [attach(daemon, named, f"user{i}")["id"] for i, named in enumerate(opened)]
    for number, association_id in enumerate(bound):
        daemon.call("Confirm", id=association_id, expiresSeconds=1 if number == 100 else 600)

    _, reason = ended.wait_for(bound[100])
    assert reason == "expired"
    wait_until(lambda: not world.is_alive(opened[100]), "its connection has ended")
    assert [world.is_alive(c) for c in opened].count(False) == 1
    assert {a["id"] for a in daemon.associations()} == {*bound} - {bound[100]}
    assert set(ended.heard) == {bound[100]}

    daemon.call("Release", id=bound[7])
    assert not world.is_alive(opened[7])
    assert [world.is_alive(c) for c in opened].count(False) == 2
    for named in opened:
        world.close(named)
    wait_until(lambda: not daemon.associations(), "the others have ended with theirs")
    reasons = [ended.wait_for(i)[1] for i in bound if i not in (bound[7], bound[100])]
    assert set(reasons) == {"connectionClosed"}


def test_the_peers_own_close_ends_the_association(world: TcpWorld, daemon: Daemon) -> None:
    """R3329-2.5: within 100 ms of the SIP server's close, by the kernel's notice."""
    ended = Ended(daemon)
    spans = []
    for number in range(10):
        named = world.open(4 + 2 * (number % 2))
        association = attach(daemon, named, f"closing{number}")
        closed_at = time.monotonic()
        world.close(named)
        at, reason = ended.wait_for(association["id"])
        assert reason == "connectionClosed"
        spans.append(at - closed_at)
    assert sorted(spans)[len(spans) // 2] < ENDED_WITHIN


def test_a_restart_keeps_what_is_connected(world: TcpWorld, daemon: Daemon) -> None:
    """By equal cookies; what ended meanwhile is ended, and the one in its place is not touched."""
    kept, gone, replaced = (world.open(4) for _ in range(3))
    ids = [
        attach(daemon, named, f"restart{i}")["id"]
        for i, named in enumerate((kept, gone, replaced))
    ]
    daemon.kill()
    daemon.client.close()
    world.close(gone)
    world.destroy(replaced)
    world.close(replaced)
    world.reopen(replaced)
    daemon.start()

    assert [a["id"] for a in daemon.associations()] == [ids[0]]
    assert world.is_alive(replaced)
    daemon.call("Release", id=ids[0])
    assert not world.is_alive(kept)
    assert world.is_alive(replaced)
    world.close(replaced)


def test_what_is_no_connection_is_refused(world: TcpWorld, daemon: Daemon) -> None:
    """Not the caller's word: the kernel's; and the listener is none."""
    named = world.open(4)
    nobodys = TcpConnection(named.local_address, TLS_PORT, named.peer_address, 9)
    with pytest.raises(CallError) as refused:
        attach(daemon, nobodys)
    assert refused.value.short_name == "NoSuchConnection"
    elsewhere = TcpConnection(named.local_address, 5064, named.peer_address, named.peer_port)
    with pytest.raises(CallError) as refused:
        attach(daemon, elsewhere)
    assert refused.value.short_name == "BadParameter"
    world.close(named)


def test_an_operator_sees_who_is_connected(world: TcpWorld, daemon: Daemon) -> None:
    """By sadctl: list, show and status."""
    named = world.open(4)
    session = {
        "identity": "alice.example",
        "version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
    }
    association = attach(daemon, named, tls=session)
    listed = daemon.sadctl("list")
    assert named.peer_address in listed
    shown = daemon.sadctl("show", association["id"])
    for word in (*session.values(), f"{named.peer_address}:{named.peer_port}", "tls"):
        assert word in shown
    assert daemon.status()["endsConnections"] is True
    world.close(named)
    wait_until(lambda: not daemon.associations(), "it ends with its connection")


def test_a_revoked_credential_ends_the_connections_made_with_it(
    world: TcpWorld, daemon: Daemon
) -> None:
    """Others may know the key: what was agreed with it is worth nothing (credentialRevoked).

    Nor is what is agreed from then on. The last of this file: the daemon has no other set.
    """
    ended = Ended(daemon)
    named = [world.open(4), world.open(6)]
    bound = [attach(daemon, each, f"revoked{i}") for i, each in enumerate(named)]
    generations = {association["tls"]["credential"] for association in bound}
    assert None not in generations
    assert "generation" in daemon.sadctl("tls", "revoke", "access")
    assert {ended.wait_for(a["id"])[1] for a in bound} == {"credentialRevoked"}
    assert not any(map(world.is_alive, named))
    for each in named:
        world.close(each)
    late = world.open(4)
    with pytest.raises(CallError) as refused:
        attach(daemon, late)
    assert refused.value.short_name == "MechanismUnavailable"
    assert not world.is_alive(late)
    world.close(late)
