"""A damaged journal under a living kernel: refused in clear words, or rebuilt by setting."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import eye
from tests.support.daemon import PATIENCE, Daemon, endpoint_settings
from tests.support.make import CK, IK
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.kernel

EDGE = "10.10.0.1"
SETS = 24
PAGE = 4096


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Daemon]:
    with Namespace("edge") as namespace:
        namespace.run(["ip", "addr", "add", f"{EDGE}/24", "dev", "lo"])
        settings = endpoint_settings("access", (EDGE,), 5064, "5068-5071")
        daemon = Daemon(namespace, tmp_path / "edge", settings)
        yield daemon
        daemon.stop()


def install(edge: Daemon, number: int) -> dict[str, Any]:
    parameters = {
        "ueAddress": f"10.20.0.{number + 1}",
        "pcscfAddress": EDGE,
        "spiUc": 1000 + 2 * number,
        "spiUs": 1001 + 2 * number,
        "portUc": 7000,
        "portUs": 7001,
        "integrityAlgorithm": "hmac-sha-1-96",
        "encryptionAlgorithm": "null",
        "integrityKey": IK.hex(),
        "cipherKey": CK.hex(),
    }
    answer = edge.call(
        "Install",
        endpoint="access",
        registration={"privateIdentity": f"ue{number}@ims", "publicIdentities": []},
        mechanism="ipsec-3gpp",
        ipsec3gpp=parameters,
        lifetimeSeconds=300,
    )
    return dict(answer["association"])


def killed_with_sets(edge: Daemon) -> Path:
    """A daemon that died with sets in force; all of its journal lies in the one file."""
    edge.start()
    for number in range(SETS):
        install(edge, number)
    edge.kill()
    path = edge.folder / "state/journal.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def rebuild(edge: Daemon) -> None:
    edge.config.write_text('journal_on_corrupt = "rebuild"\n' + edge.config.read_text())


def by_spi(edge: Daemon) -> set[int]:
    return {s.spi for s in eye.states(edge.namespace)}


def agrees(edge: Daemon) -> int:
    """Return how many sets live; what the daemon lists is what the kernel holds."""
    live = edge.associations()
    spis = {a["ipsec3gpp"][name] for a in live for name in ("spiUc", "spiUs", "spiPc", "spiPs")}
    assert by_spi(edge) == spis
    peers = {a["ipsec3gpp"]["ueAddress"] for a in live}
    allowed = [p for p in eye.policies(edge.namespace) if "10.20.0." in p]
    assert len(allowed) == 10 * len(peers)
    return len(live)


def test_a_damaged_page_is_refused_and_then_rebuilt_by_setting(edge: Daemon) -> None:
    """Design 8: refused, nothing in the kernel changes; rebuilt, the kernel confirms each row."""
    path = killed_with_sets(edge)
    before = by_spi(edge)
    whole = path.read_bytes()
    page = max(whole.rfind(b'"state"') // PAGE * PAGE, 2 * PAGE)
    path.write_bytes(whole[:page] + b"\xa5" * PAGE + whole[page + PAGE :])

    assert edge.spawn().wait(PATIENCE) != 0
    assert "journal_on_corrupt" in edge.words()
    assert by_spi(edge) == before

    rebuild(edge)
    edge.start()
    kept = agrees(edge)
    assert 0 < kept < SETS
    assert edge.status()["lastReconcile"]["removed"] > 0
    assert list(path.parent.glob("journal.sqlite.unreadable-*"))

    edge.kill()  # what was rebuilt is a journal like any other
    edge.start()
    assert agrees(edge) == kept
    install(edge, SETS)
    assert agrees(edge) == kept + 1


def test_rows_that_the_kernel_does_not_confirm_end(edge: Daemon) -> None:
    """A saved row is a claim: without its SAs it ends, and nothing is put into the kernel."""
    path = killed_with_sets(edge)
    gone = eye.states(edge.namespace)[0]
    named = f"src {gone.source} dst {gone.destination} proto esp spi {gone.spi:#x}"
    edge.namespace.run(["ip", "xfrm", "state", "delete", *named.split()])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - PAGE])
    rebuild(edge)

    edge.start()

    assert agrees(edge) < SETS
    assert gone.spi not in by_spi(edge)


def test_what_nobody_can_read_is_ended_whole(edge: Daemon) -> None:
    """Fail closed: with no row left nothing of ours stays but the blocks; the start succeeds."""
    path = killed_with_sets(edge)
    path.write_bytes(path.read_bytes()[:PAGE])
    rebuild(edge)

    edge.start()

    assert agrees(edge) == 0
    assert all("action block" in p for p in eye.policies(edge.namespace))
    install(edge, 1)
    assert agrees(edge) == 1
