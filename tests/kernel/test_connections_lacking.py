"""A kernel that may lack SOCK_DESTROY: it is said truly, and nothing else depends on it.

What destroying does is proven on the host's kernel, in ``tests/host``.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlink.tcp import ConnectionEnded, ConnectionEvent
from tests.support import eye
from tests.support.connections_contract import looked_up
from tests.support.daemon import endpoint_settings, running
from tests.support.event_sink import EventSink
from tests.support.make import CK, IK
from tests.support.tcp_world import EDGE, SERVER_PORT, UE, TcpWorld

pytestmark = pytest.mark.kernel


@pytest.fixture
def world() -> Iterator[TcpWorld]:
    with TcpWorld.made() as made:
        yield made


async def test_the_probe_tells_what_a_destruction_will_do(world: TcpWorld) -> None:
    """A connection ends if and only if the kernel was found able; a lack is no error later."""
    named = [world.open(version) for version in (4, 6)]
    able = world.connections.probe() is None

    assert await world.connections.destroy(named) == 2 * able
    assert [world.is_alive(c) for c in named] == [not able] * 2


@pytest.mark.parametrize("version", [4, 6])
async def test_what_a_kernel_without_destruction_can(world: TcpWorld, version: int) -> None:
    """It finds connections by a name for ever, dumps them, and tells when they have ended."""
    assert world.connections.probe_lookups() is None
    ending, staying = world.open(version), world.open(version)
    names = {named: await looked_up(world, named) for named in (ending, staying)}
    dumped = await world.connections.dump([SERVER_PORT])
    assert {found.id.connection: found for found in dumped} == names

    sink = EventSink[ConnectionEvent]()
    with contextlib.closing(world.listen_for_endings(sink.take, [SERVER_PORT])):
        world.close(ending)
        (told,) = await sink.wait_for_count(1)
    assert told == ConnectionEnded(names[ending].id)
    assert await world.connections.dump([SERVER_PORT]) == [names[staying]]


def test_a_daemon_that_cannot_end_connections_says_so_once(
    world: TcpWorld, tmp_path: Path
) -> None:
    """It serves and ends all the same; ``sadctl status`` tells what is missing, with a hint."""
    able = world.connections.probe() is None
    settings = endpoint_settings("access", (EDGE[4],), SERVER_PORT, "5068-5071")
    with running(world.edge, tmp_path, settings) as daemon:
        installed = daemon.call("Install", **_request())["association"]
        assert len(eye.states(world.edge)) == 4
        daemon.call("Release", id=installed["id"])
        assert not eye.states(world.edge)
        status = daemon.status()

    told = daemon.words().count("cannot end the TCP connections")
    assert told == (not able)
    assert "TCP connections of association" not in daemon.words()
    assert (status.get("lastProblem") is None) == able
    assert able or "CONFIG_INET_DIAG_DESTROY" in status["lastProblemHint"]


def _request() -> dict[str, object]:
    return {
        "endpoint": "access",
        "registration": {"privateIdentity": "ue@ims", "publicIdentities": []},
        "mechanism": "ipsec-3gpp",
        "ipsec3gpp": {
            "ueAddress": UE[4],
            "pcscfAddress": EDGE[4],
            "spiUc": 1000,
            "spiUs": 1001,
            "portUc": 7000,
            "portUs": 7001,
            "integrityAlgorithm": "hmac-sha-1-96",
            "encryptionAlgorithm": "null",
            "integrityKey": IK.hex(),
            "cipherKey": CK.hex(),
        },
        "lifetimeSeconds": 300,
    }
