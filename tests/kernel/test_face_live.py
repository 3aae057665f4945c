"""Every command on a live edge: what the documentation shows is what they print."""

import socket
from collections.abc import Iterator

import pytest

from tests.face.live import COUNT, live_edge
from tests.face.pages import PAGE, Command, commands, page, shape
from tests.ike.connections import SECRET
from tests.support.key_files import ENCRYPTION_KEY, INTEGRITY_KEY
from tests.support.make import CK, IK
from tests.support.pair import Pair

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with live_edge(tmp_path_factory.mktemp("face")) as pair:
        yield pair


@pytest.fixture(scope="module")
def metrics(edge: Pair) -> str:
    """The page of the metrics, fetched before the commands end anything."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(edge.edge_daemon.folder.parent / "metrics.sock"))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b""
        while more := client.recv(65536):
            answer += more
    return answer.decode()


@pytest.fixture(scope="module")
def found(edge: Pair, metrics: str) -> list[Command]:
    assert metrics
    return list(commands(edge))


def test_the_documentation_shows_what_the_commands_print(found: list[Command]) -> None:
    """Numbers, ids and ages aside; make commands writes the page anew."""
    assert shape(PAGE.read_text()) == shape(page(found))


def test_keys_that_differ_are_found(found: list[Command]) -> None:
    """K12, on a real kernel with real ESP."""
    (differ,) = (c.said for c in found if c.title == "The keys differ")

    assert "1 integrity, 0 replay\n  hint: ESP arrives, integrity fails: the keys differ" in differ


def test_no_command_and_no_metric_shows_a_key(found: list[Command], metrics: str) -> None:
    """Of fifty associations, in any form."""
    said = metrics + "".join(command.said for command in found)

    for key in (IK.hex(), CK.hex(), INTEGRITY_KEY, ENCRYPTION_KEY, SECRET.decode()):
        assert key not in said.lower()


def test_metrics_of_a_live_daemon(metrics: str) -> None:
    """Over the Unix socket: the counts are those of the kernel and of the table."""
    assert metrics.startswith("HTTP/1.1 200 OK")
    counts = [
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.startswith("sad_associations{")
    ]
    assert sum(counts) == COUNT
    assert 'sad_xfrm_stat_total{counter="XfrmInStateProtoError"} 1.0' in metrics
    for mechanism in ("ipsec-3gpp", "ipsec-man", "ipsec-ike", "tls"):
        assert f'sad_associations{{mechanism="{mechanism}"' in metrics
    assert 'sad_expiry_timestamp_seconds{kind="key",name="trunk-0"}' in metrics
