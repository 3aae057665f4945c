"""What a lane promises to every kernel test, tried from inside."""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lane import esp
from tests.lane.environment import FOLDERS
from tests.support.namespaces import Namespace, connect

ROOT = Path(__file__).resolve().parents[2]
Factory = Callable[[str], Namespace]


def test_lane_kernel_takes_and_gives_back_an_sa(
    netns: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    """An ESP association of each family can be added and deleted."""
    with netns("esp").enter():
        assert esp.main() == 0

    assert capsys.readouterr().out == "esp: ok\n"


@pytest.mark.parametrize("folder", [ROOT, ROOT / "tests", Path("/usr"), Path("/etc"), Path("/")])
def test_lane_host_files_cannot_be_written(folder: Path) -> None:
    """A test cannot leave anything in the tree or in the host's folders."""
    with pytest.raises(OSError, match="Read-only file system"):
        (folder / "written-by-a-test").touch()


def test_lane_scratch_can_be_written_and_read(artefacts: Path) -> None:
    """The scratch folder takes artefacts."""
    (artefacts / "note").write_text("from a lane\n")

    assert (artefacts / "note").read_text() == "from a lane\n"


def test_lane_environment_keeps_its_contract() -> None:
    """Root, temporary folders below /run, ``lo`` up and alone."""
    assert os.getuid() == 0
    assert os.environ["SAD_LANE"] in {"uml", "host"}
    assert os.environ["TMPDIR"] == "/run/tmp"
    assert Path(os.environ["HOME"]).is_relative_to("/run/tmp")
    assert all(Path(folder).is_dir() for folder in FOLDERS)
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        socket.create_connection(server.getsockname()[:2]).close()


def test_lane_clocks_agree() -> None:
    """CLOCK_BOOTTIME passes neither slower than a timed wait nor faster than CLOCK_MONOTONIC."""
    monotonic_before = time.monotonic()
    boottime_before = time.clock_gettime(time.CLOCK_BOOTTIME)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as silent:
        silent.settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent.recv(1)
    boottime = time.clock_gettime(time.CLOCK_BOOTTIME) - boottime_before
    monotonic = time.monotonic() - monotonic_before

    assert 0.2 <= boottime <= monotonic


def test_lane_namespaces_are_connected_at_once(netns: Factory) -> None:
    """Datagrams of both families pass a fresh cable without any waiting."""
    edge, ue = netns("edge"), netns("ue")
    connect(edge, ue, ("192.0.2.1/24", "192.0.2.2/24"), ("2001:db8::1/64", "2001:db8::2/64"))

    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with edge.enter():
            receiver = socket.socket(family, socket.SOCK_DGRAM)
        with ue.enter():
            sender = socket.socket(family, socket.SOCK_DGRAM)
        with receiver, sender:
            receiver.settimeout(5)
            receiver.bind((address, 5060))
            sender.sendto(b"REGISTER", (address, 5060))
            assert receiver.recv(100) == b"REGISTER"


def test_lane_two_cables_between_the_same_namespaces(netns: Factory) -> None:
    """A second cable gets interfaces of its own, with names the kernel can hold."""
    edge, ue = netns("edge-of-the-network"), netns("ue")
    first = connect(edge, ue, ("192.0.2.1/24", "192.0.2.2/24"), None)
    second = connect(edge, ue, None, ("2001:db8::1/64", "2001:db8::2/64"))

    names = edge.call(lambda: {name for _, name in socket.if_nameindex()})
    assert names == {"lo", first.a, second.a}
    assert first != second


def test_lane_namespace_runs_and_ends_programs(netns: Factory) -> None:
    """Commands see the namespace and nothing else; programs end with it; nothing stays."""
    with Namespace("short") as short:
        process = short.popen(["sleep", "1000"], stdout=subprocess.PIPE)
        links = short.run(["ip", "-br", "link"]).stdout.splitlines()
        path = short.path
    with pytest.raises(subprocess.CalledProcessError) as failure:
        netns("other").run(["sh", "-c", "echo no such thing >&2; exit 3"])

    assert [line.split()[0] for line in links] == ["lo"]
    assert process.poll() is not None
    assert not path.exists()
    assert failure.value.returncode == 3
    assert "no such thing" in "".join(failure.value.__notes__)


def test_lane_namespaces_carry_the_name_that_ip_netns_knows(netns: Factory) -> None:
    """iproute2, the independent eye, finds the namespaces by name."""
    netns("edge")

    listed = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout

    assert listed.split()[0] == "edge"


def own_network() -> Path:
    return Path("/proc/thread-self/ns/net").readlink()


def test_lane_a_thread_outside_stays_outside(netns: Factory) -> None:
    """Entering a namespace moves one thread for one block, even when the block fails."""
    namespace = netns("apart")
    before = own_network()
    with pytest.raises(KeyError), namespace.enter():
        inside = own_network()
        raise KeyError

    assert inside != before
    assert own_network() == before
    assert Path("/proc/self/ns/net").readlink() == before
